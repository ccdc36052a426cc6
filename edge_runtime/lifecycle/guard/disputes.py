"""Disagreement with the incumbent, judged slot by slot: an anytime-valid test of "the new one loses no more than it wins".

A *look* is what a slot shows until its pixels change (`SlotPair.novelty`). What both models make of a look is asked once,
when their answers have stood for a few comparisons: the next picture of the same pixels is no new evidence. A look on
which they differ is a *dispute*; the witnesses say how surely the model on trial lost it, -1..1, and that is one bet.

Errors on one slot are akin over its looks: who lost one look of a slot will probably lose the next. So the bet on a slot
that was disputed before is laid at dearer odds: the tolerated mean is what such slots are expected to give given what
they gave, as in a beta-binomial. Without this the wealth would grow by counting one error again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_runtime.lifecycle.guard.settings import DisputeSettings
from edge_runtime.lifecycle.guard.values import STAY, SlotPair, Verdict
from edge_runtime.lifecycle.guard.witnesses import testimony
from edge_runtime.records import State

_CHANGED = 0.5
"""Novelty from which the slot shows something else than before."""
_STAKES = (0.15, 0.3, 0.5, 0.75)
"""Shares of the greatest possible stake; one gambler each."""


@dataclass(slots=True)
class _Slot:
    """One slot since the trial began."""

    answers: tuple[State, State] | None = None
    run: int = 0
    told: bool = False
    """This look has been counted."""
    disputes: int = 0
    lost: float = 0.0
    """Sum of what the disputes gave, -1..1 each."""


@dataclass(slots=True)
class DisputeTest:
    """P(wealth ever reaches 1 / alpha | the model on trial loses no more than tolerated) <= alpha."""

    settings: DisputeSettings
    looks: int = 0
    disputes: int = 0
    lost: float = 0.0
    _slots: dict[tuple[str, str], _Slot] = field(default_factory=dict)
    _logs: list[float] = field(default_factory=lambda: [0.0] * len(_STAKES))

    @property
    def log_wealth(self) -> float:
        top = max(self._logs)
        return top + math.log(sum(math.exp(one - top) for one in self._logs) / len(self._logs))

    def take(self, pairs: Sequence[SlotPair]) -> None:
        """The pairs of one picture that was taken while nothing moved."""
        for pair in pairs:
            slot = self._slots.setdefault((pair.camera, pair.slot), _Slot())
            if pair.novelty >= _CHANGED:
                slot.answers, slot.run, slot.told = None, 0, False
            if pair.comparable:
                self._compare(slot, pair)

    def verdict(self) -> Verdict:
        if self.log_wealth < -math.log(self.settings.alpha):
            return STAY
        return Verdict(True, f"loses against the incumbent: {self.disputes} disputes in {self.looks} looks", "disputes")

    def _compare(self, slot: _Slot, pair: SlotPair) -> None:
        answers = (pair.mine, pair.theirs)
        slot.run = slot.run + 1 if answers == slot.answers else 1
        slot.answers = answers
        if slot.told or slot.run < self.settings.settle_frames:
            return
        slot.told = True
        self.looks += 1
        if pair.mine is not pair.theirs:
            self._bet(slot, testimony(pair, self.settings))

    def _bet(self, slot: _Slot, lost: float) -> None:
        kinship, tolerated = self.settings.kinship, self.settings.tolerated
        expected = (tolerated * kinship + slot.lost) / (kinship + slot.disputes)
        null = min(0.95, max(tolerated, expected))
        for number, share in enumerate(_STAKES):
            self._logs[number] += math.log1p(share / (1.0 + null) * (lost - null))
        slot.disputes += 1
        slot.lost += lost
        self.disputes += 1
        self.lost += lost
