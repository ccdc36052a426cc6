"""An independent subscriber: what one device's messages look like from outside, counted and scored."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.cli.scoring import Score
from edge_runtime.errors import Refused
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Availability, EventMessage, Shelf, TelemetryMessage, decode
from edge_runtime.telemetry.topics import Topics

NAME = "witness"
EVENTS_SHOWN = 6

TruthOf = Callable[[float], Mapping[str, str] | None]
"""Capture time (wall clock) -> slot -> true state; None if the truth of that time is not known."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What has come in so far."""

    messages: int
    """Without `availability`, which is the link's own and not the uplink's."""
    unreadable: int
    events: int
    """With different ids."""
    shelf: Shelf | None
    """The newest."""
    newest_events: tuple[EventMessage, ...]
    """Newest first."""
    p95_ms: float | None
    """95th percentile of the whole frame path: of each telemetry interval, averaged over the frames."""
    rss_mb: float | None


class Witness:
    """Listens to one device. Messages come in paho's thread; `settle` scores the shelves that wait, in the caller's."""

    def __init__(self, url: str, site: str, device: str, truth: TruthOf) -> None:
        self._base = Topics(site, device).base
        self._truth = truth
        self._link = MqttLink(MqttSettings(url, f"{site}-{device}-{NAME}"), Stamp(Topics(site, NAME), 1))
        self._link.listen((f"{self._base}/#",), self._take)
        self._lock = threading.Lock()
        self._messages = self._unreadable = 0
        self._ids: set[str] = set()
        self._newest: deque[EventMessage] = deque(maxlen=EVENTS_SHOWN)
        self._shelf: Shelf | None = None
        self._unscored: deque[Shelf] = deque()
        self._windows: list[tuple[int, float]] = []
        self._rss_mb: float | None = None
        self.score = Score()

    def start(self) -> None:
        """Connect and subscribe, in the background."""
        self._link.start()

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop()

    @property
    def connected(self) -> bool:
        """True once the subscription stands."""
        return self._link.connected

    def heard(self) -> Heard:
        """A look at everything that came in so far."""
        with self._lock:
            frames = sum(n for n, _ in self._windows)
            p95 = sum(n * ms for n, ms in self._windows) / frames if frames else None
            return Heard(
                self._messages,
                self._unreadable,
                len(self._ids),
                self._shelf,
                tuple(self._newest),
                p95,
                self._rss_mb,
            )

    def settle(self) -> None:
        """Score the shelves that came in since the last call against the truth of their capture."""
        while True:
            with self._lock:
                if not self._unscored:
                    return
                shelf = self._unscored.popleft()
            truth = self._truth(shelf.at)
            if truth is not None:
                self.score.take({line.slot: line.state.value for line in shelf.slots}, truth)

    def _take(self, incoming: Incoming) -> None:
        with self._lock:
            try:
                message = decode(incoming.payload)
            except Refused:
                self._unreadable += 1
                return
            self._messages += not isinstance(message, Availability)
            if isinstance(message, EventMessage):
                if message.id not in self._ids:
                    self._newest.appendleft(message)
                self._ids.add(message.id)
            elif isinstance(message, Shelf):
                self._shelf = message
                self._unscored.append(message)
            elif isinstance(message, TelemetryMessage):
                self._rss_mb = max(self._rss_mb or 0.0, message.rss_mb)
                for camera in message.cameras.values():
                    if "total" in camera.ms:
                        self._windows.append((camera.frames, camera.ms["total"][1]))


def last_words(log_file: Path, lines: int = 3) -> str:
    """The end of a program's log, for a message."""
    try:
        text = log_file.read_text("utf-8", "replace")
    except OSError:
        return "it left no log"
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip()) or "it said nothing"
