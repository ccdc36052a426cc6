"""Feedback of people against what the receipt promises. One wealth; each label is one bet.

Where the incumbent's answer to the same picture is known the label counts only if it parts the two models: "the new one
was wrong where the old one was right". A label that is itself wrong makes both wrong, and so does no harm; nor does a
shelf that is hard for both. Where it is not known, the label is held against the promised accuracy.
"""

from __future__ import annotations

from edge_runtime.lifecycle.guard.settings import LabelSettings
from edge_runtime.lifecycle.guard.values import STAY, Feedback, Verdict
from edge_runtime.lifecycle.guard.wealth import Wealth

_BELIEFS = (0.5, 1.0, 2.0)
"""The gamblers believe in so many times the loss that the settings name."""


class LabelTest:
    """Anytime-valid: P(ever falls back | no worse than tolerated) <= alpha."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._wealth = Wealth(len(_BELIEFS))
        self.labels = self.wrong = self.lost = self.won = 0
        miss = 1.0 - settings.promise
        self._lost_null = miss + settings.tolerance
        self._lost_beliefs = tuple(min(0.95, miss * settings.promise + settings.worse * k) for k in _BELIEFS)
        self._wrong_null = _told_wrong(miss + settings.tolerance, settings.noise)
        self._wrong_beliefs = tuple(_told_wrong(min(0.95, miss + settings.worse * k), settings.noise) for k in _BELIEFS)

    @property
    def log_wealth(self) -> float:
        return self._wealth.log

    def take(self, feedback: Feedback) -> None:
        self.labels += 1
        self.wrong += not feedback.right
        if feedback.theirs_right is None:
            self._wealth.bet(not feedback.right, self._wrong_null, self._wrong_beliefs)
            return
        lost = feedback.theirs_right and not feedback.right
        self.lost += lost
        self.won += feedback.right and not feedback.theirs_right
        self._wealth.bet(lost, self._lost_null, self._lost_beliefs)

    def verdict(self) -> Verdict:
        """Losses must outnumber wins: an incumbent that is worse than its receipt must not condemn a better model."""
        if not self._wealth.against(self._settings.alpha) or ((self.lost or self.won) and self.lost <= 2 * self.won):
            return STAY
        return Verdict(True, f"feedback: wrong on {self.wrong} of {self.labels} labelled slots", "labels")


def _told_wrong(wrong: float, noise: float) -> float:
    """Chance that an answer which is wrong with this probability is told to be wrong."""
    return wrong * (1.0 - noise) + (1.0 - wrong) * noise
