"""Running an ONNX graph over crops, as the device would: one thread, batches, fixed order."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.graph import CURRENT, REFERENCE

BATCH = 32


class Graph:
    """A loaded graph with the input `current`, perhaps `reference`, and one output."""

    def __init__(self, model: onnx.ModelProto | bytes, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        body = model if isinstance(model, bytes) else model.SerializeToString()
        self._session = ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])

    def __call__(self, current: NDArray[np.uint8], reference: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """(n, h, w, 3) pairs to (n, k) float32, in batches of BATCH; no reference where the graph takes none."""
        feeds = {CURRENT: current} if reference is None else {CURRENT: current, REFERENCE: reference}
        parts = [
            self._session.run(None, {name: crops[k : k + BATCH] for name, crops in feeds.items()})[0]
            for k in range(0, len(current), BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)

    def over(self, crops: CropSet) -> NDArray[np.float32]:
        """The graph's output for every row; rows of unusable frames are computed too and must be left out later."""
        parts = [
            self(crops.current[k : k + BATCH], crops.reference_of(slice(k, k + BATCH)))
            for k in range(0, len(crops), BATCH)
        ]
        return np.concatenate(parts)


def latency_ms(
    graphs: tuple[Graph, ...], size: int, rounds: int = 40, slots: int = 32, alone: bool = False
) -> tuple[float, ...]:
    """Median milliseconds of each graph for `slots` pairs, measured in turns so that a busy machine touches all alike.

    `alone`: the graphs take no reference.
    """
    rng = np.random.default_rng(1)
    pair = rng.integers(0, 256, (2, slots, size, size, 3), dtype=np.uint8)
    taken: list[list[float]] = [[] for _ in graphs]
    for _ in range(rounds):
        for graph, times in zip(graphs, taken, strict=True):
            began = time.perf_counter()
            graph(pair[0], None if alone else pair[1])
            times.append(1e3 * (time.perf_counter() - began))
    return tuple(float(np.median(times[2:])) for times in taken)
