"""Rules over time that are compared on the same answers of the model: what the shelf could do with 5 to 9 captures.

Each rule turns the captures of a day into scores for `ShelfTracker`, and says with which settings these are taken.
`blocked` and `unknown` are handled alike by all of them: only the way from answers to a change differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from benchmarks.day_scores import Capture, RecordedDay
from edge_runtime.cli.day_marks import DayMarks, DayScore
from edge_runtime.manifest import Thresholds
from edge_runtime.records import Scores
from edge_runtime.shelf.evidence import EvidenceSettings
from edge_runtime.shelf.states import ShelfTracker, TrackerSettings

Probabilities = NDArray[np.float32]
Fusion = Callable[[Sequence[Capture], float], Iterator[Scores | None]]
"""Captures of a day and the model's limit for `blocked`, to the scores that the shelf gets."""

_AT_ONCE = EvidenceSettings(
    clip=0.8, allowance=0.0, answered=0.8, least=-inf, doubtful=1.0, repeated=1.0, threshold=0.7, settle_s=0.0
)
DIRECT = TrackerSettings(_AT_ONCE, witness=None, passing_s=inf)
"""An answer is a change at once."""
TWICE = replace(DIRECT, evidence=replace(_AT_ONCE, threshold=1.5))
"""Two equal answers in a row are a change."""
CUSUM = TrackerSettings(EvidenceSettings(least=-inf), witness=None, passing_s=inf)
"""The clipped CUSUM of docs/adr/0003."""
FIVE_TIMES = TrackerSettings(witness=None, passing_s=inf)
"""As CUSUM, but only pictures that speak clearly count."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to make events of a model's answers."""

    settings: TrackerSettings
    fusion: Fusion = field(default=lambda captures, limit: (c.scores for c in captures))

    def play(self, day: RecordedDay, thresholds: Thresholds) -> DayMarks:
        shelf, score = ShelfTracker("day", day.layout, thresholds, self.settings), DayScore()
        for capture, scores in zip(day.captures, self.fusion(day.captures, thresholds.blocked), strict=True):
            _, statuses, events = shelf.observe(capture.view, scores)
            score.take(capture.t, capture.truth, statuses, events)
        return score.marks()


def median_of_pixels(window: int) -> Fusion:
    """The model sees the median of a slot's last still crops; whether something stands in front, it says of the newest."""

    def fuse(captures: Sequence[Capture], limit: float) -> Iterator[Scores | None]:
        for capture in captures:
            fused = capture.medians[window]
            yield replace(fused, blocked=capture.scores.blocked) if fused and capture.scores else None

    return fuse


def pooled(window: int, pool: Callable[[Probabilities], Probabilities]) -> Fusion:
    """Log probabilities of a slot's last captures with nothing in front, pooled."""

    def fuse(captures: Sequence[Capture], limit: float) -> Iterator[Scores | None]:
        kept: list[deque[Probabilities]] = []
        for capture in captures:
            if capture.scores is None:
                yield None
                continue
            kept = kept or [deque(maxlen=window) for _ in capture.scores.blocked]
            logs = _logs(capture.scores)
            for slot, blocked in enumerate(capture.scores.blocked):
                if blocked < 0.5 * limit or not kept[slot]:
                    kept[slot].append(logs[slot])
            yield replace(capture.scores, probabilities=_shares(np.stack([pool(np.stack(k)) for k in kept])))

    return fuse


def mean(logs: Probabilities) -> Probabilities:
    return np.asarray(logs.mean(axis=0), np.float32)


def middle(logs: Probabilities) -> Probabilities:
    return np.asarray(np.median(logs, axis=0), np.float32)


ALIKE = np.full((3, 3), 0.5)
"""From one state to each other one."""
TRADE = np.array([[0.0, 0.75, 0.25], [0.4, 0.0, 0.6], [0.95, 0.05, 0.0]])
"""Stock sells front first, and is filled to the front."""


def forward(stay: float, trust: float, other: NDArray[np.float64] = ALIKE) -> Fusion:
    """Hidden Markov model, forward filter: `stay` is a state's chance to be the same in the next capture, `trust` the
    power to which an answer counts, since captures of one scene are not independent."""
    step = (1 - stay) * other / other.sum(1, keepdims=True).clip(1e-9) * (1 - np.eye(3)) + stay * np.eye(3)

    def fuse(captures: Sequence[Capture], limit: float) -> Iterator[Scores | None]:
        belief: NDArray[np.float64] | None = None
        for capture in captures:
            if capture.scores is None:
                yield None
                continue
            if belief is None:
                belief = np.full((len(capture.scores.blocked), 3), 1 / 3)
            clear = np.clip(1 - 2 * capture.scores.blocked / limit, 0.0, 1.0)[:, None]
            belief = (belief @ step) * np.exp(trust * clear * _logs(capture.scores))
            belief /= belief.sum(axis=1, keepdims=True)
            yield replace(capture.scores, probabilities=belief.astype(np.float32))

    return fuse


def _logs(scores: Scores) -> Probabilities:
    return np.asarray(np.log(np.clip(scores.probabilities, 1e-4, 1.0)), np.float32)


def _shares(logs: Probabilities) -> Probabilities:
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


RULES: Mapping[str, Rule] = {
    "no fusion": Rule(DIRECT),
    "two in a row": Rule(TWICE),
    "CUSUM (0003)": Rule(CUSUM),
    "median of 5 pictures": Rule(DIRECT, median_of_pixels(5)),
    "median of 9 pictures": Rule(DIRECT, median_of_pixels(9)),
    "median of 5, CUSUM": Rule(CUSUM, median_of_pixels(5)),
    "median of 9, CUSUM": Rule(CUSUM, median_of_pixels(9)),
    "mean of 5 answers": Rule(DIRECT, pooled(5, mean)),
    "mean of 9 answers": Rule(DIRECT, pooled(9, mean)),
    "median of 5 answers": Rule(DIRECT, pooled(5, middle)),
    "median of 9 answers": Rule(DIRECT, pooled(9, middle)),
    "forward filter": Rule(DIRECT, forward(0.995, 0.7)),
    "forward filter, trade": Rule(DIRECT, forward(0.995, 0.7, TRADE)),
    "CUSUM, five times": Rule(FIVE_TIMES),
    "CUSUM, five times, witness": Rule(TrackerSettings()),
}
