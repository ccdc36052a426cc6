"""What a model costs on this machine: latency in alternating rounds, and peak memory in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.errors import ModelFault
from edge_runtime.inference.probe import LATENCY_SLOTS, Probe, open_probe
from edge_runtime.lifecycle.arrays import read_arrays
from edge_runtime.manifest import Manifest, encode_manifest

ROUNDS, WARM_UP = 60, 4
CHILD_S = 300.0


def measure_cost(
    models: Mapping[str, bytes], manifest: Manifest, golden: bytes | None, rounds: int = ROUNDS
) -> dict[str, float]:
    """`models`: `packed`, and perhaps `float`. Milliseconds are of 32 slots (a detector: one view) on one thread.

    Raises ModelFault if a model does not load or run.
    """
    taken = _alternate({name: _probe(body, manifest, golden, name == "float") for name, body in models.items()}, rounds)
    figures = {"slots_timed": float(LATENCY_SLOTS if manifest.task == "classify-slots" else 1)}
    for name, spent in taken.items():
        prefix = "" if name == "packed" else "float_"
        figures[f"{prefix}p50_ms"] = float(np.median(spent))
        figures[f"{prefix}p95_ms"] = float(np.percentile(spent, 95))
        figures[f"{prefix}peak_mb"], figures[f"{prefix}model_mb"] = weigh_apart(
            models[name], manifest, golden, name == "float"
        )
        figures[f"{prefix}file_mb"] = len(models[name]) / 1e6
    if "float" in taken:
        ratios = np.array(taken["float"]) / np.array(taken["packed"])
        figures["speedup"] = float(np.median(ratios))
    return figures


def weigh_apart(model: bytes, manifest: Manifest, golden: bytes | None, floating: bool) -> tuple[float, float]:
    """(peak MB of a process that loads and runs the model, MB of that which the model added)."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.onnx").write_bytes(model)
        (place / "manifest.json").write_bytes(encode_manifest(msgspec.structs.replace(manifest, files={})))
        if golden is not None:
            (place / "golden.npz").write_bytes(golden)
        command = [
            sys.executable,
            "-m",
            "edge_runtime.workshop.validation.weigh",
            folder,
            "float" if floating else "packed",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S, check=False)
        except subprocess.TimeoutExpired:
            raise ModelFault(f"the model did not run within {CHILD_S:.0f} s", "Take a smaller one") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelFault(f"the model failed in a process of its own: {said}", "Export it again")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return float(found["peak_mb"]), float(found["model_mb"])


def _probe(model: bytes, manifest: Manifest, golden: bytes | None, floating: bool) -> Probe:
    return open_probe(model, manifest, {} if golden is None else read_arrays(golden, "golden.npz"), floating)


def _alternate(probes: Mapping[str, Probe], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in probes}
    for number in range(WARM_UP + rounds):
        for name, probe in probes.items():
            began = time.perf_counter()
            probe.run_once()
            if number >= WARM_UP:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return taken
