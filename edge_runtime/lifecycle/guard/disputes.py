"""Disagreement with the incumbent, judged slot by slot. (First version; see docs/adr/0010-guard.md.)

What stands on a slot is asked once for each look of it: the answers of both models to the next picture of the same
pixels are no new evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_runtime.lifecycle.guard.settings import DisputeSettings
from edge_runtime.lifecycle.guard.values import STAY, SlotPair, Verdict
from edge_runtime.lifecycle.guard.wealth import Wealth
from edge_runtime.records import State

_BELIEFS = (0.75, 1.0, 2.0)
_CHANGED = 0.5
"""Novelty from which the slot shows something else than before."""


@dataclass(slots=True)
class _Slot:
    """One slot since the trial began."""

    pair: tuple[State, State] | None = None
    run: int = 0
    told: bool = False
    """This look has been counted."""
    lost: int = 0
    looks: int = 0


@dataclass(slots=True)
class DisputeTest:
    settings: DisputeSettings
    looks: int = 0
    disputes: int = 0
    _slots: dict[tuple[str, str], _Slot] = field(default_factory=dict)
    _wealth: Wealth = field(default_factory=lambda: Wealth(len(_BELIEFS)))

    @property
    def log_wealth(self) -> float:
        return self._wealth.log

    def take(self, pairs: Sequence[SlotPair]) -> None:
        for pair in pairs:
            self._compare(self._slots.setdefault((pair.camera, pair.slot), _Slot()), pair)

    def _compare(self, slot: _Slot, pair: SlotPair) -> None:
        if pair.novelty >= _CHANGED:
            slot.pair, slot.run, slot.told = None, 0, False
        if not pair.both_answer:
            return
        now = (pair.mine, pair.theirs)
        slot.run = slot.run + 1 if now == slot.pair else 1
        slot.pair = now
        if not slot.told and slot.run >= self.settings.settle_frames:
            self._count(slot, pair.mine is not pair.theirs)

    def _count(self, slot: _Slot, lost: bool) -> None:
        settings = self.settings
        tolerated = 2 * (1.0 - settings.promise) + settings.tolerance
        null = max(tolerated, _predicted(tolerated, slot, settings.kinship))
        believed = [_predicted(min(0.9, tolerated + settings.worse * k), slot, settings.kinship) for k in _BELIEFS]
        self._wealth.bet(lost, null, believed)
        slot.told = True
        slot.looks += 1
        slot.lost += lost
        self.looks += 1
        self.disputes += lost

    def verdict(self) -> Verdict:
        if self.disputes < self.settings.least_disputes or not self._wealth.against(self.settings.alpha):
            return STAY
        return Verdict(True, f"disagrees with the incumbent on {self.disputes} of {self.looks} looks", "disputes")


def _predicted(share: float, slot: _Slot, kinship: float) -> float:
    """Chance that the slot's next look is lost, if such shares of slots are, and errors on one slot are akin (the
    predictive of a beta-binomial)."""
    return (share * kinship + slot.lost) / (kinship + slot.looks)
