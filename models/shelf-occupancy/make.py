"""Everything from seeds to bundles: render, crops, train, export, quantize, pack, measure.

    python models/shelf-occupancy/make.py [--recipe recipe.toml ...] [--until STEP]

Each step keeps its result under var/ and is skipped while it is there; training goes on after the last whole epoch.
`--again STEP` makes that step and all behind it anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
from finish import Parts, bundle, export, export_error, pairs_digest, quantized
from train import train

from edge_runtime.manifest import decode_manifest
from edge_runtime.workshop.calibrate import answer
from edge_runtime.workshop.crops import CropSet, join_crops
from edge_runtime.workshop.cutting import cut_dataset, load_dataset, normalized, partly_placed
from edge_runtime.workshop.field import dataset_digest
from edge_runtime.workshop.graph import backbone_graph, multiply_adds
from edge_runtime.workshop.measure import table
from edge_runtime.workshop.packing.identity import read_card, whole_card
from edge_runtime.workshop.packing.toolchain import toolchain
from edge_runtime.workshop.recipe import RenderRecipe, read_recipe, recipe_digest
from edge_runtime.workshop.run import Graph
from edge_runtime.workshop.strips import choose_pairs, read_strips, write_strips

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("render", "crops", "train", "export", "quantize", "pack", "measure")


class Workshop:
    """One recipe's way from seeds to a bundle; files under `var`."""

    def __init__(self, path: Path, var: Path, bundles: Path, pairs: Path) -> None:
        self.path, self.recipe = path, read_recipe(path)
        self.var, self.bundles = var, bundles
        self.pairs = pairs / f"{self.recipe.crop.size}px"
        self.work = var / "models" / f"{self.recipe.name}-{self.recipe.version}"
        self.work.mkdir(parents=True, exist_ok=True)

    def steps(self) -> dict[str, Callable[[], None]]:
        return {name: getattr(self, name) for name in STEPS}

    def rendered(self, plan: RenderRecipe) -> Path:
        key = hashlib.sha256(json.dumps(plan.arguments).encode()).hexdigest()[:12]
        return self.var / "renders" / f"{plan.role}-{key}"

    def render(self) -> None:
        for plan in self.recipe.render:
            folder = self.rendered(plan)
            command = [sys.executable, "-m", "edge_runtime.simulator", "dataset", *plan.arguments, "--out", str(folder)]
            subprocess.run(command, check=True, cwd=ROOT)

    def cut(self, plan: RenderRecipe) -> Path:
        crop = self.recipe.crop
        spec = crop.stored if plan.role == "train" else crop.device
        return self.var / "crops" / f"{self.rendered(plan).name}-{spec.size[0]}-{spec.margin:g}"

    def crops(self) -> None:
        crop = self.recipe.crop
        for plan in self.recipe.render:
            train = plan.role == "train"
            way = partly_placed if train else normalized
            cut_dataset(self.rendered(plan), self.cut(plan), crop.stored if train else crop.device, way)

    def load(self, role: str) -> CropSet:
        return join_crops(load_dataset(self.cut(plan)) for plan in self.recipe.render if plan.role == role)

    def train_crops(self) -> CropSet:
        crops = self.load("train")
        rows = crops.usable & (crops.inside > 0.7)
        return crops.only(rows)

    def train(self) -> None:
        if (self.work / "backbone.onnx").exists():
            return
        crops, validation = self.train_crops(), self.load("validation")
        print(f"{len(crops)} training crops, {len(validation)} validation crops", flush=True)
        seen = validation.only(validation.usable & (validation.severity <= 3))
        thin = seen.only(np.arange(0, len(seen), max(1, len(seen) // 4000)))
        network = train(self.recipe, crops, thin, self.work)
        graph = backbone_graph(network.folded())
        error = export_error(network, graph, thin)
        cost = {"multiply_adds": multiply_adds(network.folded()), "max_error": error}
        (self.work / "cost.json").write_text(json.dumps(cost))
        onnx.save(graph, self.work / "backbone.onnx")

    def export(self) -> None:
        path = self.work / "float.onnx"
        if path.exists():
            return
        merged, error = export(self.recipe, onnx.load(self.work / "backbone.onnx"), self.train_crops())
        (self.work / "merge.json").write_text(json.dumps({"max_error": error}))
        onnx.save(merged, path)

    def quantize(self) -> None:
        if (self.work / "int8.onnx").exists():
            return
        validation = self.load("validation")
        if not any(self.pairs.glob("pairs-*.png")):
            write_strips(self.pairs, choose_pairs(validation, self.recipe.quantize.pairs, self.recipe.seed))
        errors = {
            "network_to_onnx_max_error": json.loads((self.work / "cost.json").read_text())["max_error"],
            "head_to_onnx_max_error": json.loads((self.work / "merge.json").read_text())["max_error"],
        }
        pairs = read_strips(self.pairs)
        parts = quantized(self.recipe, onnx.load(self.work / "float.onnx"), pairs, validation, errors)
        (self.work / "receipt.json").write_text(json.dumps(parts.receipt, indent=1))
        print(json.dumps(parts.receipt, indent=1), flush=True)
        onnx.save(parts.int8, self.work / "int8.onnx")

    def pack(self) -> None:
        parts = Parts(
            onnx.load(self.work / "float.onnx"),
            onnx.load(self.work / "int8.onnx"),
            json.loads((self.work / "receipt.json").read_text()),
        )
        made = bundle(
            self.recipe,
            parts,
            self.load("validation"),
            self.provenance(),
            self.bundles,
            licence(),
            self.card(),
        )
        print(f"{made}: {made.stat().st_size} bytes, sha256 {hashlib.sha256(made.read_bytes()).hexdigest()}")

    def card(self) -> dict[str, str]:
        """<recipe>.card.toml; an earlier model has none."""
        path = self.path.with_suffix(".card.toml")
        return whole_card(read_card(path), {}) if path.exists() else {}

    def provenance(self) -> dict[str, str | int | float]:
        folders = tuple(self.rendered(plan) for plan in self.recipe.render)
        return {
            "recipe": str(self.path.resolve().relative_to(ROOT)),
            "recipe_sha256": recipe_digest(self.path),
            "data": "rendered by edge_runtime.simulator from the packs of GroceryStoreDataset (MIT)",
            "data_sha256": dataset_digest(folders),
            "quantization_set_sha256": pairs_digest(read_strips(self.pairs)),
            "seed": self.recipe.seed,
            "multiply_adds": json.loads((self.work / "cost.json").read_text())["multiply_adds"],
            **toolchain(("torch",)),
        }

    def measure(self) -> None:
        """Figures on shelves that nothing was fitted on."""
        crops = self.load("test")
        with zipfile.ZipFile(self.bundles / f"{self.recipe.name}-{self.recipe.version}.zip") as packed:
            manifest, model = decode_manifest(packed.read("manifest.json")), packed.read("model.onnx")
        answers = answer(Graph(model).over(crops), crops, manifest.confidence, manifest.thresholds)
        found = {name: row.as_dict() for name, row in table(crops, answers).items()}
        (self.work / "figures.json").write_text(json.dumps(found, indent=1))
        for name, row in found.items():
            print(f"{name:<16}" + "  ".join(f"{key} {value:.3f}" for key, value in row.items() if key != "slots"))


def licence() -> bytes:
    """The project's own, and that of the pack shots behind the training renders."""
    packs = (ROOT / "edge_runtime" / "simulator" / "packs" / "LICENSE").read_bytes()
    return (ROOT / "LICENSE").read_bytes() + b"\nTrained on renders of pack shots under this licence:\n\n" + packs


RESULTS = {
    "train": ("checkpoint.pt", "backbone.onnx", "cost.json"),
    "export": ("float.onnx", "merge.json"),
    "quantize": ("int8.onnx", "receipt.json"),
}


def main() -> None:
    cv2.setNumThreads(1)
    here = Path(__file__).parent
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--recipe", type=Path, action="append", help="default: recipe-0.9.toml, then recipe.toml")
    ask.add_argument("--until", choices=STEPS, default=STEPS[-1])
    ask.add_argument("--again", choices=STEPS, help="forget this step's result and what follows")
    ask.add_argument("--var", type=Path, default=ROOT / "var")
    ask.add_argument("--bundles", type=Path, default=ROOT / "models" / "bundles")
    ask.add_argument("--pairs", type=Path, default=ROOT / "calibration" / "quantization")
    given = ask.parse_args()
    for path in given.recipe or [here / "recipe-0.9.toml", here / "recipe.toml"]:
        shop = Workshop(path, given.var, given.bundles, given.pairs)
        if given.again:
            for step in STEPS[STEPS.index(given.again) :]:
                for name in RESULTS.get(step, ()):
                    (shop.work / name).unlink(missing_ok=True)
        for name, step in shop.steps().items():
            if STEPS.index(name) <= STEPS.index(given.until):
                print(f"-- {shop.recipe.name} {shop.recipe.version}: {name}", flush=True)
                step()


if __name__ == "__main__":
    main()
