"""What an operator looks at in the devices' messages: only these fields are decoded, whatever else a device says.

So thousands of devices cost little, and a newer device that says more is read as well. `telemetry.messages` are the
messages in full.
"""

from __future__ import annotations

import binascii

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.desired import Desired, decode_desired


class View(msgspec.Struct, frozen=True, gc=False):
    """Part of a message."""

    at: float = 0.0
    session: int = 0


class AvailabilityView(View, frozen=True, gc=False):
    state: str = ""
    reason: str = ""


class InfoView(View, frozen=True):
    version: str = ""
    groups: tuple[str, ...] = ()
    commands: str = "off"


class ModelView(msgspec.Struct, frozen=True, gc=False):
    name: str
    version: str
    sha256: str = ""
    phase: str = ""


class CandidateView(msgspec.Struct, frozen=True, gc=False):
    name: str
    version: str
    phase: str = ""


class CameraView(msgspec.Struct, frozen=True, gc=False):
    state: str = ""
    reason: str = ""
    estimated_accuracy: float | None = None
    unknown_share: float | None = None
    p95_ms: float | None = None


class SpoolView(msgspec.Struct, frozen=True):
    events: int = 0
    dropped: dict[str, int] = {}
    degraded: str = ""


class StatusView(View, frozen=True):
    state: str = ""
    reasons: tuple[str, ...] = ()
    uptime_s: float = 0.0
    model: ModelView | None = None
    candidate: CandidateView | None = None
    cameras: dict[str, CameraView] = {}
    spool: SpoolView | None = None
    rollbacks: int = 0


class ShelfView(View, frozen=True):
    usable: bool = True
    reason: str = ""
    counts: dict[str, int] = {}


class ReportedView(View, frozen=True):
    seq: int = 0
    state: str = "none"
    reason: str = ""
    detail: str = ""
    model: ModelView | None = None


class FiguresView(msgspec.Struct, frozen=True):
    frames: int = 0
    estimated_accuracy: float | None = None
    unknown_share: float | None = None
    ms: dict[str, tuple[float, float]] = {}


class TelemetryView(View, frozen=True):
    model: str = ""
    interval_s: float = 0.0
    cameras: dict[str, FiguresView] = {}


class ResponseView(View, frozen=True):
    id: str = ""
    verb: str = ""
    state: str = ""
    reason: str = ""
    detail: str = ""
    result: dict[str, str | int | float | bool | None] = {}


class EventView(View, frozen=True):
    id: str = ""
    kind: str = ""
    camera: str = ""
    slot: str = ""
    sku: str = ""
    was: str = ""
    now: str = ""
    confidence: float | None = None


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payloadType: str = ""  # noqa: N815 - the name in DSSE


def peek(envelope: bytes) -> bytes:
    """The payload of a DSSE envelope, or of an unsigned message: the bytes themselves. Nothing is verified: for eyes only.

    Raises Refused for neither.
    """
    try:
        found = msgspec.json.decode(envelope, type=_Envelope)
    except msgspec.ValidationError:
        return envelope
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not JSON: {fault}") from None
    try:
        return binascii.a2b_base64(found.payload)
    except (binascii.Error, ValueError) as fault:
        raise Refused(f"the payload of the envelope is not base64: {fault}") from None


def peek_desired(envelope: bytes) -> Desired:
    """The desired state in a message, unverified. Raises Refused if there is none."""
    return decode_desired(peek(envelope))
