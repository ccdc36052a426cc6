"""What a device says over MQTT: frozen records, JSON in UTF-8, described for readers in docs/asyncapi.yaml.

Every message names its schema (`edge/<kind>/<version>`), its device, the session (one start of the daemon) and a time,
twice: `at` for programs, `time` for people. `seq` counts up within a session: it orders messages where clocks can not.
A field that holds its default is left out. Numbers are finite; what could not be measured is left out.

Within a version, fields may be added and open words (reasons, kinds, details) may get new values; nothing is taken away,
renamed or given another meaning, and a closed word (a Literal here, an enum) gets no new value. So a reader of version 1
reads every later device of version 1: `decode` passes over fields that it does not know. What breaks that is version 2.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.records import State

Scalar = str | int | float | bool | None
MAX_TEXT = 240
"""Characters of free text (details, reasons) in any message."""
MAX_EVENT_BYTES = 4_096
MAX_STATE_BYTES = 524_288
MAX_TELEMETRY_BYTES = 262_144
MAX_DIAGNOSTICS_BYTES = 65_536
MAX_SNAPSHOT_BYTES = 524_288
"""Of the encoded message: the picture in base64 is a third larger than the file."""
MAX_ACK_IDS = 256
MAX_ACK_BYTES = 16_384


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value inside a message. Unknown fields are not refused: a newer device may say more (`unknown_fields` finds them)."""


class Head(Part, frozen=True, tag_field="schema", kw_only=True):
    """What all messages carry."""

    site: str
    device: str
    session: int
    """Counts the starts of the daemon, or the time of this start: larger is later."""
    at: float
    """Seconds since 1970 by the device's clock, which may be wrong."""
    time: str = ""
    """The same for people: `2026-11-23T16:07:28Z`."""


class ModelRef(Part, frozen=True):
    """A model that runs."""

    name: str
    version: str
    sha256: str
    phase: str = ""
    """`committed` or `trial`."""
    variant: str = ""
    """Which file of the bundle runs."""


class CandidateRef(Part, frozen=True):
    """A model on its way in."""

    name: str
    version: str
    phase: str
    """`shadow` or `trial`."""
    agreement: float | None = None
    """With the other model, over the slots that both answered."""


class Availability(Head, frozen=True, tag="edge/availability/1", kw_only=True):
    """Retained; `offline` is also the last will. Of a will, `at` is the time of the connection it belongs to."""

    state: Literal["online", "offline"]
    reason: Literal["connected", "stopped", "lost"]
    connection: int
    """Counts the connections of this session."""


class CameraInfo(Part, frozen=True):
    slots: int
    width: int
    height: int
    interval_s: float


class Info(Head, frozen=True, tag="edge/info/1", kw_only=True):
    """Retained: what does not change while the daemon runs."""

    version: str
    started_at: float
    machine: str = ""
    python: str = ""
    cameras: dict[str, CameraInfo] = {}
    commands: str = "off"
    """Whether the device obeys, and whom: `off`, `signed` or `unsigned`."""
    groups: tuple[str, ...] = ()
    """Whose commands it obeys besides its own and its site's."""


class CameraStatus(Part, frozen=True):
    """One camera now, and how good its answers were lately."""

    state: str
    """`ok`, `unusable`, `stalled`, `lost` or `starting`."""
    reason: str = ""
    last_frame_at: float | None = None
    estimated_accuracy: float | None = None
    """Share of right answers, estimated without labels: the mean calibrated confidence of the answers. These three are of
    the newest telemetry interval that is over, and of the model that runs; left out while there is none."""
    unknown_share: float | None = None
    """Of the slots in its frames: those without an answer that nothing stood in front of, frames that could not be used
    included."""
    p95_ms: float | None = None
    """95th percentile of the whole frame path."""


class Rollback(Part, frozen=True):
    """The newest model that was taken back."""

    name: str
    version: str
    sha256: str
    at: float
    reason: str = ""


class SpoolStatus(Part, frozen=True):
    """What waits on the device. Both counts are always there: that nothing waits must be readable."""

    events: int
    """Whose receipt has not come."""
    telemetry: int
    bytes: int = 0
    dropped: dict[str, int] = {}
    """Since the spool was made, by reason."""
    degraded: str = ""
    """Why the spool is not on the disk; empty if it is."""


class Status(Head, frozen=True, tag="edge/status/1", kw_only=True):
    """Retained: how the device is now."""

    seq: int
    state: str
    """`starting`, `ok`, `degraded`, `stopping`."""
    reasons: tuple[str, ...] = ()
    uptime_s: float = 0.0
    model: ModelRef | None = None
    candidate: CandidateRef | None = None
    cameras: dict[str, CameraStatus] = {}
    spool: SpoolStatus | None = None
    rollbacks: int = 0
    """Models that this device has taken back, of its last 64 steps with models."""
    last_rollback: Rollback | None = None


class SlotLine(Part, frozen=True):
    """One slot now."""

    slot: str
    sku: str
    state: State
    confidence: float
    since: float
    reason: str = ""


class Shelf(Head, frozen=True, tag="edge/shelf/1", kw_only=True):
    """Retained, one a camera: every slot of the layout as it is now."""

    seq: int
    camera: str
    usable: bool
    reason: str = ""
    """Why the newest frame can not be used."""
    model: str = ""
    """`name-version`; empty in safe mode."""
    counts: dict[str, int] = {}
    """Slots by state."""
    not_stocked: dict[State, tuple[str, ...]] = {}
    """Slots by state but for the stocked ones: what a person looks for."""
    slots: tuple[SlotLine, ...] = ()


class EventMessage(Head, frozen=True, tag="edge/event/1", kw_only=True):
    """Durable. `id` is stable: a message sent twice has the same one."""

    seq: int
    id: str
    kind: str
    camera: str = ""
    slot: str = ""
    sku: str = ""
    """What belongs into the slot, by the layout."""
    was: str = ""
    now: str = ""
    confidence: float | None = None
    model: str = ""
    detail: dict[str, str | float] = {}


class CameraFigures(Part, frozen=True):
    """One camera over the interval."""

    frames: int
    usable: int
    unusable: dict[str, int] = {}
    """Frames by reason."""
    ms: dict[str, tuple[float, float]] = {}
    """Stage -> (mean, 95th percentile) in milliseconds."""
    states: dict[str, int] = {}
    """Slots by state at the end of the interval."""
    estimated_accuracy: float | None = None
    """Share of right answers, estimated without labels: the mean calibrated confidence over the answers of all frames."""
    unknown_share: float | None = None
    """Of the slots in all frames: those without an answer that nothing stood in front of; a frame that could not be used
    answers none."""
    registration: dict[str, int] = {}
    """Frames by status, and `moved`."""
    residual_px: float | None = None
    inliers: int | None = None
    remarks: dict[str, int] = {}
    """Usable frames by what is to be said about the view all the same."""
    packs_px: float | None = None
    """Median shift of the packs against the rail's plane that was made up for, in reference pixels; left out if 0."""
    light: dict[str, int] = {}
    """Usable frames by what the gate of the light match decided."""
    gain: float | None = None
    """Mean over channels and frames."""
    light_residual: tuple[float, float] | None = None
    """Mean before and after the correction."""
    sharpness: float | None = None
    noise: float | None = None
    reconnects: int | None = None
    age_s: float | None = None
    """Since the newest frame."""


class DriftLine(Part, frozen=True):
    """One camera against its own past."""

    state: str
    cause: str = ""
    moved: dict[str, str] = {}
    """The signals that moved lately, and which way: `up` or `down`."""
    z: dict[str, float] = {}
    """The signals' newest scores against their baseline, in standard deviations; those within one are left out."""


class TelemetryMessage(Head, frozen=True, tag="edge/telemetry/1", kw_only=True):
    """Figures over the last interval; may be dropped when the network is away for long.

    An interval ends early when the model changes: the figures are of one model.
    """

    seq: int
    id: str
    interval_s: float
    rss_mb: float
    cpu_s: float
    """CPU seconds of the process in the interval."""
    model: str = ""
    cameras: dict[str, CameraFigures] = {}
    drift: dict[str, DriftLine] = {}
    spool: SpoolStatus | None = None
    feedback: dict[str, int] = {}
    """Events that people have said to be `right` or `wrong` since the start."""


class Snapshot(Head, frozen=True, tag="edge/snapshot/1", kw_only=True):
    """One picture, asked for by a command."""

    id: str
    camera: str
    content_type: Literal["image/jpeg"]
    width: int
    height: int
    data: bytes
    """Base64 in JSON."""


class Diagnostics(Head, frozen=True, tag="edge/diagnostics/1", kw_only=True):
    """Asked for by a command: more than fits a receipt, for whoever looks for what is wrong."""

    id: str
    """Of the command that asked."""
    sections: dict[str, dict[str, Scalar]]
    """`versions`, `disk`, `memory`, `link`, `camera <name>` ...: what was found there."""
    warnings: tuple[str, ...] = ()
    """The last lines of the log that warn, newest last; secrets are masked."""


class Response(Head, frozen=True, tag="edge/resp/1", kw_only=True):
    """A receipt: what became of the command `id`."""

    id: str
    verb: str
    state: Literal["accepted", "running", "succeeded", "failed", "refused"]
    reason: str = ""
    """One word that programs read: `expired`, `replayed`, `unknown_verb` ..."""
    detail: str = ""
    result: dict[str, Scalar] = {}


class Reported(Head, frozen=True, tag="edge/reported/1", kw_only=True):
    """Retained: what became of the desired state."""

    seq: int = 0
    """Of the desired state that it speaks of; 0 if the device has none."""
    state: Literal["none", "converging", "converged", "failed", "refused"]
    reason: str = ""
    """One word that programs read."""
    detail: str = ""
    model: ModelRef | None = None
    """What runs now; left out in safe mode."""
    config: dict[str, Scalar] = {}
    """The settings that differ from device.toml because somebody asked for it."""


class Ack(Part, frozen=True, tag_field="schema", tag="edge/ack/1", kw_only=True):
    """From a collector to a device: it has stored these messages for good."""

    ids: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=160)], ...], msgspec.Meta(max_length=MAX_ACK_IDS)]
    collector: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Who has them."""
    at: float = 0.0


Said = (
    Availability
    | Info
    | Status
    | Shelf
    | EventMessage
    | TelemetryMessage
    | Snapshot
    | Response
    | Reported
    | Diagnostics
)
"""What a device says."""
Message = Said | Ack

_LIMITS: dict[type[Part], int] = {
    EventMessage: MAX_EVENT_BYTES,
    TelemetryMessage: MAX_TELEMETRY_BYTES,
    Snapshot: MAX_SNAPSHOT_BYTES,
    Diagnostics: MAX_DIAGNOSTICS_BYTES,
    Ack: MAX_ACK_BYTES,
}


def encode(message: Message) -> bytes:
    """JSON bytes. Raises Refused if the message is larger than its kind may be."""
    raw = msgspec.json.encode(message)
    limit = _LIMITS.get(type(message), MAX_STATE_BYTES)
    if len(raw) > limit:
        kind = message.__struct_config__.tag
        raise Refused(f"a message of {kind} has {len(raw)} bytes, at most {limit} are sent", "Send less in it")
    return raw


def decode(raw: bytes) -> Message:
    """The message in `raw`, by its `schema`; fields that this version does not know are passed over.

    Raises Refused if it is no message of edge/v1.
    """
    try:
        message: Message = msgspec.json.decode(raw, type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not a message of edge/v1: {fault}") from None
    return message
