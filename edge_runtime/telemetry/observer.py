"""Telemetry: reads outcomes and health, and hands the uplink what is worth saying."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge_runtime.records import Event, Layout, ModelId, Outcome, Unusable
from edge_runtime.telemetry import builders
from edge_runtime.telemetry import messages as m
from edge_runtime.telemetry.builders import Health, Stamp, model_name, spool_status
from edge_runtime.telemetry.figures import CameraWindow
from edge_runtime.telemetry.spool import Entry, Grade, SpoolCounts
from edge_runtime.telemetry.uplink import UplinkCounts

USUAL_Z = 1.0
"""A signal nearer to its baseline than this, in standard deviations, has nothing to tell and costs no byte."""
BACKLOG_S = 30.0
"""What is on its way for longer than this waits."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """How often what is said."""

    interval_s: float = 120.0
    """Between two messages of figures; a message has about 1 kB a camera."""
    heartbeat_s: float = 900.0
    """Retained state that did not change is said again after this long ..."""
    shelf_heartbeats: int = 4
    """... but a shelf, which is the largest, only every so many of them: the status tells that its camera is alive."""
    settle_s: float = 5.0
    """A camera's shelf is said at most this often, however fast its slots change."""


class DriftFigures(Protocol):
    """What `drift` reports of one camera."""

    @property
    def state(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def moved(self) -> Mapping[str, str]: ...
    @property
    def z(self) -> Mapping[str, float]: ...


class Outlet(Protocol):
    """What telemetry needs of the uplink."""

    def offer(self, entry: Entry) -> None: ...
    def retain(self, topic: str, payload: bytes, first: bool = False) -> None: ...
    def counts(self) -> UplinkCounts: ...


def resident_mb() -> float:
    """Memory of this process in MB (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(slots=True)
class _Said:
    """When something was last said, and what it came down to."""

    gist: object = None
    at_s: float = float("-inf")


class Telemetry:
    """A `pipeline.Observer`. Single-threaded: the inference loop calls it. Does no I/O but reading /proc once an interval.

    `cameras` names every camera whose outcomes will come: names that no topic can hold raise BadConfig here, not later.
    """

    def __init__(
        self,
        stamp: Stamp,
        outlet: Outlet,
        cameras: tuple[str, ...],
        settings: TelemetrySettings | None = None,
        drift: Callable[[], Mapping[str, DriftFigures]] = dict,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        rss_mb: Callable[[], float] = resident_mb,
        numbers: Iterator[int] | None = None,
        labels: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`numbers`: those of the messages that follow, where one session has several of these; `labels`: what people
        said of events."""
        self._stamp = stamp
        self._outlet = outlet
        self._settings = settings or TelemetrySettings()
        self._interval_s = self._settings.interval_s
        self._drift, self._labels = drift, labels
        self._wall, self._monotonic, self._rss_mb = wall, monotonic, rss_mb
        self._shelf_topics = {camera: stamp.topics.shelf(camera) for camera in cameras}
        self._windows = {camera: CameraWindow() for camera in cameras}
        self._shelf_said = {camera: _Said() for camera in cameras}
        self._status_said = _Said()
        self._health = Health("starting")
        self._model: ModelId | None = None
        self._figures: dict[str, m.CameraFigures] = {}
        """Of the newest interval that is over, by camera, if the model that runs is the one that made them."""
        self._began_s = self._emitted_s = monotonic()
        self._cpu_s = time.process_time()
        self._waits_since_s: float | None = None
        self._numbers = numbers or itertools.count(1)

    def observe(self, outcome: Outcome) -> None:
        """Send its events, its shelf if that changed, and count it."""
        camera = outcome.frame.camera
        if outcome.scores is not None and outcome.scores.model != self._model:
            self._change_model(outcome.scores.model)
        self._windows[camera].observe(outcome)
        for event in outcome.events:
            self._send_event(event, next((s.sku for s in outcome.statuses if s.slot == event.slot), ""))
        self._say_shelf(camera, outcome)
        self.tick()

    def report_event(self, event: Event) -> None:
        """Send an event durably. Its `kind` must be fit for a topic."""
        self._send_event(event, "")

    def _send_event(self, event: Event, sku: str) -> None:
        payload = builders.bounded_event(builders.event(self._stamp, self._next(), event, self._model, sku))
        self._outlet.offer(Entry(event.id, Grade.EVENT, self._stamp.topics.event(event.kind), payload))

    def report_health(self, health: Health) -> None:
        """Say the status if it changed or a heartbeat is due; call it about once a second, frames or not."""
        self._health = health
        if health.model is None and self._model is not None:
            self._change_model(None)
        models = replace(
            health.models, agreement=None
        )  # it changes with every frame, and is said with what else changes
        cameras = {n: (c.state, c.reason) for n, c in health.cameras.items()}
        spool = self._outlet.counts().spool
        gist = (health.state, health.reasons, health.model, models, cameras, self._backlog(spool))
        if self._due(self._status_said, gist, 0.0, self._settings.heartbeat_s):
            uptime_s = self._monotonic() - self._began_s
            message = builders.status(self._stamp, self._wall(), self._next(), health, uptime_s, spool, self._figures)
            self._outlet.retain(self._stamp.topics.status, m.encode(message), first=True)
        self.tick()

    def _backlog(self, spool: SpoolCounts) -> bool:
        """Whether messages have waited for long. The status is said when that begins and when it ends: it would tell of a
        backlog long after that has gone."""
        now_s = self._monotonic()
        if not spool.events + spool.telemetry:
            self._waits_since_s = None
        elif self._waits_since_s is None:
            self._waits_since_s = now_s
        return self._waits_since_s is not None and now_s - self._waits_since_s >= BACKLOG_S

    def report_info(self, layouts: Mapping[str, Layout], intervals_s: Mapping[str, float], commands: str) -> None:
        """Say what does not change; call it at start, and after a reload."""
        now = self._wall()
        started_at = now - (self._monotonic() - self._began_s)
        message = builders.info(self._stamp, now, layouts, intervals_s, started_at, commands)
        self._outlet.retain(self._stamp.topics.info, m.encode(message))

    def repeat_status(self) -> None:
        """The next `report_health` says the status, changed or not."""
        self._status_said = _Said()

    def hasten(self, interval_s: float | None) -> None:
        """Send figures so often, until told otherwise; None: as configured."""
        self._interval_s = interval_s if interval_s is not None else self._settings.interval_s

    def tick(self) -> None:
        """Send the figures if the interval is over."""
        now_s = self._monotonic()
        if now_s - self._emitted_s < self._interval_s:
            return
        self._send_figures(now_s)

    def _change_model(self, model: ModelId | None) -> None:
        """Figures are of one model: the interval ends here."""
        if self._model is not None and not all(window.empty for window in self._windows.values()):
            self._send_figures(self._monotonic())
        self._model = model
        self._figures = {}

    def _send_figures(self, now_s: float) -> None:
        elapsed_s, self._emitted_s = now_s - self._emitted_s, now_s
        message = self._take_figures(elapsed_s)
        self._figures = message.cameras
        self._outlet.offer(Entry(message.id, Grade.TELEMETRY, self._stamp.topics.telemetry, m.encode(message)))

    def _take_figures(self, elapsed_s: float) -> m.TelemetryMessage:
        cpu_s, self._cpu_s = self._cpu_s, time.process_time()
        seq = self._next()
        return m.TelemetryMessage(
            **self._stamp.head(self._wall()),
            seq=seq,
            id=f"{self._stamp.topics.device}-{self._stamp.session}-{seq}",
            interval_s=round(elapsed_s, 1),
            rss_mb=round(self._rss_mb(), 1),
            cpu_s=round(self._cpu_s - cpu_s, 2),
            model=model_name(self._model),
            cameras={name: window.take(self._health.cameras.get(name)) for name, window in self._windows.items()},
            drift={
                name: m.DriftLine(
                    str(line.state),
                    str(line.cause),
                    {key: str(way) for key, way in line.moved.items()},
                    {key: round(z, 1) for key, z in line.z.items() if math.isfinite(z) and abs(z) >= USUAL_Z},
                )
                for name, line in self._drift().items()
            },
            spool=spool_status(self._outlet.counts().spool),
            feedback=dict(self._labels()),
        )

    def _say_shelf(self, camera: str, outcome: Outcome) -> None:
        unusable = outcome.view.reason if isinstance(outcome.view, Unusable) else ""
        model = outcome.scores.model if outcome.scores else None
        gist = (unusable, tuple((s.slot, s.state) for s in outcome.statuses), model if not unusable else None)
        heartbeat_s = self._settings.heartbeat_s
        settle_s = min(self._settings.settle_s, heartbeat_s)
        if self._due(self._shelf_said[camera], gist, settle_s, heartbeat_s * self._settings.shelf_heartbeats):
            payload = m.encode(builders.shelf(self._stamp, self._next(), outcome))
            self._outlet.retain(self._shelf_topics[camera], payload)

    def _due(self, said: _Said, gist: object, settle_s: float, heartbeat_s: float) -> bool:
        """Whether to say it now: changed and settled, or a heartbeat is due. Notes that it was said."""
        now_s = self._monotonic()
        since_s = now_s - said.at_s
        if since_s < (settle_s if gist != said.gist else heartbeat_s):
            return False
        said.gist, said.at_s = gist, now_s
        return True

    def _next(self) -> int:
        return next(self._numbers)
