"""The candidates: each made once, kept under the comparison's folder, and asked for logits on views."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
from heads import Features, best_head, said, triple
from imagenet import lite0_graph, registry_weights
from material import ROOT, Material, Round
from numpy.typing import NDArray
from recentring import groups_of, mean_shift, shifts
from scoring import Logits, chosen_by
from settings import Comparison
from sklearn.linear_model import LogisticRegression
from teaching import teach

from edge_runtime.manifest import decode_manifest
from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.graph import backbone_graph, multiply_adds
from edge_runtime.workshop.head import head_graph, merge
from edge_runtime.workshop.labels import BLOCKED
from edge_runtime.workshop.quantization.qdq import quantize_crops
from edge_runtime.workshop.run import Graph

ROLES = ("validation", "test")
Views = tuple[str, str]
"""Role and way of cutting."""


class Contest:
    """One comparison's candidates; files under `work`."""

    def __init__(self, plan: Comparison, var: Path) -> None:
        self.plan = plan
        weights = registry_weights()
        alone, self.backbone_cost = lite0_graph(weights, plan.crop.backbone, difference=False)
        self._both, _ = lite0_graph(weights, plan.crop.backbone)
        self._alone = alone
        self.material = Material(plan, var, Graph(alone))
        self._views: dict[Views, CropSet] = {}
        kept = var / "tmp" / "comparison"
        taught = (plan.crop, plan.pairs, plan.render, plan.head)
        self.work = kept / f"heads-{plan.key(*taught, plan.shipped)}"
        self.taught = {
            "scratch": kept / f"scratch-{plan.key(*taught, plan.network, plan.train)}",
            "distilled": kept / f"distilled-{plan.key(*taught, plan.network, plan.train, plan.distil)}",
        }
        for folder in (self.work, *self.taught.values()):
            folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def rounds(self) -> list[Round]:
        return self.material.rounds()

    def views(self, view: Views) -> CropSet:
        """Crops with their truth at the network's size: what is scored."""
        if view not in self._views:
            self._views[view] = self.material.views(*view, self.plan.crop.network)
        return self._views[view]

    # -- the frozen backbone ------------------------------------------------------------------------------------

    def frozen(self, kind: str) -> LogisticRegression:
        """The head on `current`, on `triple`, or on `lab`: triple, but of lab frames without augmentation."""
        kept = self.work / f"head-{kind}.npz"
        if not kept.exists():
            head, penalty = self._fit_frozen(kind)
            print(f"head {kind}: inverse penalty {penalty:g}", flush=True)
            np.savez(kept, coef=head.coef_, intercept=head.intercept_, penalty=penalty)
            if kind != "lab":
                body = self._alone if kind == "current" else self._both
                onnx.save(merge(body, head_graph(head)), self.work / f"{kind}-float.onnx")
        return _stored_head(kept)

    def frozen_logits(self, kind: str, view: Views) -> Logits:
        now, then = self.material.view_features(*view)
        return said(self.frozen(kind), now if kind == "current" else triple(now, then))

    def _fit_frozen(self, kind: str) -> tuple[LogisticRegression, float]:
        features, label = self._frozen_pairs(kind)
        view = ("validation", "normalized")
        crops, (now, then) = self.views(view), self.material.view_features(*view)
        seen = now if kind == "current" else triple(now, then)
        return best_head(
            features, label, self.plan.head.inverse_penalties, lambda head: chosen_by(crops, said(head, seen))
        )

    def _frozen_pairs(self, kind: str) -> tuple[Features, NDArray[np.int64]]:
        rounds = self.rounds
        if kind == "lab":
            plain = rounds[0]
            rows = (plain.severity == 0) | (plain.label == BLOCKED)
            return triple(*_features(plain, rows)), plain.label[rows]
        parts, share = [], self.plan.head.max_pairs // len(rounds)
        for number, each in enumerate(rounds):
            rows = np.random.default_rng(self.plan.seed + number).permutation(len(each.label))[:share]
            now, then = _features(each, rows)
            parts.append((now if kind == "current" else triple(now, then), each.label[rows]))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    # -- the two-input network ----------------------------------------------------------------------------------

    def network(self, name: str) -> onnx.ModelProto:
        """The embedding graph of `scratch`, or of `distilled` (taught by the frozen backbone with the triple head)."""
        kept = self.taught[name] / "backbone.onnx"
        if not kept.exists():
            teacher = None
            if name == "distilled":
                head = self.frozen("triple")
                teacher = [said(head, triple(*_features(each, slice(None)))) for each in self.rounds]
            print(f"training {name}", flush=True)
            folded = teach(self.plan, self.rounds, teacher, self.taught[name]).folded()
            (self.taught[name] / "cost.txt").write_text(str(multiply_adds(folded)))
            onnx.save(backbone_graph(folded), kept)
        return onnx.load(kept)

    def made(self) -> tuple[str, ...]:
        """The networks that are there to be measured."""
        return tuple(name for name, folder in self.taught.items() if (folder / "head.npz").exists())

    def network_cost(self, name: str) -> int:
        return int((self.taught[name] / "cost.txt").read_text())

    def refitted(self, name: str) -> LogisticRegression:
        """The scikit-learn head that takes the place of the network's own last layer."""
        kept = self.taught[name] / "head.npz"
        if not kept.exists():
            graph, view = self.network(name), ("validation", "normalized")
            parts, share = [], self.plan.head.max_pairs // len(self.rounds)
            for number, each in enumerate(self.rounds):
                rows = np.random.default_rng(self.plan.seed + number).permutation(len(each.label))[:share]
                parts.append((Graph(graph)(each.now[rows], each.then[rows]), each.label[rows]))
            features, label = (np.concatenate(columns) for columns in zip(*parts, strict=True))
            crops, seen = self.views(view), self.embedded(name, view)
            penalties = self.plan.head.inverse_penalties
            head, penalty = best_head(features, label, penalties, lambda each: chosen_by(crops, said(each, seen)))
            print(f"head of {name}: inverse penalty {penalty:g}", flush=True)
            onnx.save(merge(graph, head_graph(head)), self.taught[name] / "float.onnx")
            np.savez(kept, coef=head.coef_, intercept=head.intercept_, penalty=penalty)
        return _stored_head(kept)

    def embedded(self, name: str, view: Views) -> Features:
        kept = self.taught[name] / f"embedding-{view[0]}-{view[1]}.npy"
        return _kept(kept, lambda: Graph(self.network(name)).over(self.views(view)))

    def network_logits(self, name: str, view: Views) -> Logits:
        return said(self.refitted(name), self.embedded(name, view))

    def shipped_logits(self, view: Views) -> Logits:
        """The shipped int8 file, as it is, on the same views in its own crops."""
        wanted = decode_manifest(self.shipped("manifest.json")).input
        spec = CropSpec(wanted.size, wanted.margin)
        kept = self.work / f"shipped-{view[0]}-{view[1]}.npy"
        return _kept(kept, lambda: Graph(self.shipped("model.onnx")).over(self.material.cut(*view, spec)))

    def shipped(self, member: str) -> bytes:
        with zipfile.ZipFile(ROOT / self.plan.shipped) as packed:
            return packed.read(member)

    # -- re-centring --------------------------------------------------------------------------------------------

    def recentred(self, of: str, view: Views) -> dict[str, Callable[[float], Logits]]:
        """By name of the shift: logits as a function of the share of it that is taken away.

        `reference` is known at commissioning: how far the camera's reference crops lie from those of training.
        """
        crops, head = self.views(view), self.frozen(of) if of == "triple" else self.refitted(of)
        now, then, began, came = self._compared(of, view)
        stocked = self.rounds[0].label == 0
        camera, visit = groups_of(crops.shelf), groups_of(crops.shelf, crops.condition, crops.severity)
        found = shifts(now - then, camera, visit, (crops.label == 0) & crops.usable, (began - came)[stocked].mean(0))
        reference = mean_shift(then, camera, np.ones(len(then), bool)) - came.mean(0)

        def logits(share: float, shift: Features, of_both: bool) -> Logits:
            moved = now - share * shift
            if of == "triple":
                moved = triple(moved, then - share * shift if of_both else then)
            return said(head, moved)

        ways = {name: partial(logits, shift=shift, of_both=False) for name, shift in found.items()}
        return {"reference": partial(logits, shift=reference, of_both=True), **ways}

    def _compared(self, of: str, view: Views) -> tuple[Features, Features, Features, Features]:
        """Embeddings of what was seen and of what should have been: of the views, then of the plain training pairs."""
        plain = self.rounds[0]
        if of == "triple":
            return *self.material.view_features(*view), *_features(plain, slice(None))
        graph, crops = Graph(self.network(of)), self.views(view)
        then = graph(crops.references, crops.references)[crops.slot]
        return self.embedded(of, view), then, graph(plain.now, plain.then), graph(plain.then, plain.then)

    # -- cost ---------------------------------------------------------------------------------------------------

    def file(self, name: str, kind: str = "float") -> bytes:
        """The whole graph of a candidate, `float` or `int8` (calibrated on validation views)."""
        folder, prefix = (self.taught[name], "") if name in self.taught else (self.work, f"{name}-")
        if kind == "int8" and not (folder / f"{prefix}int8.onnx").exists():
            size = self.plan.crop.network if name in self.taught else self.plan.crop.backbone
            crops = self.material.views("validation", "normalized", size)
            usable = np.flatnonzero(crops.usable & (crops.severity <= 3))
            rows = np.random.default_rng(self.plan.seed).permutation(usable)[:64]
            whole = onnx.load(folder / f"{prefix}float.onnx")
            onnx.save(
                quantize_crops(whole, crops.current[rows], crops.reference_of(rows)), folder / f"{prefix}int8.onnx"
            )
        return (folder / f"{prefix}{kind}.onnx").read_bytes()


def _kept(path: Path, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    if not path.exists():
        np.save(path, make())
    return np.asarray(np.load(path))


def _features(each: Round, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> tuple[Features, Features]:
    return each.features_now[rows].astype(np.float32), each.features_then[rows].astype(np.float32)


def _stored_head(path: Path) -> LogisticRegression:
    """A head that can speak, from its numbers."""
    head = LogisticRegression()
    with np.load(path) as kept:
        head.coef_, head.intercept_ = kept["coef"].astype(np.float32), kept["intercept"].astype(np.float32)
    head.classes_ = np.arange(len(head.intercept_))
    return head
