"""Drift of one camera: reads its outcomes, and says what moved and why. It reports; it never acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from edge_runtime.drift.cause import Cause, cause_of
from edge_runtime.drift.chain import Chain
from edge_runtime.drift.detector import Direction, Saved
from edge_runtime.drift.signals import NAMES, SIGNALS, Group, signals_of
from edge_runtime.records import Event, Outcome

FORMAT = "edge-drift/1"


class DriftState(StrEnum):
    LEARNING = "learning"
    STEADY = "steady"
    DRIFTING = "drifting"


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """How much is learned before drift is judged, and how long an alarm counts."""

    every_s: float = 60.0
    """Frames of this long become one value a signal, their median: that takes shoppers and noise out."""
    learn: int = 180
    """Values that make an hour's baseline: three days of minutes, for one day alone does not tell how days differ."""
    learn_memory: int = 1_440
    """Values after these from which a signal's memory is learned: a day of minutes, for a few hours make a long memory
    look short, and what is not whitened alarms for ever after."""
    hold: int = 60
    """Values for which a signal counts as moved after its last alarm."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How one camera is against its own past."""

    camera: str
    at: float
    """Wall clock of the newest frame that went in; 0 before there was one."""
    state: DriftState
    cause: Cause
    moved: Mapping[str, Direction] = field(default_factory=dict)
    """The signals that moved lately, and which way."""
    z: Mapping[str, float] = field(default_factory=dict)
    """The newest value of each signal in standard deviations; signals still being learned are left out."""

    def event(self) -> Event:
        """The report as an event; reports of one moment and content have one id."""
        signals = {name: direction.value for name, direction in self.moved.items()}
        return Event(
            id=f"drift-{self.camera}-{self.at:.3f}-{self.state}-{self.cause or 'none'}",
            kind="drift",
            camera=self.camera,
            at=self.at,
            now=self.state.value if not self.cause else f"{self.state}:{self.cause}",
            detail=signals,
        )


class DriftMonitor:
    """A `pipeline.Observer` for one camera. Time comes from the frames: monotonic for the buckets, wall for the hour.

    `hour_of` turns a wall clock into the local hour of the day.
    """

    def __init__(
        self,
        camera: str,
        settings: DriftSettings | None = None,
        hour_of: Callable[[float], int] = lambda at: time.localtime(at).tm_hour,
    ) -> None:
        self._camera = camera
        self._settings = settings or DriftSettings()
        self._hour_of = hour_of
        self._chains = self._fresh_chains()
        self._bucket: list[NDArray[np.float64]] = []
        self._bucket_from_s: float | None = None
        self._moved: dict[str, tuple[Direction, int]] = {}
        """Signal -> direction, and for how many values it still counts."""
        self._at = 0.0
        self._said: tuple[DriftState, Cause] = (DriftState.LEARNING, Cause.NONE)

    def observe(self, outcome: Outcome) -> None:
        """Take an outcome of this camera; those of others are left alone."""
        frame = outcome.frame
        if frame.camera != self._camera:
            return
        now_s = frame.captured_monotonic_s
        if self._bucket_from_s is None:
            self._bucket_from_s = now_s
        if not 0 <= now_s - self._bucket_from_s < self._settings.every_s:
            self._close_bucket()
            self._bucket_from_s = now_s
        self._bucket.append(signals_of(outcome))
        self._at = frame.captured_at

    def take(self, values: Mapping[str, float], hour: int) -> None:
        """Judge one interval's values by signal, of local hour 0..23; what was not measured is left out."""
        self._moved = {name: (way, left - 1) for name, (way, left) in self._moved.items() if left > 1}
        for name, value in values.items():
            direction = self._chains[name].update(value, hour)
            if direction is not Direction.STEADY:
                self._moved[name] = (direction, self._settings.hold)

    def report(self) -> DriftReport:
        learning = all(chain.learning for chain in self._chains.values())
        state = DriftState.DRIFTING if self._moved else DriftState.LEARNING if learning else DriftState.STEADY
        return DriftReport(
            self._camera,
            self._at,
            state,
            cause_of(self._moved),
            {name: direction for name, (direction, _) in self._moved.items()},
            {name: chain.z for name, chain in self._chains.items() if chain.z is not None},
        )

    def changed(self) -> DriftReport | None:
        """The report, if state or cause are others than at the last call."""
        report = self.report()
        now = (report.state, report.cause)
        if now == self._said:
            return None
        self._said = now
        return report

    def reset(self) -> None:
        """Learn anew: after a change that is meant."""
        for chain in self._chains.values():
            chain.reset()
        self._bucket.clear()
        self._bucket_from_s = None
        self._moved.clear()

    def change_model(self) -> None:
        """Another model answers from now on: what was learned of its answers does not count, what the rail says stays."""
        for signal in SIGNALS:
            if signal.group is Group.SLOT:
                self._chains[signal.name].reset()
                self._moved.pop(signal.name, None)
        self._bucket.clear()
        self._bucket_from_s = None

    def to_dict(self) -> dict[str, object]:
        """What was learned, for a JSON file. The open bucket is left out."""
        return {
            "format": FORMAT,
            "camera": self._camera,
            "signals": {name: chain.to_dict() for name, chain in self._chains.items()},
            "moved": {name: [direction.value, left] for name, (direction, left) in self._moved.items()},
        }

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go on where `to_dict` was taken. Raises ValueError for what is not such a state; nothing is changed then."""
        fresh = self._fresh_chains()
        try:
            moved = _parse(saved, self._camera, fresh)
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not a drift state of camera {self._camera!r}: {fault!r}") from None
        self._chains, self._moved = fresh, moved

    def _fresh_chains(self) -> dict[str, Chain]:
        settings = self._settings
        return {signal.name: Chain(signal.floor, settings.learn, settings.learn_memory) for signal in SIGNALS}

    def _close_bucket(self) -> None:
        if not self._bucket:
            return
        stack = np.stack(self._bucket)
        self._bucket.clear()
        values: dict[str, float] = {}
        for index, name in enumerate(NAMES):
            seen = stack[:, index][np.isfinite(stack[:, index])]
            if seen.size:
                values[name] = float(seen.mean()) if name == "usable" else float(np.median(seen))
        self.take(values, self._hour_of(self._at))


def _parse(saved: Mapping[str, object], camera: str, fresh: Mapping[str, Chain]) -> dict[str, tuple[Direction, int]]:
    if saved["format"] != FORMAT or saved["camera"] != camera:
        raise ValueError(
            f"the state is {saved['format']!r} of camera {saved['camera']!r}, {FORMAT} of {camera!r} expected"
        )
    signals: Mapping[str, Mapping[str, Saved]] = saved["signals"]  # type: ignore[assignment]
    for name, chain in fresh.items():
        if name in signals:
            chain.restore(signals[name])
    moved: Mapping[str, tuple[str, int]] = saved["moved"]  # type: ignore[assignment]
    return {name: (Direction(way), int(left)) for name, (way, left) in moved.items() if name in fresh}
