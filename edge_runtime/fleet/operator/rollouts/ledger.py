"""What is known of a rollout from one place (the broker, or the journal), and what follows from both."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.errors import Refused
from edge_runtime.fleet.operator.rollouts.records import MAX_RECORD_BYTES, Batch, Head, Record, decode_record, topic_of
from edge_runtime.fleet.operator.signer import Opener
from edge_runtime.lifecycle.trust.envelope import ROLLOUT
from edge_runtime.telemetry.topics import ROOT

FILTER = f"{ROOT}/_rollout/#"
MAX_TOPICS = 100_000
"""A million devices in batches are a fifth of it; what else a broker makes up is not kept."""
MAX_ENVELOPE_BYTES = 2 * MAX_RECORD_BYTES
VERB = "rollout"
"""What a key must be allowed to do."""


@dataclass(slots=True)
class Known:
    """The records of one rollout, with the envelopes they came in."""

    name: str
    head: Head | None = None
    batches: dict[str, Batch] = field(default_factory=dict)
    envelopes: dict[str, bytes] = field(default_factory=dict)
    """By topic; of the records above."""
    damaged: int = 0

    def take(self, envelope: bytes, payload: bytes) -> Record:
        """Raises Refused for what is no record of this rollout."""
        record = decode_record(payload)
        if record.name != self.name:
            raise Refused(f"a record of the rollout {record.name!r} where one of {self.name!r} was expected")
        if isinstance(record, Head):
            if self.head is not None and record.rank <= self.head.rank:
                return record
            self.head = record
        else:
            self.batches[record.id] = record
        self.envelopes[topic_of(record)] = envelope
        return record

    @property
    def missing(self) -> list[str]:
        """Batches that the head names and that are not here."""
        return [name for name in (self.head.batches if self.head else ()) if name not in self.batches]


class Ledger:
    """All rollouts at the broker. What nobody may sign is refused, and remembered as refused."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self.rollouts: dict[str, Known] = {}
        self.refused: dict[str, str] = {}
        """Topic -> why."""
        self.newest: dict[str, bytes] = {}
        """Topic -> what is retained there, believed or not."""

    def take(self, topic: str, envelope: bytes) -> Record | None:
        """A message below FILTER; the record in it, if it is to be believed."""
        name = topic.removeprefix(FILTER[:-1]).partition("/")[0]
        if len(envelope) > MAX_ENVELOPE_BYTES or (topic not in self.newest and len(self.newest) >= MAX_TOPICS):
            return None
        self.newest[topic] = envelope
        self.refused.pop(topic, None)
        if not envelope:
            return None
        try:
            opened = self._opener.open(envelope, ROLLOUT)
            if not opened.may(VERB, name):
                raise Refused(f"{opened.signer} may not roll out")
            if (belongs := topic_of(decode_record(opened.payload))) != topic:
                raise Refused(f"it belongs to {belongs}")
            known = self.rollouts.get(name) or Known(name)
            record = known.take(envelope, opened.payload)  # last: what is not believed must change nothing
        except Refused as fault:
            self.refused[topic] = str(fault)
            return None
        self.rollouts[name] = known
        return record


def merged(local: Known, remote: Known | None, refused: str) -> tuple[Known, list[str]]:
    """What to go on from, and what a person should know. The newer head counts; batches of both places.

    `refused`: why the broker's head is not believed, if it is not. Raises Refused if there is nothing to go on from.
    """
    remarks = []
    if refused:
        remarks.append(f"what the broker retains of this rollout is not believed: {refused}")
    if local.damaged:
        remarks.append(f"{local.damaged} lines of the journal are damaged and passed over")
    found = Known(local.name, batches={**(remote.batches if remote else {}), **local.batches})
    heads = [known for known in (local, remote) if known is not None and known.head is not None]
    if not heads:
        tail = f": {refused}" if refused else ""
        raise Refused(f"there is no rollout {local.name!r} to go on with{tail}", "See fleet rollout status")
    newest = max(heads, key=lambda known: known.head.rank if known.head else (0, "", 0))
    found.head = newest.head
    if newest is local and remote is not None and remote.head is not None and local.head != remote.head:
        remarks.append("what the broker retains is older than the journal of this computer: the journal counts")
    if found.missing:
        raise Refused(
            f"the rollout {local.name!r} has touched devices that nothing tells of: batches {', '.join(found.missing)} are missing",
            "Go on where its journal is; or restore the broker's retained messages",
        )
    return found, remarks
