"""`<state>/status.json`: how the device is, told to `edge-runtime status`.

It is replaced whole (written beside, renamed) but not synced: after a power cut an older one, or none, is as good.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.records import SlotStatus, State
from edge_runtime.telemetry.messages import Scalar

STATUS_FILE = "status.json"
MAX_STATUS_BYTES = 4_000_000


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
    address: str = ""
    protocol: str = ""
    receipts: str = ""
    """What proves that an event was delivered: `echo`, `collector` or `broker`."""
    unconfirmed: int = 0
    """Records that the broker has acknowledged and nothing has proven yet."""
    certificate_days: float | None = None
    """Until the device's own certificate ends."""
    restarts: int = 0
    """How often the uplink's thread ended and was started again."""


class DesiredLine(Line, frozen=True):
    """How far the device is with what its operator wishes."""

    seq: int
    state: str
    """`none`, `converging`, `converged`, `failed` or `refused`."""
    reason: str = ""
    detail: str = ""


class AfarLine(Line, frozen=True):
    """What may be done from afar, and what was."""

    commands: str
    """`off`, `signed` or `unsigned`."""
    snapshots: str
    """What of a picture may leave the device."""
    settings: dict[str, Scalar] = {}
    """In force over device.toml."""
    on_trial: str = ""
    """Who wants the settings that have not proved themselves yet."""
    desired: DesiredLine | None = None


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
    afar: AfarLine | None = None
    """None on a device without a broker."""


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
