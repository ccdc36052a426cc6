"""How right the published states are, against the truth at the moment of their capture."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping

ANSWERS = ("stocked", "low", "empty")
SAME_FRAME_S = 2.0
"""A capture later than this after the newest known frame was of another one."""
CLOCK_S = 0.02
"""A capture may be stamped this much before its frame: two processes round differently."""


class Truth:
    """What the slots really were, frame by frame."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._states: list[Mapping[str, str]] = []

    @property
    def newest(self) -> float:
        """Wall clock of the newest frame; 0 before the first."""
        return self._at[-1] if self._at else 0.0

    def add(self, at: float, states: Mapping[str, str]) -> None:
        """Take one frame; those that are not newer than the newest are known already."""
        if at > self.newest:
            self._at.append(at)
            self._states.append(states)

    def of(self, captured_at: float) -> Mapping[str, str] | None:
        """Slot -> state in the frame that was captured then; None if that frame is not known."""
        place = bisect_right(self._at, captured_at + CLOCK_S) - 1
        if place < 0 or captured_at - self._at[place] > SAME_FRAME_S:
            return None
        return self._states[place]


class Score:
    """Counts slots whose truth is not blocked; `accuracy` is over the answered ones."""

    def __init__(self) -> None:
        self._cells: Counter[tuple[str, str]] = Counter()

    def take(self, said: Mapping[str, str], truth: Mapping[str, str]) -> None:
        """One published shelf: slot -> state, against slot -> true state."""
        for slot, true in truth.items():
            if true in ANSWERS and slot in said:
                self._cells[true, said[slot]] += 1

    @property
    def slots(self) -> int:
        """Slots scored, answered or not."""
        return self._cells.total()

    @property
    def coverage(self) -> float | None:
        """Share of the slots that got an answer; None before the first."""
        return _share(sum(map(self._answered, ANSWERS)), self.slots)

    @property
    def accuracy(self) -> float | None:
        """Share of the answers that are right."""
        return _share(sum(self._cells[s, s] for s in ANSWERS), sum(map(self._answered, ANSWERS)))

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean over the true states of the share of answers that are right."""
        shares = [self._cells[s, s] / n for s in ANSWERS if (n := self._answered(s))]
        return sum(shares) / len(shares) if shares else None

    def confusion(self) -> dict[str, dict[str, int]]:
        """True state -> said state -> slots."""
        return {
            true: {said: n for (t, said), n in sorted(self._cells.items()) if t == true}
            for true in ANSWERS
            if any(t == true for t, _ in self._cells)
        }

    def _answered(self, true: str) -> int:
        return sum(self._cells[true, said] for said in ANSWERS)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
