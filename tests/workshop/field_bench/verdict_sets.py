"""Random verdicts for the laws of scoring, and a scorer that is written another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.workshop.field_bench.verdicts import NO_GUESS, REASON_TYPE, STATES, UNKNOWN, Said, Truths

CELLS = (("lab", 0), ("yaw", 1), ("yaw", 5), ("store", 3))
SLOTS = 6


def make_truths(frames: list[tuple[int, int]], states: NDArray[np.int8]) -> Truths:
    """`frames` holds (shelf, cell) of each frame; `states` (frames, SLOTS)."""
    rows = [(shelf, cell, k, slot) for k, (shelf, cell) in enumerate(frames) for slot in range(SLOTS)]
    columns = np.array(rows, np.int32).reshape(-1, 4)
    return Truths(
        shelves=tuple(f"shelf{k}" for k in range(1 + max(shelf for shelf, _ in frames))),
        frames=tuple(Path(f"frames/{k}.jpg") for k in range(len(frames))),
        cells=CELLS,
        shelf=columns[:, 0],
        cell=columns[:, 1],
        frame=columns[:, 2],
        slot=columns[:, 3],
        sku=np.array([f"sku-{slot}" for slot in columns[:, 3]], np.str_),
        state=states.reshape(-1).astype(np.int8),
    )


def make_said(truths: Truths, states: NDArray[np.int8], confidence: NDArray[np.float64] | None = None) -> Said:
    """Verdicts that are forced to what was said, or to the truth's neighbour where nothing was."""
    flat = states.reshape(-1).astype(np.int8)
    return Said(
        state=flat,
        confidence=np.full(len(flat), 0.9) if confidence is None else confidence,
        best=np.where(flat < 3, flat, NO_GUESS).astype(np.int8),
        reason=np.where(flat < 3, "", "unsure").astype(REASON_TYPE),
        registered=np.ones(len(truths.frames), np.bool_),
        relit=np.zeros(len(truths.frames), np.bool_),
    )


@st.composite
def benches(draw: st.DrawFn) -> tuple[Truths, Said, Said]:
    """Truths, what the runtime said, what the raw crops led to: at most 16 frames of 4 shelves."""
    frames = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, len(CELLS) - 1)), min_size=1, max_size=16))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = (len(frames), SLOTS)
    truths = make_truths(frames, rng.integers(0, UNKNOWN, size).astype(np.int8))
    ours, raw = (rng.integers(0, len(STATES), size).astype(np.int8) for _ in range(2))
    return truths, make_said(truths, ours, rng.random(len(truths))), make_said(truths, raw)


def naive_balanced(pairs: list[tuple[int, int]]) -> float:
    """Balanced accuracy by counting in a loop; nan for no pairs."""
    recalls = []
    for state in (0, 1, 2):
        mine = [said for truth, said in pairs if truth == state]
        if mine:
            recalls.append(sum(said == state for said in mine) / len(mine))
    return sum(recalls) / len(recalls) if recalls else float("nan")
