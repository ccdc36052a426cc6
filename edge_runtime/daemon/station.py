"""One camera in the daemon: its frames into its pipeline, and an account of both.

A station never raises for its camera. A camera that gives nothing is, after a while, taken through the pipeline as
frames that are missing, and a frame whose work failed as one that can not be used, so that the slots become `unknown`
once that has lasted and everybody downstream hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import cv2
import numpy as np

from edge_runtime.config import CameraConfig
from edge_runtime.daemon.models import LoadedModel, Parts, rebuild_parts, thresholds_of
from edge_runtime.drift.monitor import DriftMonitor
from edge_runtime.errors import EdgeError
from edge_runtime.pipeline import Pipeline
from edge_runtime.records import (
    Frame,
    Image,
    Layout,
    Light,
    Outcome,
    Reason,
    Registration,
    RegistrationStatus,
    State,
    Unusable,
)
from edge_runtime.shelf.business import BusinessFigures
from edge_runtime.shelf.states import ShelfTracker

LOST_S = 15.0
"""A camera without a frame for this long (and three intervals) is missing."""


class CameraReport(Protocol):
    """What the daemon reads of a camera's own account (`camera.live.CameraHealth`)."""

    @property
    def status(self) -> StrEnum: ...
    @property
    def error(self) -> str: ...
    @property
    def reconnects(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def source(self) -> str: ...


class Camera(Protocol):
    """What the daemon needs of a camera (`camera.live.LiveCamera`)."""

    def start(self) -> None: ...
    def stop(self, timeout_s: float = ...) -> bool: ...
    def newest(self, timeout_s: float, after_sequence: int = ...) -> Frame | None: ...
    def has_newer(self, after_sequence: int) -> bool: ...
    def health(self) -> CameraReport: ...


@dataclass(frozen=True, slots=True, eq=False)
class StationParts:
    """What a station is made of; `compose` makes it."""

    config: CameraConfig
    layout: Layout
    reference: Image
    camera: Camera
    pipeline: Pipeline
    tracker: ShelfTracker
    drift: DriftMonitor


class Station:
    """Owned by the inference loop; no other thread may call it."""

    def __init__(self, parts: StationParts, clock: Callable[[], float] = time.monotonic) -> None:
        self.parts = parts
        self.name = parts.config.name
        self.business = BusinessFigures()
        self.frames = 0
        self.missed = 0
        """Pictures that a newer one replaced before they were visited."""
        self.outcome: Outcome | None = None
        """Of the newest frame, or of a missing or failed one."""
        self.last_frame_at: float | None = None
        self.fault = ""
        """Why the newest frame was left out; its slots were not read. Empty once one goes through."""
        self._newest: Frame | None = None
        """Of the last `visit`, if it had one."""
        self._sequence = 0
        self._clock = clock
        self._began_s = self._last_s = self._told_s = clock()

    @property
    def lost_s(self) -> float:
        return max(LOST_S, 3 * self.parts.config.interval_s)

    @property
    def age_s(self) -> float:
        """Since the newest frame, or since the start if there was none."""
        return self._clock() - self._last_s

    @property
    def idle_s(self) -> float:
        """Since this station last concluded anything, a missing frame included."""
        return self._clock() - max(self._last_s, self._told_s)

    @property
    def waits(self) -> bool:
        """Whether the camera has a newer frame already."""
        return self.parts.camera.has_newer(self._sequence)

    @property
    def slot_states(self) -> tuple[State, ...]:
        """As published last, in the order of the layout; empty before the first outcome."""
        return tuple(status.state for status in self.outcome.statuses) if self.outcome else ()

    def visit(self, timeout_s: float = 0.0) -> Outcome | None:
        """Take the newest frame if there is a new one. Raises ModelFault; then the frame is gone, the next one comes.

        What else the work on a frame may raise (EdgeError, cv2.error) is for `leave_out`.
        """
        frame = self._newest = self.parts.camera.newest(timeout_s, self._sequence)
        if frame is None:
            return self._miss()
        self.missed += max(0, frame.sequence - self._sequence - 1) if self._sequence else 0
        self._sequence = frame.sequence
        self._last_s, self.last_frame_at = self._clock(), frame.captured_at
        self.frames += 1
        return self._keep(self.parts.pipeline.step(frame))

    def leave_out(self, fault: Exception) -> Outcome | None:
        """The frame of the last `visit` failed for `fault`: the shelf learns that it was not read, as of any other
        frame that can not be used. None if that fails too, or if no frame was at fault."""
        self.fault, frame = f"a frame was left out: {fault}", self._newest
        if frame is None:
            return None
        try:
            return self._keep(self.parts.pipeline.miss(_unread(frame, Reason.FAILED, str(fault))), self.fault)
        except (EdgeError, cv2.error):
            return None

    def fit(self, loaded: LoadedModel | None) -> Parts:
        """What `use` needs of a model; may be called in another thread, for it takes a while. Raises ModelFault."""
        parts = self.parts
        return rebuild_parts(parts.layout, parts.reference, loaded, parts.pipeline.normalizer)

    def use(self, loaded: LoadedModel | None, fitted: Parts | None = None) -> None:
        """Change the model between two frames; None is safe mode. `fitted`: what `fit` gave for it.

        The registration is held, the known states of the slots stay. Raises ModelFault if the model does not fit.
        """
        self.parts.pipeline.replace(*(fitted or self.fit(loaded)))
        self.parts.tracker.thresholds = thresholds_of(loaded)
        self.parts.drift.change_model()

    def _miss(self) -> Outcome | None:
        if self.age_s < self.lost_s or self._clock() - self._told_s < max(1.0, self.parts.config.interval_s):
            return None
        self._told_s = self._clock()
        report = self.parts.camera.health()
        detail = report.error or f"{report.source} has given no picture for {self.age_s:.0f} s"
        return self._keep(self.parts.pipeline.miss(missing_frame(self.name, self._sequence, detail, self._told_s)))

    def _keep(self, outcome: Outcome, fault: str = "") -> Outcome:
        self.business.update(outcome.statuses, outcome.frame.captured_monotonic_s)
        self.outcome, self.fault = outcome, fault
        return outcome


def missing_frame(camera: str, sequence: int, detail: str, monotonic_s: float) -> Unusable:
    """A moment without a picture, as the value that the pipeline knows."""
    frame = Frame(camera, sequence, np.zeros((16, 16, 3), np.uint8), time.time(), monotonic_s)
    return _unread(frame, Reason.NO_CAMERA, detail)


def _unread(frame: Frame, reason: Reason, detail: str) -> Unusable:
    refused = Registration(RegistrationStatus.REFUSED, None, detail="not looked for")
    return Unusable(frame, reason, detail, refused, Light(applied=False), {})
