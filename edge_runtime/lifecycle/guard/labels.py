"""Feedback of people: against what the receipt promises, and against the incumbent on the same slots.

Where the incumbent's answer to the same picture is known a label counts only if it parts the two models. A label that is
itself wrong makes both wrong, and so does no harm; nor does a shelf that is hard for both. Two wealths then: one against
"it loses no more labels than a model as good as promised can", which is quick, and one against "it loses no more than it
wins", which trusts no promise. The model goes when the second alone refutes, or the first with some of the second: an
incumbent that is worse here than its receipt must not condemn its equal. Labels of slots that were picked *because* the
models differ are a fair bet for the second only. Without the incumbent's answer only the promise is left to bet against, at the
stricter level, for then nothing shows that it holds here at all.
"""

from __future__ import annotations

from edge_runtime.lifecycle.guard.settings import LabelSettings
from edge_runtime.lifecycle.guard.values import STAY, Feedback, Verdict
from edge_runtime.lifecycle.guard.wealth import Wealth

_LOSSES = (0.5, 1.0, 2.0)
"""The gamblers against the promise believe in so many times the loss that the settings name."""
_SIGNS = (0.7, 0.85, 0.95)
"""Those against the incumbent believe that of the labels which part the two so many are lost."""


class LabelTest:
    """Anytime-valid: P(ever falls back | as good as tolerated, or as good as the incumbent) <= alpha + alpha_sign."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._promise, self._signs = Wealth(len(_LOSSES)), Wealth(len(_SIGNS))
        self.labels = self.wrong = self.lost = self.won = 0
        miss = 1.0 - settings.promise
        self._lost_null = miss + settings.tolerance
        self._lost_beliefs = tuple(min(0.95, miss * settings.promise + settings.worse * k) for k in _LOSSES)
        self._wrong_null = _told_wrong(miss + settings.tolerance, settings.noise)
        self._wrong_beliefs = tuple(_told_wrong(min(0.95, miss + settings.worse * k), settings.noise) for k in _LOSSES)

    @property
    def log_wealth(self) -> float:
        """Of the better of the two."""
        return max(self._promise.log, self._signs.log)

    def take(self, feedback: Feedback) -> None:
        self.labels += 1
        self.wrong += not feedback.right
        if feedback.theirs_right is None:
            self._promise.bet(not feedback.right, self._wrong_null, self._wrong_beliefs)
            return
        lost = feedback.theirs_right and not feedback.right
        won = feedback.right and not feedback.theirs_right
        self.lost += lost
        self.won += won
        if not feedback.picked:
            self._promise.bet(lost, self._lost_null, self._lost_beliefs)
        if lost or won:
            self._signs.bet(lost, 0.5, _SIGNS)

    def verdict(self) -> Verdict:
        settings = self._settings
        parted = bool(self.lost or self.won)
        level = settings.alpha if parted else settings.alpha_sign
        broken = self._promise.against(level) and (not parted or self._signs.against(settings.beside))
        if not broken and not self._signs.against(settings.alpha_sign):
            return STAY
        against = f"; of those that part it from the incumbent {self.lost} lost, {self.won} won" if parted else ""
        return Verdict(True, f"feedback: wrong on {self.wrong} of {self.labels} labelled slots{against}", "labels")


def _told_wrong(wrong: float, noise: float) -> float:
    """Chance that an answer which is wrong with this probability is told to be wrong."""
    return wrong * (1.0 - noise) + (1.0 - wrong) * noise
