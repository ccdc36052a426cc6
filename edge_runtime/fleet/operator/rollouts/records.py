"""What a rollout remembers: a head that is written anew at every change, and batches of touched devices, written once.

The same bytes go into the local journal and, signed and retained, to the broker, so that either is enough to go on.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused, Usage
from edge_runtime.fleet.desired import DesiredModel
from edge_runtime.fleet.operator.rollouts.plan import Plan
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.topics import ROOT, segment_fault

Working = Literal["baseline", "writing", "settling", "soaking", "restoring"]
Phase = Literal["baseline", "writing", "settling", "soaking", "restoring", "halted", "restored", "completed"]
ENDS = ("restored", "completed")
MAX_RECORD_BYTES = 524_288
MAX_NOTE = 500


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a gate said at its last look."""

    gate: str
    outcome: Literal["passed", "failed", "unsure", "silent"]
    limit: float
    harm: float | None = None
    low: float | None = None
    high: float | None = None
    devices: int = 0
    """That had figures before and after, or that were counted."""
    controls: int = 0


class Head(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="format", tag="edge-rollout/1"
):
    """Where the rollout is. (generation, owner) says whose word counts, `revision` orders the words of one owner."""

    name: str
    plan: Plan
    generation: Annotated[int, msgspec.Meta(ge=1)]
    owner: str
    revision: int
    began_at: float
    at: float
    phase: Phase
    ring: int = 0
    since: float = 0.0
    """When this phase began."""
    looks: int = 0
    """At the figures of this ring: each costs some of the confidence."""
    batches: tuple[str, ...] = ()
    """All batches there are, by their ids."""
    halted_in: Working | Literal[""] = ""
    """The phase that a resumed rollout goes back to."""
    note: str = ""
    """Why it halted or how it ended, for people."""
    judged: tuple[Judged, ...] = ()

    @property
    def rank(self) -> tuple[int, str, int]:
        """Of two heads the higher one counts."""
        return self.generation, self.owner, self.revision


class Touched(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A device that gets the model, and all that is needed to take it back and to judge it."""

    device: str
    seq: int
    model: DesiredModel | None = None
    """What was desired of it before, or what it ran."""
    config: dict[str, Scalar] = {}
    figures: dict[str, tuple[float, int]] = {}
    """Before it was touched: figure -> (mean, windows)."""
    online: bool = False
    session: int = 0
    rollbacks: int = 0


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A device that is not touched by this ring, as it was when the ring began."""

    device: str
    figures: dict[str, tuple[float, int]] = {}
    session: int = 0


class Batch(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="format",
    tag="edge-rollout-batch/1",
):
    """Devices that are written next; on the disk and at the broker before the first of them is."""

    name: str
    id: str
    ring: int
    at: float
    touched: tuple[Touched, ...]
    controls: tuple[Control, ...] = ()
    """Only in the first batch of a ring."""


Record = Head | Batch


def check_name(name: str) -> str:
    """Raises Usage for a name that no topic or file can hold."""
    fault = segment_fault(name)
    if fault or not all(sign.isascii() and (sign.isalnum() or sign in "._-") for sign in name) or name[0] == ".":
        raise Usage(f"a rollout can not be named {name!r}", "Use up to 64 letters, digits and . _ -")
    return name


def topic_of(record: Record) -> str:
    base = f"{ROOT}/_rollout/{record.name}"
    return base if isinstance(record, Head) else f"{base}/batch/{record.id}"


def encode_record(record: Record) -> bytes:
    """Raises Refused for one that would be too large for a broker."""
    raw = msgspec.json.encode(record)
    if len(raw) > MAX_RECORD_BYTES:
        raise Refused(f"a record of a rollout has {len(raw)} bytes, at most {MAX_RECORD_BYTES} are written")
    return raw


def decode_record(raw: bytes) -> Record:
    """Raises Refused for anything that `encode_record` would not write."""
    try:
        record: Record = msgspec.json.decode(raw, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"not a record of a rollout: {fault}", "It may be of a newer edge-runtime") from None
    if isinstance(record, Head) and not 0 <= record.ring < len(record.plan.rings):
        raise Refused(f"not a record of a rollout: its plan has no ring {record.ring}")
    return record
