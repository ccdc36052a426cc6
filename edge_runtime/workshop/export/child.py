"""Run inside a child process: load an ONNX file, run it, write the answers. A graph that kills the runtime kills this only.

`python -m edge_runtime.workshop.export.child MODEL FEEDS ROWS ANSWERS`: FEEDS is an npz of input arrays of equal length,
fed ROWS at a time; ANSWERS becomes an npz with every output that is a tensor. What fails is said in one line on
standard error, exit code 1.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


def main(arguments: list[str]) -> int:
    """Exit code of one run."""
    model, feeds, rows, answers = Path(arguments[0]), Path(arguments[1]), int(arguments[2]), Path(arguments[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    made = run(model, feeds, rows)
    with answers.open("wb") as out:
        np.savez(out, **cast("dict[str, Any]", made))
    return 0


def run(model: Path, feeds: Path, rows: int) -> dict[str, NDArray[Any]]:
    """All outputs over all rows; a last part that is too short is filled up with its own first row and cut again."""
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    names = [entry.name for entry in session.get_outputs() if entry.type.startswith("tensor")]
    with np.load(feeds, allow_pickle=False) as given:
        arrays = {name: given[name] for name in given.files}
    count = len(next(iter(arrays.values())))
    parts: list[list[NDArray[Any]]] = []
    for begin in range(0, count, rows):
        taken = np.minimum(np.arange(begin, begin + rows), count - 1)
        parts.append(session.run(names, {name: array[taken] for name, array in arrays.items()}))
    joined = [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]
    return dict(zip(names, joined, strict=True))


def say_in_one_line(kind: type[BaseException], fault: BaseException, _: TracebackType | None) -> None:
    """For `sys.excepthook`: what the parent shows to a person."""
    sys.stderr.write((str(fault).strip().splitlines() or [kind.__name__])[0][:500] + "\n")


if __name__ == "__main__":
    sys.excepthook = say_in_one_line
    sys.exit(main(sys.argv[1:]))
