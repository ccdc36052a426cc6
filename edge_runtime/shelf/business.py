"""First business figures of a camera: on-shelf availability and out-of-stock time.

Availability is the share of slot time in which the slot held stock (`stocked` or `low`). A slot that is `blocked` or
`unknown` for a while holds what it held: it counts as its last answer for up to `carry_s`, after that, or without an
answer yet, neither way. Coverage is the answered share of all time, so that a blind camera does not look like a full
shelf. A gap longer than `max_gap_s` between two captures counts as unseen, and what was answered before it is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.records import ANSWERS, SlotStatus, State


@dataclass(frozen=True, slots=True)
class Figures:
    availability: float | None
    """0..1 over the counted time; None while nothing was answered."""
    coverage: float
    """Answered share of all slot time, 0..1."""
    observed_s: float
    out_of_stock_s: Mapping[str, float]
    """Seconds without stock by slot; slots that were never empty are left out."""


class BusinessFigures:
    """Sums over the statuses of one camera; `reset` starts a new period."""

    def __init__(self, max_gap_s: float = 600.0, carry_s: float = 1800.0) -> None:
        self._max_gap_s = max_gap_s
        self._carry_s = carry_s
        self._last: tuple[float, Sequence[SlotStatus]] | None = None
        self._answers: dict[str, tuple[State, float]] = {}
        """Slot -> its last answer, and the monotonic time until which that counts."""
        self.reset()

    def reset(self) -> None:
        self._answered_s = self._counted_s = self._stocked_s = self._slot_s = self._observed_s = 0.0
        self._empty_s: dict[str, float] = {}

    def update(self, statuses: Sequence[SlotStatus], monotonic_s: float) -> None:
        """The statuses hold from this capture until the next one."""
        before, self._last = self._last, (monotonic_s, statuses)
        if before is None or monotonic_s <= before[0]:
            return
        elapsed = monotonic_s - before[0]
        self._observed_s += elapsed
        self._slot_s += elapsed * len(before[1])
        if elapsed > self._max_gap_s:
            self._answers.clear()
            return
        for status in before[1]:
            self._count(status, elapsed, before[0])

    def _count(self, status: SlotStatus, elapsed: float, since_s: float) -> None:
        if status.state in ANSWERS:
            self._answered_s += elapsed
            self._answers[status.slot] = (status.state, since_s + elapsed + self._carry_s)
        state, until_s = self._answers.get(status.slot, (State.UNKNOWN, 0.0))
        if state is State.UNKNOWN or since_s + elapsed > until_s:
            return
        self._counted_s += elapsed
        if state is not State.EMPTY:
            self._stocked_s += elapsed
        else:
            self._empty_s[status.slot] = self._empty_s.get(status.slot, 0.0) + elapsed

    def figures(self) -> Figures:
        return Figures(
            self._stocked_s / self._counted_s if self._counted_s else None,
            self._answered_s / self._slot_s if self._slot_s else 0.0,
            self._observed_s,
            dict(self._empty_s),
        )
