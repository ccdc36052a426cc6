"""Application receipts: a durable record counts as delivered when its proof came, not when the broker said so.

Brokers acknowledge what their access list drops (MQTT 3.1.1 leaves them no other way), so that an acknowledgement proves
nothing. The proof is that the record comes back over the device's own subscription (echo), or that a collector names its
id (collector). Where the broker acknowledges and no proof comes, the record has failed and stays in the spool (the uplink
then tries that topic ever more rarely), and `problems` says so. Rule-keeper: no thread, no network. It is not the check
of retained state and figures (`samples`).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.carried import Carried
from edge_runtime.fleet.settings import Proof
from edge_runtime.telemetry.messages import MAX_ACK_BYTES, Ack, decode
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics

PROOF_S = 10.0
"""Without any proof for this long after the broker's acknowledgement, a record counts as not delivered."""
COLLECTOR_S = 25.0
"""The same for a collector, which may store in batches."""
SAID_AFTER = 2
"""Proofs that did not come in a row before it is a problem: one may be a broker that was overloaded."""
MAX_RECORDS = 4_096
MAX_LACKING = 64


@dataclass(slots=True)
class _Record:
    """What is known of a record that was sent, in this connection or an earlier one."""

    number: int = 0
    """In the order in which they were sent."""
    acked: bool = False
    proven: bool = False


@dataclass(slots=True)
class _Lack:
    """A topic whose records are acknowledged and not proven, or denied."""

    missing: int = 0
    counted_s: float = float("-inf")
    denied: bool = False


class Proven:
    """The receipt of a durable record: PENDING until the proof is there."""

    def __init__(self, book: ReceiptBook, key: bytes, topic: str, carried: Carried) -> None:
        self._book, self._key, self._carried = book, key, carried
        self.topic = topic
        self._acked_s: float | None = None
        self._end: Delivery | None = None

    def delivery(self) -> Delivery:
        if self._end is None:
            found = self._judge()
            self._end = None if found is Delivery.PENDING else found
            return found
        return self._end

    def _judge(self) -> Delivery:
        at_broker = self._carried.delivery()
        if at_broker is Delivery.ACKNOWLEDGED and self._acked_s is None:
            self._acked_s = self._book.acked(self._key)
        if self._book.take_proof(self._key, self.topic):
            return Delivery.ACKNOWLEDGED
        if at_broker in (Delivery.REFUSED, Delivery.FAILED):
            return self._book.failed(self.topic, self._carried)
        if self._acked_s is None or not self._book.overdue(self._key, self._acked_s):
            return Delivery.PENDING
        self._book.missed(self.topic, self._acked_s)
        return Delivery.FAILED


class ReceiptBook:
    """The receipts of one device's durable records. Every method may be called from any thread and returns at once."""

    def __init__(self, topics: Topics, proof: Proof, clock: Callable[[], float]) -> None:
        """`clock` in seconds, never set back."""
        self._topics, self._proof = topics, proof
        self._clock = clock
        self._events = f"{topics.base}/event/"
        self._patience_s = COLLECTOR_S if proof is Proof.COLLECTOR else PROOF_S
        self._lock = threading.Lock()
        self._records: OrderedDict[bytes, _Record] = OrderedDict()
        self._lacking: dict[str, _Lack] = {}
        self._newest_proof_s = float("-inf")
        self._sent = self._newest_proven = 0
        self._refused_filter = ""

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to for the proofs."""
        if self._proof is Proof.BROKER:
            return ()
        return (f"{self._events}+",) if self._proof is Proof.ECHO else (self._topics.ack,)

    @property
    def unconfirmed(self) -> int:
        """Records that the broker has acknowledged and nothing has proven, of those that were sent lately."""
        with self._lock:
            return sum(record.acked and not self._complete(record) for record in self._records.values())

    def covers(self, topic: str) -> bool:
        """Whether records of this topic are durable."""
        return topic.startswith(self._events)

    def admit(self, topic: str, payload: bytes) -> bool:
        """Whether this record must be sent: False if an earlier copy of it was proven meanwhile."""
        key = self._key(topic, payload)
        if self.take_proof(key, topic):
            return False
        with self._lock:
            self._sent += 1
            self._records.setdefault(key, _Record()).number = self._sent
            self._records.move_to_end(key)
            while len(self._records) > MAX_RECORDS:
                self._records.popitem(last=False)
        return True

    def sent(self, topic: str, payload: bytes, carried: Carried) -> Proven:
        """The receipt of a record that was admitted and then given to the session."""
        return Proven(self, self._key(topic, payload), topic, carried)

    def heard(self, topic: str, payload: bytes) -> bool:
        """A message came: True if it was a receipt."""
        if self._proof is Proof.ECHO and topic.startswith(self._events):
            self._prove(self._key(topic, payload))
        elif self._proof is Proof.COLLECTOR and topic == self._topics.ack:
            for name in _acknowledged(payload):
                self._prove(name.encode())
        else:
            return False
        return True

    def connected(self) -> None:
        """A new connection: the broker is asked anew for the subscription."""
        with self._lock:
            self._refused_filter = ""

    def filter_refused(self, name: str) -> None:
        """The broker does not let the device subscribe to one of `filters`."""
        self._refused_filter = name

    def problems(self) -> tuple[str, ...]:
        """What hinders delivery, as sentences with the mend."""
        allow = f"Allow this device to write and read '{self._topics.base}/#'"
        if self._refused_filter:
            return (
                f"the broker does not let this device subscribe to {self._refused_filter!r}, so that no record can be "
                f'proven to have arrived; they stay in the spool. {allow}, or write [mqtt] receipts = "broker"',
            )
        with self._lock:
            lacking = {
                topic: lack for topic, lack in self._lacking.items() if lack.denied or lack.missing >= SAID_AFTER
            }
        return tuple(self._problem(topic, lack, allow) for topic, lack in sorted(lacking.items()))

    def _problem(self, topic: str, lack: _Lack, allow: str) -> str:
        if lack.denied:
            return f"the broker does not let this device publish {topic!r}; what is for it stays in the spool. {allow}"
        if self._proof is Proof.COLLECTOR:
            return (
                f"the broker acknowledges {topic!r}, but no collector confirms it; it stays in the spool. "
                f"Check that a collector runs and may write {self._topics.ack!r}, and: {allow}"
            )
        return (
            f"the broker acknowledges {topic!r}, but it does not come back: its access list drops it, or does not let "
            f"this device read it; it stays in the spool. {allow}; where reading is forbidden on purpose, write [mqtt] "
            f'receipts = "broker"'
        )

    # For Proven

    def acked(self, key: bytes) -> float:
        with self._lock:
            if key in self._records:
                self._records[key].acked = True
            return self._clock()

    def take_proof(self, key: bytes, topic: str) -> bool:
        """Whether all that it takes is there; the record is forgotten then, and its topic no longer lacking."""
        with self._lock:
            record = self._records.get(key)
            if record is None or not self._complete(record):
                return False
            del self._records[key]
            self._lacking.pop(topic, None)
            return True

    def overdue(self, key: bytes, acked_s: float) -> bool:
        """A slow connection that still brings proofs is waited for; not so a record that later ones have overtaken."""
        with self._lock:
            record = self._records.get(key)
            overtaken = record is not None and record.number < self._newest_proven
            since_s = acked_s if overtaken else max(acked_s, self._newest_proof_s)
            return self._clock() - since_s > self._patience_s

    def missed(self, topic: str, acked_s: float) -> None:
        """Counted once for all that were under way together."""
        with self._lock:
            lack = self._lack(topic)
            if lack is not None and acked_s >= lack.counted_s:
                lack.missing += 1
                lack.counted_s = self._clock()

    def failed(self, topic: str, carried: Carried) -> Delivery:
        """The session could not deliver: durable records are tried again, whatever the broker thinks of them now."""
        if not carried.denied:
            return carried.delivery()
        with self._lock:
            lack = self._lack(topic)
            if lack is not None:
                lack.denied = True
        return Delivery.FAILED

    def _lack(self, topic: str) -> _Lack | None:
        if topic not in self._lacking:
            if len(self._lacking) >= MAX_LACKING:
                return None
            self._lacking[topic] = _Lack()
        return self._lacking[topic]

    def _complete(self, record: _Record) -> bool:
        """An echo proves the way, the acknowledgement that the broker keeps it; a collector's word is enough alone."""
        if self._proof is Proof.COLLECTOR:
            return record.proven
        return record.acked and (record.proven or self._proof is Proof.BROKER)

    def _prove(self, key: bytes) -> None:
        with self._lock:
            record = self._records.get(key)
            if record is not None:
                record.proven = True
                self._newest_proven = max(self._newest_proven, record.number)
                self._newest_proof_s = self._clock()

    def _key(self, topic: str, payload: bytes) -> bytes:
        if self._proof is Proof.COLLECTOR:
            return _identity(payload)
        return hashlib.blake2b(topic.encode() + b"\0" + payload, digest_size=16).digest()


class _Identified(msgspec.Struct):
    id: str = ""


def _identity(payload: bytes) -> bytes:
    """The id that a collector would name; a record without one can not be confirmed."""
    try:
        return msgspec.json.decode(payload, type=_Identified).id.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return b""


def _acknowledged(payload: bytes) -> tuple[str, ...]:
    if len(payload) > MAX_ACK_BYTES:
        return ()
    try:
        message = decode(payload)
    except Refused:
        return ()
    return message.ids if isinstance(message, Ack) else ()
