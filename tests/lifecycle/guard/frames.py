"""Frames as the guard sees them."""

from __future__ import annotations

from collections.abc import Mapping

from edge_runtime.lifecycle.guard import FrameEvidence, SlotPair
from edge_runtime.records import State

STOCKED, LOW, EMPTY, BLOCKED, UNKNOWN = State.STOCKED, State.LOW, State.EMPTY, State.BLOCKED, State.UNKNOWN
USUAL = {STOCKED: 14, LOW: 3, EMPTY: 3}
INTERVAL_S = 45.0


def frame(number: int, states: Mapping[State, int] | None = None, **more: object) -> FrameEvidence:
    """The `number`-th frame of a camera; all is well unless said otherwise."""
    found: dict[str, object] = {"infer_ms": 8.0, "incumbent": USUAL, "incumbent_ms": 8.0, "camera": "a", "usable": True}
    return FrameEvidence(at_s=number * INTERVAL_S, states=USUAL if states is None else states, **(found | more))  # type: ignore[arg-type]


def pair(mine: State, theirs: State, slot: str = "1", **more: object) -> SlotPair:
    found: dict[str, object] = {"mine_confidence": 0.9, "theirs_confidence": 0.9, "novelty": 0.0, "likeness": 0.97}
    return SlotPair("a", slot, mine, theirs, **(found | more))  # type: ignore[arg-type]
