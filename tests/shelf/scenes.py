"""A shelf for tests: what a model would have said about each slot, as real values of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_runtime.manifest import Thresholds
from edge_runtime.records import (
    Event,
    Frame,
    Layout,
    Light,
    ModelId,
    Reason,
    Registration,
    RegistrationStatus,
    Scores,
    Slot,
    SlotQuality,
    State,
    Unusable,
    View,
)
from edge_runtime.shelf.states import ShelfTracker, TrackerSettings

THRESHOLDS = Thresholds(answer=0.6, blocked=0.5)
MODEL = ModelId("test", "1.0.0", "0" * 64)
ANSWER_ROWS = {
    State.STOCKED: (0.96, 0.03, 0.01),
    State.LOW: (0.03, 0.95, 0.02),
    State.EMPTY: (0.01, 0.03, 0.96),
    State.UNKNOWN: (0.40, 0.35, 0.25),
    State.BLOCKED: (0.40, 0.30, 0.30),
}
Look = State | Reason | tuple[float, float, float]
"""One slot in one frame: a clear answer, a whole-frame reason, or the probabilities themselves."""


def layout_of(count: int = 1) -> Layout:
    slots = tuple(
        Slot(f"s{n}", f"sku{n}", ((n * 20.0, 0.0), (n * 20.0 + 18, 0.0), (n * 20.0 + 18, 40.0), (n * 20.0, 40.0)))
        for n in range(count)
    )
    return Layout(Path("layout.json"), Path("reference.jpg"), (640, 480), slots)


def frame_of(number: int, interval_s: float = 5.0, camera: str = "cam") -> Frame:
    at = number * interval_s
    return Frame(camera, number, np.zeros((4, 4, 3), np.uint8), 1_700_000_000.0 + at, at)


def unusable(frame: Frame, reason: Reason) -> Unusable:
    refused = Registration(RegistrationStatus.REFUSED, None)
    return Unusable(frame, reason, "", refused, Light(False), {})


def view_of(
    frame: Frame,
    count: int,
    inside: Sequence[float] | None = None,
    saturated: Sequence[float] | None = None,
    density: Sequence[float] | None = None,
) -> View:
    quality = SlotQuality(
        np.asarray(inside or [1.0] * count, np.float32),
        np.asarray(saturated or [0.0] * count, np.float32),
        np.asarray(density or [1.0] * count, np.float32),
    )
    registration = Registration(RegistrationStatus.OK, np.eye(3), 100, 0.5)
    crops = np.zeros((count, 8, 8, 3), np.uint8)
    return View(frame, registration, Light(False), crops, quality, 1.0, 1.0, {})


def scores_of(looks: Sequence[State | tuple[float, float, float]]) -> Scores:
    rows = [ANSWER_ROWS[look] if isinstance(look, State) else look for look in looks]
    blocked = [0.97 if look is State.BLOCKED else 0.02 for look in looks]
    return Scores(MODEL, np.asarray(rows, np.float32), np.asarray(blocked, np.float32), {})


class Scene:
    """Plays looks into a tracker of one or more slots, and keeps what came out."""

    def __init__(self, count: int = 1, interval_s: float = 5.0, settings: TrackerSettings | None = None) -> None:
        self.layout = layout_of(count)
        self.tracker = ShelfTracker("cam", self.layout, THRESHOLDS, settings)
        self.events: list[Event] = []
        self._interval_s = interval_s
        self._count = count
        self._number = 0

    def show(self, *looks: Look | Sequence[Look]) -> list[State]:
        """One look (or one a slot) a frame; the first slot's published state after each."""
        published = []
        for look in looks:
            frame = frame_of(self._number, self._interval_s)
            self._number += 1
            if isinstance(look, Reason):
                _, statuses, events = self.tracker.observe(unusable(frame, look), None)
            else:
                row = list(look) if isinstance(look, list) else [look] * self._count
                _, statuses, events = self.tracker.observe(view_of(frame, self._count), scores_of(row))
            self.statuses = statuses
            self.events += events
            published.append(statuses[0].state)
        return published

    def changes(self, kind: str = "slot") -> list[tuple[str, str, str]]:
        return [(event.slot, event.was, event.now) for event in self.events if event.kind == kind]
