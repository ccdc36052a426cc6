"""The quantization set on disk: PNG strips, so that anyone can look at it. Each column is a pair: current over reference."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.workshop.crops import CropSet, read_picture
from edge_runtime.workshop.labels import LABELS

COLUMNS = 16
MAX_SEVERITY = 3

Pairs = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def choose_pairs(crops: CropSet, count: int, seed: int) -> Pairs:
    """`count` pairs: the labels in turn, half of them from lab frames, half from frames up to MAX_SEVERITY."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(crops))
    queues = [
        iter([int(row) for row in order if crops.usable[row] and crops.label[row] == label and wanted(row)])
        for wanted in (lambda row: crops.severity[row] == 0, lambda row: 0 < crops.severity[row] <= MAX_SEVERITY)
        for label in range(len(LABELS))
    ]
    rows: list[int] = []
    while len(rows) < count and queues:
        row = next(queues[0], None)
        queues = queues[1:] if row is None else [*queues[1:], queues[0]]
        rows += [] if row is None else [row]
    chosen = np.array(rows, np.int64)
    return np.asarray(crops.current[chosen]), crops.reference_of(chosen)


def write_strips(folder: Path, pairs: Pairs) -> None:
    """Write `pairs-NN.png`, COLUMNS pairs each; older strips in the folder go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("pairs-*.png"):
        old.unlink()
    current, reference = pairs
    for number, begin in enumerate(range(0, len(current), COLUMNS)):
        columns = [
            np.concatenate([now, then])
            for now, then in zip(current[begin : begin + COLUMNS], reference[begin : begin + COLUMNS], strict=True)
        ]
        cv2.imwrite(
            str(folder / f"pairs-{number:02}.png"), np.concatenate(columns, 1), [cv2.IMWRITE_PNG_COMPRESSION, 9]
        )


def read_strips(folder: Path) -> Pairs:
    """All pairs of a folder, (n, size, size, 3) each. Raises Unavailable if there are none, Refused if sizes differ."""
    current: list[NDArray[np.generic]] = []
    reference: list[NDArray[np.generic]] = []
    for path in sorted(folder.glob("pairs-*.png")):
        strip = read_picture(path, "Make the calibration set again")
        side = strip.shape[0] // 2
        if strip.shape[0] % 2 or strip.shape[1] % side or (current and current[0].shape[0] != side):
            raise Refused(
                f"{path} is {strip.shape[1]}x{strip.shape[0]}; columns of two square crops, alike in all strips, were expected",
                "Make the calibration set again",
            )
        for left in range(0, strip.shape[1], side):
            current.append(strip[:side, left : left + side])
            reference.append(strip[side:, left : left + side])
    if not current:
        raise Unavailable(
            f"no pairs-*.png in {folder}", "Run models/shelf-occupancy/make.py: its `quantize` step makes them"
        )
    return np.stack(current).astype(np.uint8), np.stack(reference).astype(np.uint8)
