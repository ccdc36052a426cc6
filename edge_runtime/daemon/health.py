"""How the device is: one account, told to the broker, to systemd, and to `edge-runtime status` through a file.

`<state>/status.json` is replaced whole (written beside, renamed) but not synced: after a power cut an older one, or
none, is as good.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime import __version__
from edge_runtime.config import DeviceConfig, shown_url
from edge_runtime.daemon.station import Station
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.records import Outcome, SlotStatus, State
from edge_runtime.telemetry.builders import CameraHealth, Health

STATUS_FILE = "status.json"
MAX_STATUS_BYTES = 4_000_000
_COUNTING = re.compile(r" for \d+ s\b")
"""What would make a reason a new one every second; the age has a field of its own."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value inside the status file."""


class ModelLine(Line, frozen=True):
    """The model that runs."""

    name: str
    version: str
    sha256: str
    phase: str = "committed"
    """`committed`, or `trial`."""
    variant: str = ""
    """Which file of the bundle: what was measured to be best on this device."""
    origin: str = ""
    """`repository`, `factory` or `unsigned`."""
    release: int = 0
    """Of the repository; 0 if it came from none."""
    floor: int = 0
    """The least release of this model that may still be installed."""


class CandidateLine(Line, frozen=True):
    """The model that is on its way in."""

    name: str
    version: str
    sha256: str
    phase: str
    """`shadow` or `trial`."""
    reason: str = ""
    """Who wanted it, or why it came so far."""
    said: str = ""
    """What it is doing, or waits for."""
    left_s: float = 0.0
    """Of this phase, at least."""
    frames: int = 0
    """Judged in the trial, or compared in the shadow run."""
    slots: int = 0
    """Answered by it and by the current model."""
    agreement: float | None = None
    """Share of those on which the two agree."""
    evidence: dict[str, float | str] = {}
    """Of the guard, in the trial."""
    ask: tuple[str, ...] = ()
    """`camera/slot` on which the two models differ now: a person's `feedback` there says most."""


class SlotLine(Line, frozen=True):
    slot: str
    sku: str
    state: State
    confidence: float
    since: float
    reason: str


class CameraLine(Line, frozen=True):
    """One camera, as the daemon sees it."""

    name: str
    source: str
    """Without credentials."""
    state: str
    """`starting`, `ok`, `unusable`, `stalled`, `lost`, or `broken` (its layout or reference can not be used)."""
    reason: str = ""
    frames: int = 0
    dropped: int = 0
    """Pictures that a newer one replaced before they were read."""
    last_frame_at: float | None = None
    age_s: float | None = None
    reconnects: int = 0
    ms: dict[str, float] = {}
    """Of the newest frame, by stage."""
    availability: float | None = None
    """On-shelf availability since the start, 0..1 over the answered time."""
    coverage: float = 0.0
    out_of_stock_s: dict[str, float] = {}
    slots: tuple[SlotLine, ...] = ()


class SpoolLine(Line, frozen=True):
    events: int
    telemetry: int
    bytes: int
    dropped: dict[str, int]
    degraded: str


class BrokerLine(Line, frozen=True):
    """The link to the broker, and what went over it."""

    state: str
    """`off`, or the link's own: `connecting`, `online`, `waiting` ..."""
    problem: str = ""
    acknowledged: int = 0
    spool: SpoolLine | None = None
    events: int = 0
    """Told since the start."""
    sent: int = 0
    """Messages given to the broker, repeats included."""


class StatusRecord(Line, frozen=True):
    """What `edge-runtime status` shows."""

    format: Literal["edge-status/1"]
    site: str
    device: str
    pid: int
    version: str
    config: str
    state: str
    """`starting`, `ok`, `degraded`, `stopping`, `stopped`."""
    reasons: tuple[str, ...]
    started_at: float
    written_at: float
    uptime_s: float
    model: ModelLine | None
    broker: BrokerLine
    view: str
    """Address of the local page; empty without one."""
    cameras: tuple[CameraLine, ...]
    candidate: CandidateLine | None = None


def write_status(state_dir: Path, record: StatusRecord) -> None:
    """Replace the status file. Raises OSError; the old one then stays."""
    state_dir.mkdir(parents=True, exist_ok=True)
    beside = state_dir / f"{STATUS_FILE}.new"
    beside.write_bytes(msgspec.json.encode(record) + b"\n")
    beside.replace(state_dir / STATUS_FILE)


def read_status(state_dir: Path) -> StatusRecord:
    """Raises Unavailable if no daemon has written one there, Refused if it is not one of this version's."""
    path = state_dir / STATUS_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_STATUS_BYTES)
    except OSError as fault:
        raise Unavailable(
            f"no status in {state_dir}: {fault.strerror}", "Is the daemon running with this state_dir?"
        ) from None
    try:
        return msgspec.json.decode(raw, type=StatusRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(
            f"{path} is not an edge-status/1 file: {fault}", "Restart the daemon; it writes a new one"
        ) from None


def remembered_slots(state_dir: Path, camera: str) -> tuple[SlotStatus, ...]:
    """What the last run knew of a camera's slots; nothing if there is no usable file."""
    try:
        record = read_status(state_dir)
    except (Unavailable, Refused):
        return ()
    return tuple(
        SlotStatus(line.slot, line.sku, line.state, line.confidence, line.since, line.reason)
        for one in record.cameras
        if one.name == camera
        for line in one.slots
    )


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
