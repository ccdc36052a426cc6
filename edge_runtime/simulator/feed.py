"""The camera's own loop: one picture a period, rendered once, shared by all who look, with its truth on record."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from edge_runtime.simulator.day import Day, SlotTruth
from edge_runtime.simulator.render import Rendering
from edge_runtime.simulator.sensor import jpeg

KEPT_S = 600.0
"""How long the truth of past frames is remembered."""
WORST_FPS = 0.05


class Fault(StrEnum):
    """What tests can make the camera do."""

    NONE = "none"
    BLACK = "black"
    """Frames keep coming, all black."""
    FROZEN = "frozen"
    """The same picture again and again, with new times."""
    COVERED = "covered"
    """A hand on the lens."""
    STALL = "stall"
    """Connections stay open and nothing comes."""
    DROP = "drop"
    """Connections are cut and new ones refused."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One published frame."""

    sequence: int
    at: float
    """Wall clock."""
    day_s: float
    """Seconds since the day began."""
    data: bytes
    """JPEG; empty in the record of past shots."""
    truth: dict[str, SlotTruth]
    fault: Fault


class Feed:
    """Renders a day in a thread of its own. Thread-safe; `start` once, `stop` once."""

    def __init__(self, day: Day, fps: float) -> None:
        if not fps >= WORST_FPS:
            raise ValueError(f"fps is {fps}; at least {WORST_FPS} was expected")
        self._day, self._period = day, 1 / fps
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._shots: deque[Shot] = deque()
        self._latest: Shot | None = None
        self._fault = Fault.NONE
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.began_at = 0.0

    def start(self) -> None:
        self.began_at = time.time()
        self._thread.start()

    def stop(self) -> None:
        """Stop rendering, wake everybody who waits, and wait for the thread."""
        self._stopping.set()
        with self._news:
            self._news.notify_all()
        self._thread.join()

    @property
    def stopped(self) -> bool:
        return self._stopping.is_set()

    @property
    def day(self) -> Day:
        return self._day

    @property
    def fault(self) -> Fault:
        return self._fault

    def set_fault(self, fault: Fault) -> None:
        with self._news:
            self._fault = fault
            self._news.notify_all()

    def latest(self) -> Shot | None:
        with self._news:
            return self._latest

    def after(self, sequence: int, timeout_s: float) -> Shot | None:
        """The newest shot, once there is one newer than `sequence`; None after the timeout or a stop."""
        with self._news:
            fresh = self._news.wait_for(lambda: self.stopped or self._newer(sequence), timeout_s)
            return self._latest if fresh and self._newer(sequence) else None

    def since(self, at: float) -> Iterable[Shot]:
        """Shots on record taken later than the wall clock `at`, oldest first, without their pictures."""
        with self._news:
            return tuple(shot for shot in self._shots if shot.at > at)

    def _newer(self, sequence: int) -> bool:
        return self._latest is not None and self._latest.sequence > sequence

    def _run(self) -> None:
        began = due = time.monotonic()
        sequence = 0
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._period, time.monotonic() - self._period)
            if self._fault in (Fault.STALL, Fault.DROP):
                continue
            sequence += 1
            self._publish(self._shot(sequence, time.monotonic() - began))

    def _shot(self, sequence: int, day_s: float) -> Shot:
        at, fault = time.time(), self._fault
        before = self.latest()
        if fault is Fault.FROZEN and before is not None:
            return Shot(sequence, at, day_s, before.data, before.truth, fault)
        now = self._day.moment(day_s)
        frame = self._day.frame_at(day_s)
        quality = self._day.commissioned.sensor.jpeg
        picture = spoiled(frame, fault, sequence)
        return Shot(sequence, at, day_s, jpeg(picture, quality), self._day.truth_of(now, frame.covered), fault)

    def _publish(self, shot: Shot) -> None:
        with self._news:
            self._latest = shot
            self._shots.append(replace(shot, data=b""))
            while self._shots[0].at < shot.at - KEPT_S:
                self._shots.popleft()
            self._news.notify_all()


def spoiled(frame: Rendering, fault: Fault, seed: int) -> np.ndarray:
    """The picture as a black or covered lens shows it; any other fault leaves it alone. uint8 BGR."""
    if fault not in (Fault.BLACK, Fault.COVERED):
        return frame.image
    noise = np.random.default_rng(seed).normal(0, 1.5, frame.image.shape)
    if fault is Fault.BLACK:
        return np.clip(3 + noise, 0, 255).astype(np.uint8)
    through = cv2.blur(frame.image, (301, 301)).astype(np.float32)
    return np.clip(through * (0.10, 0.13, 0.35) + noise + 6, 0, 255).astype(np.uint8)
