"""Which integer types suit the shipped slot model: agreement, accuracy and time of each, beside its float file.

    python -m benchmarks.int8_types DATASET [--crops DIR]

Ranges come from calibration/quantization, figures from the labelled DATASET up to severity 3 (cut into --crops, which is kept).
Times are ratios of alternating rounds on this machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx

from edge_runtime.assets import factory_bundles
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.workshop.cutting import cut_dataset, load_dataset
from edge_runtime.workshop.labels import BLOCKED
from edge_runtime.workshop.measure import balanced
from edge_runtime.workshop.quantization.processor import EIGHT_BITS, Types, choose_types
from edge_runtime.workshop.quantization.qdq import METHODS, gather, prepare, write_int8
from edge_runtime.workshop.quantization.samples import open_samples
from edge_runtime.workshop.run import Graph, latency_ms

ROOT = Path(__file__).resolve().parents[1]
FLOAT_NODES = "stem"
TYPES: tuple[Types, ...] = (EIGHT_BITS, choose_types("any", "", frozenset()), choose_types("arm", "", frozenset()))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("dataset", type=Path)
    ask.add_argument("--crops", type=Path)
    given = ask.parse_args()
    bundle = read_bundle(factory_bundles()[-1])
    with tempfile.TemporaryDirectory() as passing:
        folder = given.crops or Path(passing)
        cut_dataset(given.dataset, folder, bundle.manifest.crop)
        crops = load_dataset(folder)
    crops = crops.only(crops.usable & (crops.severity <= 3))
    seen = crops.label != BLOCKED
    model = onnx.load_from_string(bundle.fp32 or b"")
    prepared, whole = prepare(model), Graph(model)
    kept = [name for name in prepared.nodes if name.startswith(FLOAT_NODES)]
    samples = open_samples(
        ROOT / "calibration" / "quantization" / f"{bundle.manifest.input.size[0]}px", bundle.manifest.input
    )
    full = whole.over(crops)
    for method in METHODS:
        ranges = gather(prepared, samples, range(len(samples)), method)
        for types in TYPES:
            graph = Graph(write_int8(prepared, ranges, types, kept))
            said = graph.over(crops)
            right = [balanced(crops.label[seen], x[seen, :BLOCKED].argmax(1)) for x in (full, said)]
            slow, fast = latency_ms((whole, graph), bundle.manifest.input.size[0])
            print(
                f"{method:<11}{types.name:<8} agreement {100 * np.mean(full.argmax(1) == said.argmax(1)):.2f} %, accuracy "
                f"{100 * (right[1] - right[0]):+.2f} points, time {fast / slow:.2f} of float ({len(crops)} slots)",
                flush=True,
            )


if __name__ == "__main__":
    main()
