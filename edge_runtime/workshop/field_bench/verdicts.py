"""The values of a bench: what the slots were, and what was said about them. Row i of every array is the same slot and frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import ANSWERS, State

STATES: tuple[str, ...] = (*(state.value for state in ANSWERS), State.BLOCKED.value, State.UNKNOWN.value)
"""A state's code is its place here: 0..2 are answers, 3 blocked, 4 unknown."""
ANSWERED = len(ANSWERS)
"""Codes below this are answers."""
BLOCKED, UNKNOWN = STATES.index("blocked"), STATES.index("unknown")
NO_GUESS = -1
REASON_TYPE = "<U32"
UNREADABLE = "unreadable"

LAB = ("lab", 0)


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """What every slot of every frame really was; n rows."""

    shelves: tuple[str, ...]
    frames: tuple[Path, ...]
    cells: tuple[tuple[str, int], ...]
    """(condition, severity), each once."""
    shelf: NDArray[np.int32]
    """(n,) place in `shelves`."""
    frame: NDArray[np.int32]
    """(n,) place in `frames`."""
    cell: NDArray[np.int32]
    """(n,) place in `cells`."""
    slot: NDArray[np.int32]
    """(n,) place in the layout of the shelf."""
    sku: NDArray[np.str_]
    """(n,) product of the slot."""
    state: NDArray[np.int8]
    """(n,) code of the true state, never UNKNOWN."""

    def __len__(self) -> int:
        return len(self.state)

    @property
    def severity(self) -> NDArray[np.int32]:
        """(n,) severity of the row's frame."""
        return np.array([severity for _, severity in self.cells], np.int32)[self.cell]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What one way of preparing the frames led to; n rows as `Truths`, f frames."""

    state: NDArray[np.int8]
    """(n,) code of the state that was said."""
    confidence: NDArray[np.float64]
    """(n,) calibrated confidence of what was said."""
    best: NDArray[np.int8]
    """(n,) the most probable of the three answers, whatever was said; NO_GUESS where nothing was computed."""
    reason: NDArray[np.str_]
    """(n,) why it was blocked or unknown; empty for an answer."""
    registered: NDArray[np.bool_]
    """(f,) the reference was found in the frame."""
    relit: NDArray[np.bool_]
    """(f,) the light was corrected."""
