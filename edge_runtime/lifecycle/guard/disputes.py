"""Disagreement with the incumbent, judged slot by slot: anytime-valid tests that need no label.

A *look* is what a slot shows until its pixels change (`SlotPair.novelty`). What both models make of a look is asked once,
when their answers have stood for a few comparisons: the next picture of the same pixels is no new evidence. A look on
which they differ is a *dispute*; the witnesses say how surely the model on trial lost it, -1..1.

Two wealths. *Signs* bets against "it loses no more than it wins": that alone refutes, if it grows large. *Excess* bets
against "the two differ no more often than both claim to err": each claims an accuracy by its confidence, so more disputes
than that can not all be honest. Whose fault they are it can not say, and so it counts only with some of the first.

Errors on one slot are akin over its looks: who lost one look of a slot will probably lose the next. So the bet on a slot
that was disputed before is laid at dearer odds: the tolerated mean is what such slots are expected to give given what
they gave, as in a beta-binomial. Without this the wealth would grow by counting one error again and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.lifecycle.guard.settings import DisputeSettings
from edge_runtime.lifecycle.guard.values import STAY, SlotPair, Verdict
from edge_runtime.lifecycle.guard.wealth import Stakes, Wealth
from edge_runtime.lifecycle.guard.witnesses import testimony
from edge_runtime.records import State

_MORE = (0.08, 0.15, 0.3)
"""The gamblers against the claims believe in so many more disputes."""
_FIRST = 10.0
"""Looks that the promise counts for in what a model claims, before it has made claims of its own here."""
_CHANGED = 0.5
"""Novelty from which the slot shows something else than before."""


@dataclass(slots=True)
class _Slot:
    """One slot since the trial began."""

    answers: tuple[State, State] | None = None
    run: int = 0
    told: bool = False
    """This look has been counted."""
    looks: int = 0
    disputes: int = 0
    lost: float = 0.0
    """Sum of what the disputes gave, -1..1 each."""

    @property
    def differ(self) -> bool:
        return self.answers is not None and self.answers[0] is not self.answers[1]


class DisputeTest:
    """P(ever falls back | the model on trial loses no more than it wins) <= alpha for the signs alone, and for both
    wealths together no more than either allows."""

    def __init__(self, settings: DisputeSettings) -> None:
        self._settings = settings
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._signs, self._excess = Stakes(), Wealth(len(_MORE))
        self._doubt = 2.0 * _FIRST * (1.0 - settings.promise)
        """Sum over looks of how unsure both models were."""
        self._said: tuple[Counter[State], Counter[State]] = (Counter(), Counter())
        """Looks by answer, of the model on trial and of the incumbent, where both answered."""
        self.looks = self.disputes = 0

    @property
    def log_wealth(self) -> float:
        """Of the signs."""
        return self._signs.log

    @property
    def log_excess(self) -> float:
        return self._excess.log

    @property
    def suspicious(self) -> bool:
        """Not enough to condemn, too much to let it pass."""
        return self._signs.against(self._settings.suspicion) or self._excess.against(self._settings.suspicion)

    @property
    def worth_asking(self) -> tuple[tuple[str, str], ...]:
        """(camera, slot) on which the models differ now: a label here says most."""
        least = self._settings.settle_frames
        return tuple(key for key, slot in self._slots.items() if slot.run >= least and slot.differ)

    def take(self, pairs: Sequence[SlotPair]) -> None:
        """The pairs of one picture that was taken while nothing moved."""
        for pair in pairs:
            slot = self._slots.setdefault((pair.camera, pair.slot), _Slot())
            if pair.novelty >= _CHANGED:
                slot.answers, slot.run, slot.told = None, 0, False
            if pair.comparable:
                self._compare(slot, pair)

    def verdict(self) -> Verdict:
        """Condemned by its losses, or for saying the same whatever it is shown."""
        settings = self._settings
        if self._constant():
            return Verdict(
                True, f"gives one answer to {self.looks} different looks; the incumbent does not", "collapse"
            )
        both = self._excess.against(settings.alpha) and self._signs.against(settings.beside)
        if not both and not self._signs.against(settings.alpha):
            return STAY
        return Verdict(True, f"loses against the incumbent: {self.disputes} disputes in {self.looks} looks", "disputes")

    def _constant(self) -> bool:
        """So many different looks and always one answer. A shelf that sells is never full for so long, and if it were,
        the incumbent would see it nearly so."""
        settings, (mine, theirs) = self._settings, self._said
        looks = mine.total()
        if looks < settings.constant_looks:
            return False
        top, count = mine.most_common(1)[0]
        return count >= settings.constant_share * looks and theirs[top] <= (1.0 - settings.constant_gap) * looks

    def _compare(self, slot: _Slot, pair: SlotPair) -> None:
        answers = (pair.mine, pair.theirs)
        slot.run = slot.run + 1 if answers == slot.answers else 1
        slot.answers = answers
        if slot.told or slot.run < self._settings.settle_frames:
            return
        slot.told = True
        self._bet_on_excess(slot, pair)
        slot.looks += 1
        self.looks += 1
        if pair.both_answer:
            self._said[0][pair.mine] += 1
            self._said[1][pair.theirs] += 1
        if slot.differ:
            self._bet_on_sign(slot, testimony(pair, self._settings))
            slot.disputes += 1
            self.disputes += 1

    def _bet_on_sign(self, slot: _Slot, lost: float) -> None:
        kinship, tolerated = self._settings.kinship, self._settings.tolerated
        expected = (tolerated * kinship + slot.lost) / (kinship + slot.disputes)
        self._signs.bet(lost, min(0.95, max(tolerated, expected)))
        slot.lost += lost

    def _bet_on_excess(self, slot: _Slot, pair: SlotPair) -> None:
        claimed = self._doubt / (_FIRST + self.looks) + self._settings.slack
        null = min(0.9, max(claimed, self._akin(claimed, slot)))
        self._excess.bet(slot.differ, null, [min(0.95, self._akin(claimed + more, slot)) for more in _MORE])
        self._doubt += 2.0 - pair.mine_confidence - pair.theirs_confidence

    def _akin(self, share: float, slot: _Slot) -> float:
        """Chance that the slot's next look is disputed, if that share of looks is, and errors on one slot are akin."""
        kinship = self._settings.kinship
        return (share * kinship + slot.disputes) / (kinship + slot.looks)
