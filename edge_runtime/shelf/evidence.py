"""When is a change of one slot certain enough? A clipped, one-sided CUSUM for every other answer.

Page (1954) sums the log-likelihood ratio of "it is b now" against "it is still a", less an allowance, and never lets
the sum sink below zero. Clipping each step (Huber 1965) is what makes it safe here: no single picture, however sure
the model is, can reach the threshold; two sure ones in a row can; weak ones need several; a picture that speaks for
the old answer takes the sum down again. A picture in which something may stand in front of the slot counts for less:
the edge of a shopper looks like an empty shelf. No clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_runtime.records import ANSWERS, SlotReading, State

_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """Sums are in natural log units."""

    clip: float = 3.0
    """One picture counts at most this much for or against."""
    allowance: float = 0.5
    """Taken off each picture, so that a lasting slight doubt never becomes a change."""
    answered: float = 0.8
    """A picture whose reading is an answer counts at least this much for it, so that a lasting one wins in the end."""
    least: float = 1.6
    """Log ratio below which a picture speaks for no change at all: it must be five times as likely as the known answer."""
    doubtful: float = 0.15
    """Least weight of a picture in which something may stand in front."""
    threshold: float = 4.0
    """More than `clip - allowance` (one picture must not do), at most twice that (two sure ones must)."""
    repeated: float = 0.5
    """Weight of a sure picture that looks as the slot did when its known state was confirmed: hardly new evidence. An
    unsure one then counts nothing."""
    sure: float = 2.9
    """Log ratio from which a picture is sure: eighteen times as likely."""
    settle_s: float = 0.3
    """The pictures must span this long as well: at a high frame rate two pictures are one glance."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new answer, and when its first picture was taken (wall clock)."""

    state: State
    began: float


class Evidence:
    """The sums of one slot."""

    __slots__ = ("_began", "_settings", "_sums")

    def __init__(self, settings: EvidenceSettings) -> None:
        self._settings = settings
        self._sums: dict[State, float] = dict.fromkeys(ANSWERS, 0.0)
        self._began: dict[State, tuple[float, float]] = {}

    def clear(self) -> None:
        """Forget what has been summed: the slot was away too long for the pictures to belong together."""
        self._sums = dict.fromkeys(ANSWERS, 0.0)
        self._began.clear()

    def update(
        self,
        known: State | None,
        reading: SlotReading,
        clear: float,
        at: float,
        monotonic_s: float,
        novelty: float = 1.0,
    ) -> Change | None:
        """Add one picture; the change, once it is certain.

        `clear` is 1 where surely nothing stands in front, 0 where that is doubtful; `novelty` is 0 where the slot looks
        as when its known state was confirmed, 1 where it looks different. With nothing known yet each answer is weighed
        against the best of the others, so that the first answer needs as much evidence as a change.
        """
        weight = min(1.0, max(self._settings.doubtful, clear))
        scores = reading.scores
        logs = {state: math.log(max(_FLOOR, scores.get(state, 0.0))) for state in ANSWERS}
        for state in ANSWERS:
            if state is known:
                continue
            against = logs[known] if known is not None else max(logs[s] for s in ANSWERS if s is not state)
            step = self._step(logs[state] - against, weight, reading.state is state)
            if step > 0.0 and known is not None:
                step *= self._worth(logs[state] - against, novelty)
            self._add(state, step, at, monotonic_s)
        # Sums are capped, so two answers may stand at the threshold at once: then the newest picture decides.
        best = max(ANSWERS, key=lambda state: (self._sums[state], logs[state]))
        if self._sums[best] < self._settings.threshold or reading.state is not best:
            return None  # what is published must be what the newest picture says, with its confidence
        began, began_s = self._began[best]
        if monotonic_s - began_s < self._settings.settle_s:
            return None
        self.clear()
        return Change(best, began)

    def _worth(self, ratio: float, novelty: float) -> float:
        """Share of a step that counts against a known answer."""
        if ratio < self._settings.least:
            return 0.0
        return max(novelty, self._settings.repeated if ratio >= self._settings.sure else 0.0)

    def _step(self, ratio: float, weight: float, answered: bool) -> float:
        limits = self._settings
        step = weight * max(-limits.clip, min(limits.clip, ratio)) - limits.allowance
        return max(step, weight * limits.answered) if answered else step

    def _add(self, state: State, step: float, at: float, monotonic_s: float) -> None:
        before = self._sums[state]
        self._sums[state] = min(self._settings.threshold, max(0.0, before + step))
        if before == 0.0:
            self._began[state] = (at, monotonic_s)
