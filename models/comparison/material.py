"""What every candidate learns from and is measured on: the same pairs, the same augmented rounds, the same views.

Everything is kept on disk as soon as it is made, so that a stopped comparison goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from imagenet import WIDTH
from numpy.typing import NDArray
from settings import Comparison
from shelf_recipe import Augment, Geometry

from edge_runtime.errors import Refused
from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet, join_crops, load_crops
from edge_runtime.workshop.cutting import cut_dataset, load_dataset, normalized, partly_placed, raw
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.recipe import RenderRecipe
from edge_runtime.workshop.run import BATCH, Graph

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 256
WAYS = {"normalized": normalized, "raw": raw}


@dataclass(frozen=True, eq=False)
class Round:
    """The chosen pairs once more: plain, or augmented."""

    now: NDArray[np.uint8]
    """(n, s, s, 3) BGR, s = crop.network."""
    then: NDArray[np.uint8]
    label: NDArray[np.int64]
    features_now: NDArray[np.float16]
    """(n, WIDTH) of the ImageNet backbone at crop.backbone pixels."""
    features_then: NDArray[np.float16]
    severity: NDArray[np.int8]


def choose(label: NDArray[np.integer], counts: Iterable[int], seed: int) -> NDArray[np.int64]:
    """Rows drawn without putting back, so many of each label (or all there are), in the order of the rows."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(label == k))[:count] for k, count in enumerate(counts)]
    return np.sort(np.concatenate(rows))


class Material:
    """Renders, crops and features under `var`."""

    def __init__(self, plan: Comparison, var: Path, backbone: Graph) -> None:
        """`backbone` gives the features of its current crop, (n, WIDTH)."""
        self.plan, self.var, self._backbone = plan, var, backbone
        kept = var / "tmp" / "comparison"
        self.seen = kept / f"views-{plan.key(plan.crop, plan.render)}"
        self.learned = kept / f"pairs-{plan.key(plan.crop, plan.render, plan.pairs)}"
        for folder in (self.seen, self.learned):
            folder.mkdir(parents=True, exist_ok=True)

    def rounds(self) -> list[Round]:
        """The plain round, then the augmented ones."""
        paths = [self.learned / f"round-{k}.npz" for k in range(1 + self.plan.pairs.rounds)]
        if missing := [k for k, path in enumerate(paths) if not path.exists()]:
            crops = self._chosen()
            for k in missing:
                print(f"round {k}: {len(crops)} pairs", flush=True)
                _save(paths[k], self._round(crops, k))
        return [Round(**_load(path)) for path in paths]

    def views(self, role: str, way: str, size: int) -> CropSet:
        """All views of a role's shelves; `way` is a key of WAYS.

        Cut once, at the backbone's size, and averaged down to `size`: every candidate is shown the same views.
        """
        crops = self.cut(role, way, self.plan.crop.seen)
        if size == self.plan.crop.seen.size[0]:
            return crops
        return replace(crops, current=smaller(crops.current, size), references=smaller(crops.references, size))

    def cut(self, role: str, way: str, spec: CropSpec) -> CropSet:
        """The same views as a model with crops of its own sees them."""
        parts = []
        for folder in self._rendered(role):
            prefix = "" if way == "normalized" else f"{way}-"
            cut = self.var / "crops" / f"{prefix}{folder.name}-{spec.size[0]}-{spec.margin:g}"
            cut_dataset(folder, cut, spec, WAYS[way])
            parts.append(load_dataset(cut))
        return join_crops(parts)

    def view_features(self, role: str, way: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Backbone features of every current crop and of its reference, (n, WIDTH) each."""
        path = self.seen / f"features-{role}-{way}.npz"
        crops = self.views(role, way, self.plan.crop.backbone)
        if not path.exists():
            print(f"features of {len(crops)} {way} views for {role}", flush=True)
            _save(path, {"now": self._features(crops.current), "slots": self._features(crops.references)})
        stored = _load(path)
        return stored["now"].astype(np.float32), stored["slots"].astype(np.float32)[crops.slot]

    def rendered(self, plan: RenderRecipe) -> Path:
        """Where a rendered dataset lies; the recipe of the shipped model looks there too."""
        key = hashlib.sha256(json.dumps(plan.arguments).encode()).hexdigest()[:12]
        return self.var / "renders" / f"{plan.role}-{key}"

    def _rendered(self, role: str) -> list[Path]:
        folders = []
        for each in self.plan.render:
            if each.role == role:
                folder = self.rendered(each)
                command = [sys.executable, "-m", "edge_runtime.simulator", "dataset", *each.arguments]
                if not (folder / "dataset.json").exists():
                    subprocess.run([*command, "--out", str(folder)], check=True, cwd=ROOT)
                folders.append(folder)
        return folders

    def _chosen(self) -> CropSet:
        """The drawn pairs with references of their own, as stored (larger than any model sees)."""
        crop, parts = self.plan.crop, []
        for folder in self._rendered("train"):
            cut = self.var / "crops" / f"{folder.name}-{crop.stored_size}-{crop.stored_margin:g}"
            cut_dataset(folder, cut, crop.stored, partly_placed)
            parts += [_good(load_crops(path)) for path in sorted(cut.glob("*.npz"))]
        crops = join_crops(parts)
        rows = choose(crops.label, self.plan.pairs.counts, self.plan.seed)
        if missing := [LABELS[k] for k in range(len(LABELS)) if not (crops.label[rows] == k).any()]:
            raise Refused(f"no training crop of {', '.join(missing)}", "Render more shelves")
        return crops.only(rows)

    def _round(self, crops: CropSet, number: int) -> dict[str, NDArray[np.generic]]:
        crop = self.plan.crop
        random = torch.Generator().manual_seed(self.plan.seed + number)
        shape = Geometry(crop.backbone, crop.margin, crop.stored_margin)
        augment = Augment(shape, self.plan.pairs.strength, random)
        parts: list[dict[str, NDArray[np.generic]]] = []
        for begin in range(0, len(crops), CHUNK):
            rows = np.arange(begin, min(begin + CHUNK, len(crops)))
            pair = crops.current[rows], crops.reference_of(rows)
            label = torch.from_numpy(crops.label[rows].astype(np.int64))
            now, then, label = augment(*pair, label) if number else (*augment.plain(*pair), label)
            large = [x.permute(0, 2, 3, 1).byte().contiguous().numpy() for x in (now, then)]
            parts.append(
                {
                    "now": smaller(large[0], crop.network),
                    "then": smaller(large[1], crop.network),
                    "label": label.numpy(),
                    "features_now": self._features(large[0]),
                    "features_then": self._features(large[1]),
                    "severity": crops.severity[rows],
                }
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        out = np.empty((len(pixels), WIDTH), np.float16)
        for begin in range(0, len(pixels), BATCH):
            part = pixels[begin : begin + BATCH]
            out[begin : begin + BATCH] = self._backbone(part, part)
        return out


def smaller(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, h, w, 3) to (n, size, size, 3), averaged over areas."""
    return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_AREA) for each in pixels])


def _good(crops: CropSet) -> CropSet:
    return crops.only(crops.usable & (crops.inside > 0.7))


def _save(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    fresh = path.with_name(path.name + ".part")
    with fresh.open("wb") as out:
        np.savez(out, **arrays)
    fresh.replace(path)


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
