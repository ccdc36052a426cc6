"""What one camera's frames add up to since the start: counters for `/metrics`. No clock, no I/O."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.records import ANSWERS, Outcome, Reason, State, Unusable

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds; what took longer is counted all the same."""
MAX_STAGES = 24
_ANSWER_STATES = frozenset(ANSWERS)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by upper bound."""

    counts: tuple[int, ...]
    """Not cumulated: one for each of BUCKETS_S, and one for what took longer."""
    sum_s: float


@dataclass(frozen=True, slots=True)
class Metered:
    """A look at a meter."""

    frames: int
    unusable: Mapping[str, int]
    """Frames by reason; a moment without a camera is no frame, and is counted here only."""
    stages: Mapping[str, Histogram]
    slots: Mapping[str, int]
    """Slots by state, as published last."""
    readings: Mapping[str, int]
    """Slots by state, over all frames."""
    confidence_sum: float
    answers: int
    """How many answers that is the sum of."""
    estimated_accuracy: float | None
    """Mean calibrated confidence of the newest frame's answers."""


class CameraMeter:
    """Owned by the inference loop; `look` gives others what they may keep."""

    def __init__(self) -> None:
        self._frames = self._answers = 0
        self._unusable: Counter[str] = Counter()
        self._readings: Counter[str] = Counter()
        self._stages: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}
        self._confidence = 0.0
        self._estimated: float | None = None
        self._last: Outcome | None = None

    def observe(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self._last = outcome
        view = outcome.view
        reason = view.reason if isinstance(view, Unusable) else None
        self._frames += reason is not Reason.NO_CAMERA
        if reason is not None:
            self._unusable[reason.value] += 1
        for stage, ms in outcome.ms.items():
            self._time(stage, ms / 1e3)
        self._readings.update(reading.state.value for reading in outcome.readings)
        answers = [r.confidence for r in outcome.readings if r.state in _ANSWER_STATES and math.isfinite(r.confidence)]
        self._estimated = math.fsum(answers) / len(answers) if answers else None
        self._answers += len(answers)
        self._confidence += math.fsum(answers)

    def look(self) -> Metered:
        """What it has counted so far."""
        statuses = self._last.statuses if self._last else ()
        return Metered(
            self._frames,
            dict(self._unusable),
            {stage: Histogram(tuple(counts), self._sums_s[stage]) for stage, counts in self._stages.items()},
            {state.value: sum(s.state is state for s in statuses) for state in State},
            dict(self._readings),
            self._confidence,
            self._answers,
            self._estimated,
        )

    def _time(self, stage: str, seconds: float) -> None:
        if not math.isfinite(seconds) or (stage not in self._stages and len(self._stages) >= MAX_STAGES):
            return
        counts = self._stages.setdefault(stage, [0] * (len(BUCKETS_S) + 1))
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sums_s[stage] = self._sums_s.get(stage, 0.0) + seconds
