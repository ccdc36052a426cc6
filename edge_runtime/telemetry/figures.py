"""One camera's figures over an interval: outcomes in, one `CameraFigures` out. No clock, no I/O."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from edge_runtime.records import ANSWERS, Outcome, RegistrationStatus, State, View
from edge_runtime.telemetry.builders import CameraHealth, measured, state_counts
from edge_runtime.telemetry.messages import CameraFigures

KEPT_FRAMES = 2_048
"""Of each series; a faster camera has its newest frames counted."""
_ANSWER_STATES = frozenset(ANSWERS)


class _Series:
    """The newest finite values of one figure."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=KEPT_FRAMES)

    def take(self, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            self._values.append(float(value))

    def mean(self, digits: int) -> float | None:
        return round(math.fsum(self._values) / len(self._values), digits) if self._values else None

    def median(self, digits: int) -> float | None:
        return round(quantile(self._values, 0.5), digits) if self._values else None

    def mean_and_p95(self, digits: int) -> tuple[float, float]:
        return self.mean(digits) or 0.0, round(quantile(self._values, 0.95), digits)


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank). ValueError on none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values to take a quantile of")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class CameraWindow:
    """Gathers one camera's outcomes until `take` empties it."""

    def __init__(self) -> None:
        self._last: Outcome | None = None
        self._reset()

    def _reset(self) -> None:
        self._frames = self._usable = 0
        self._slots = self._silent = 0
        self._unusable: Counter[str] = Counter()
        self._registration: Counter[str] = Counter()
        self._light: Counter[str] = Counter()
        self._remarks: Counter[str] = Counter()
        self._ms: defaultdict[str, _Series] = defaultdict(_Series)
        self._series: defaultdict[str, _Series] = defaultdict(_Series)

    def observe(self, outcome: Outcome) -> None:
        view = outcome.view
        self._last = outcome
        self._frames += 1
        for stage, ms in outcome.ms.items():
            self._ms[stage].take(ms)
        self._ms["decode"].take(outcome.frame.decode_ms)
        self._count_slots(outcome)
        self._registration[view.registration.status.value] += 1
        self._registration["moved"] += view.registration.moved
        if view.registration.status is RegistrationStatus.OK:
            self._series["residual_px"].take(view.registration.residual_px)
            self._series["inliers"].take(view.registration.inliers)
        if isinstance(view, View):
            self._observe_view(view, outcome)
        else:
            self._unusable[view.reason.value] += 1

    def _observe_view(self, view: View, outcome: Outcome) -> None:
        self._usable += 1
        self._light[view.light.decision.value] += 1
        self._remarks.update(remark.value for remark in view.registration.remarks)
        series = self._series
        series["packs_px"].take(view.registration.packs_px)
        series["gain"].take(math.fsum(view.light.gain) / 3)
        series["light_before"].take(view.light.residual_before)
        series["light_after"].take(view.light.residual_after)
        series["sharpness"].take(view.sharpness)
        series["noise"].take(view.noise)
        for reading in outcome.readings:
            if reading.state in _ANSWER_STATES:
                series["confidence"].take(reading.confidence)

    def _count_slots(self, outcome: Outcome) -> None:
        """A frame without readings leaves every slot without an answer."""
        self._slots += len(outcome.readings) or len(outcome.statuses)
        if outcome.readings:
            self._silent += sum(reading.state is State.UNKNOWN for reading in outcome.readings)
        else:
            self._silent += len(outcome.statuses)

    @property
    def empty(self) -> bool:
        """Whether there was no frame since the last `take`."""
        return not self._frames

    def take(self, health: CameraHealth | None) -> CameraFigures:
        """The figures since the last call."""
        series = self._series
        before, after = series["light_before"].mean(4), series["light_after"].mean(4)
        inliers = series["inliers"].median(0)
        figures = CameraFigures(
            frames=self._frames,
            usable=self._usable,
            unusable=dict(sorted(self._unusable.items())),
            ms={stage: values.mean_and_p95(2) for stage, values in sorted(self._ms.items())},
            states=state_counts(self._last.statuses) if self._last else {},
            estimated_accuracy=series["confidence"].mean(4),
            unknown_share=round(self._silent / self._slots, 4) if self._slots else None,
            registration={status: n for status, n in sorted(self._registration.items()) if n},
            residual_px=series["residual_px"].median(3),
            inliers=None if inliers is None else int(inliers),
            remarks=dict(sorted(self._remarks.items())),
            packs_px=series["packs_px"].median(2) or None,
            light=dict(sorted(self._light.items())),
            gain=series["gain"].mean(4),
            light_residual=None if before is None or after is None else (before, after),
            sharpness=series["sharpness"].mean(3),
            noise=series["noise"].mean(2),
            reconnects=health.reconnects if health else None,
            age_s=measured(health.age_s, 1) if health else None,
        )
        self._reset()
        return figures
