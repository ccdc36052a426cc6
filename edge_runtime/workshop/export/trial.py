"""Running somebody's graph where it can do no harm: in a child process, with a limit of time."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused

LIMIT_S = 300.0
_AGAIN = "Export the model again; try another opset (17) and the newest exporter"

Arrays = Mapping[str, NDArray[Any]]


def run_apart(model: bytes, feeds: Arrays, rows: int, limit_s: float = LIMIT_S) -> dict[str, NDArray[np.generic]]:
    """Every output of a graph over `feeds`, fed `rows` at a time on the CPU provider.

    Raises Refused with what the runtime said if it does not load or run, dies, or takes longer than `limit_s`.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.onnx").write_bytes(model)
        np.savez(place / "feeds.npz", **cast("dict[str, Any]", feeds))
        files = [str(place / "model.onnx"), str(place / "feeds.npz"), str(rows), str(place / "answers.npz")]
        _run_child(files, limit_s)
        with np.load(place / "answers.npz", allow_pickle=False) as answers:
            return {name: answers[name] for name in answers.files}


def _run_child(files: list[str], limit_s: float) -> None:
    command = [sys.executable, "-m", "edge_runtime.workshop.export.child", *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise Refused(f"the model did not answer within {limit_s:.0f} s", "Take a smaller model") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise Refused(f"onnxruntime died of {name} while running the model", _AGAIN)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Refused(f"onnxruntime does not run the model: {said}", _AGAIN)
