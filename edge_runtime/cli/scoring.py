"""How right the published states are, against the truth at the moment of their capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

ANSWERS = ("stocked", "low", "empty")


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
