"""A process of its own that loads and runs one model and says what it held: started by `cost.weigh_apart`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edge_runtime.inference.probe import open_probe
from edge_runtime.lifecycle.arrays import read_arrays
from edge_runtime.manifest import decode_manifest
from edge_runtime.workshop.quantization.memory import peak_mb

RUNS = 20


def main(folder: Path, floating: bool) -> None:
    """Load `folder`/model.onnx by its manifest.json, run it RUNS times, and write one JSON line."""
    manifest = decode_manifest((folder / "manifest.json").read_bytes())
    golden = folder / "golden.npz"
    arrays = read_arrays(golden.read_bytes(), golden.name) if golden.exists() else {}
    import onnxruntime  # noqa: F401 - what every model needs is not this model's weight

    before = peak_mb()
    probe = open_probe((folder / "model.onnx").read_bytes(), manifest, arrays, floating)
    for _ in range(RUNS):
        probe.run_once()
    peak = peak_mb()
    sys.stdout.write(json.dumps({"peak_mb": round(peak, 2), "model_mb": round(peak - before, 2)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "float")
