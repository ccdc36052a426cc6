"""How the device is: one account, told to the broker, to systemd, and to `edge-runtime status` through a file."""

from __future__ import annotations

import os
import re
import time

from edge_runtime import __version__
from edge_runtime.config import DeviceConfig, shown_url
from edge_runtime.daemon.station import Station
from edge_runtime.daemon.status_file import (
    AfarLine,
    BrokerLine,
    CameraLine,
    CandidateLine,
    ModelLine,
    SlotLine,
    StatusRecord,
)
from edge_runtime.records import Outcome
from edge_runtime.telemetry.builders import CameraHealth, Health

_COUNTING = re.compile(r" for \d+ s\b")
"""What would make a reason a new one every second; the age has a field of its own."""


def status_record(
    config: DeviceConfig,
    health: Health,
    started_at: float,
    uptime_s: float,
    broker: BrokerLine,
    view: str,
    cameras: tuple[CameraLine, ...],
    model: ModelLine | None = None,
    candidate: CandidateLine | None = None,
    afar: AfarLine | None = None,
) -> StatusRecord:
    """The whole account of this process, as of now."""
    return StatusRecord(
        format="edge-status/1",
        site=config.site,
        device=config.id,
        pid=os.getpid(),
        version=__version__,
        config=str(config.path),
        state=health.state,
        reasons=health.reasons,
        started_at=started_at,
        written_at=time.time(),
        uptime_s=round(uptime_s, 1),
        model=model,
        candidate=candidate,
        afar=afar,
        broker=broker,
        view=view,
        cameras=cameras,
    )


def camera_health(station: Station) -> CameraHealth:
    """One camera's state in a word, with the reason."""
    report = station.parts.camera.health()
    state, reason = "ok", ""
    if report.status in ("lost", "stalled", "ended"):
        state = "stalled" if report.status == "stalled" else "lost"
        reason = _COUNTING.sub("", report.error) or str(report.status)
    elif station.age_s > station.lost_s:
        state, reason = "lost", "no picture"
    elif station.fault:
        state, reason = "unusable", station.fault
    elif hidden := station.parts.tracker.out_of_sight:
        state, reason = "unusable", hidden
    elif not station.frames:
        state = "starting"
    age_s = station.age_s if station.frames else None
    return CameraHealth(state, reason, station.last_frame_at, age_s, report.reconnects)


def camera_line(station: Station) -> CameraLine:
    """One camera with its slots and figures, for the status file."""
    health, figures, outcome = camera_health(station), station.business.figures(), station.outcome
    return CameraLine(
        station.name,
        shown_url(station.parts.config.source),
        health.state,
        health.reason,
        station.frames,
        station.parts.camera.health().dropped,
        health.last_frame_at,
        None if health.age_s is None else round(health.age_s, 2),
        health.reconnects,
        {stage: round(ms, 2) for stage, ms in outcome.ms.items()} if outcome else {},
        None if figures.availability is None else round(figures.availability, 4),
        round(figures.coverage, 4),
        {slot: round(seconds, 1) for slot, seconds in figures.out_of_stock_s.items()},
        _slot_lines(outcome),
    )


def _slot_lines(outcome: Outcome | None) -> tuple[SlotLine, ...]:
    statuses = outcome.statuses if outcome else ()
    return tuple(SlotLine(s.slot, s.sku, s.state, round(s.confidence, 4), s.since, s.reason) for s in statuses)
