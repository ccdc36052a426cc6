"""Runs a rollout: hears the fleet, asks the engine, keeps its records, and writes what is desired. Can be killed anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.fleet.desired import VERB as DESIRED_VERB
from edge_runtime.fleet.desired import Desired, decode_desired, encode_desired
from edge_runtime.fleet.operator.connection import Arrived, Connection
from edge_runtime.fleet.operator.directory import STATE_FILTERS, Directory, address
from edge_runtime.fleet.operator.rollouts.engine import Rollout
from edge_runtime.fleet.operator.rollouts.evidence import Evidence
from edge_runtime.fleet.operator.rollouts.journal import Journal
from edge_runtime.fleet.operator.rollouts.ledger import FILTER, Ledger
from edge_runtime.fleet.operator.rollouts.records import Batch, Head, Record, encode_record, topic_of
from edge_runtime.fleet.operator.rollouts.sight import FleetSight
from edge_runtime.fleet.operator.signer import Opener, Signer
from edge_runtime.lifecycle.trust.envelope import DESIRED, ROLLOUT
from edge_runtime.telemetry.topics import ROOT

FILTERS = (*STATE_FILTERS, (f"{ROOT}/+/+/telemetry", 0), (FILTER, 1))
STEP_S = 0.5
PER_STEP = 25
"""Wishes that are written at once, twice a second."""
AGAIN_S = 10.0
"""A wish or a record that was not seen coming back is sent again after this long."""
INSIST_S = 2.0
REFUSED_S = 60.0
"""A connected broker that has not sent a record back by then keeps none."""
ASK_S = 20.0
"""While devices owe an answer, what they retain is read again: first after so long, then after twice as long each time."""
ANSWERS = tuple(f"{ROOT}/+/+/{kind}" for kind in ("availability", "reported", "status"))
CLAIM_S = 1.5
"""So long a new owner waits whether another one claims as well."""


class Overtaken(TryAgain):
    """Somebody else carries the rollout on."""


class Watchtower:
    """Everything that one connection hears, in its place: devices, their figures, what is desired of them, rollouts."""

    def __init__(self, opener: Opener) -> None:
        self.directory = Directory()
        self.evidence = Evidence()
        self.ledger = Ledger(opener)
        self.wishes: dict[str, Desired] = {}
        self.sight = FleetSight(self.directory, self.evidence, self.wishes)
        self._opener = opener

    def hear(self, message: Arrived) -> None:
        if message.topic.startswith(FILTER[:-1]):
            self.ledger.take(message.topic, message.payload)
            return
        where = address(message.topic)
        if where is None:
            return
        device = f"{where.site}/{where.device}"
        if where.kind == "telemetry":
            if self.directory.get(device) is not None:  # whose number is bounded
                self.evidence.telemetry(device, message.payload, message.at)
            return
        changed = self.directory.hear(message)
        if where.kind == "desired" and self.directory.get(device) is not None:
            self._wish(device, message.payload)
        elif where.kind == "status" and changed is not None and changed.status is not None:
            self.evidence.status(device, changed.status, message.at)

    def _wish(self, device: str, envelope: bytes) -> None:
        """What is retained for a device, if it is to be believed."""
        self.wishes.pop(device, None)
        try:
            opened = self._opener.open(envelope, DESIRED)
            wish = decode_desired(opened.payload)
        except Refused:
            return
        if wish.audience == device and opened.may(DESIRED_VERB, device):
            self.wishes[device] = wish


class RolloutRun:
    """One owner's work on one rollout."""

    def __init__(
        self,
        connection: Connection,
        tower: Watchtower,
        rollout: Rollout,
        journal: Journal,
        signer: Signer,
        hear: Callable[[Rollout], None] = lambda rollout: None,
        complain: Callable[[str], None] = lambda text: None,
        step_s: float = STEP_S,
    ) -> None:
        """`hear` is told of every step, `complain` of a broker that is away."""
        self.rollout = rollout
        self._connection, self._tower, self._journal, self._signer = connection, tower, journal, signer
        self._hear, self._complain, self._step_s = hear, complain, step_s
        self._trouble = ""
        self._connection_number, self._connected_since_s = 0, time.monotonic()
        self._sent_s: dict[tuple[str, int], float] = {}
        self._asking: tuple[str, int, int] = ("", 0, 0)
        """Phase, ring and connection in which answers are waited for."""
        self._ask_at_s = self._ask_pause_s = 0.0
        self._said = b""
        """The envelope of the head, as it was said last."""

    def claim(self, head: Head, batches: Mapping[str, Batch]) -> None:
        """Become the owner with this head. What the journal or the broker lacks is written there first.

        Raises Overtaken if somebody else has claimed it at the same time and goes first.
        """
        ledger, journal = self._tower.ledger, self._journal.read()
        told = ledger.rollouts.get(head.name)
        for batch in batches.values():
            topic = topic_of(batch)
            if told is None or batch.id not in told.batches or topic in ledger.refused:
                self.keep(batch)
            elif batch.id not in journal.batches:
                self._journal.append(ledger.newest[topic])
        self.keep(head)
        until_s = time.monotonic() + CLAIM_S
        while time.monotonic() < until_s:
            self._pump(0.1)
            self._check_owner()

    def run(self) -> Head:
        """Until the rollout is over. Raises Overtaken, and what the journal raises."""
        while True:
            began_s = time.monotonic()
            self._pump(0.05)
            self._check_owner()
            if self._connected():
                self._step()
            if self.rollout.over:
                return self.rollout.head
            while (left_s := began_s + self._step_s - time.monotonic()) > 0:
                self._pump(left_s)

    def keep(self, record: Record) -> None:
        """To the disk, to the broker, and only then is it so. Waits for the broker as long as it takes."""
        envelope, topic = self._signer.sign(ROLLOUT, encode_record(record)), topic_of(record)
        self._journal.append(envelope)
        if isinstance(record, Head):
            self._said = envelope
        sent_s, began_s = float("-inf"), time.monotonic()
        while self._tower.ledger.newest.get(topic) != envelope:
            now_s = time.monotonic()
            if not self._connected():
                began_s = now_s
            elif now_s - sent_s > INSIST_S:
                self._connection.publish(topic, envelope, 1, True)
                sent_s = now_s
            if now_s - began_s > REFUSED_S:
                raise _not_retained(topic)
            self._pump(0.1)
            if isinstance(record, Head) and self._overtaken_by(record):
                raise _overtaken(record.name)
            if not isinstance(record, Head):
                self._check_owner()
        self.rollout.take(record)
        self._hear(self.rollout)

    def _step(self) -> None:
        now = time.time()
        self._reconnected()
        self._tower.sight.look(now, time.monotonic() - self._connected_since_s)
        known = self._tower.ledger.rollouts.get(self.rollout.head.name)
        for batch in tuple(known.batches.values()) if known else ():
            self.rollout.take(batch)
        for record in self.rollout.step(self._tower.sight, now):
            self.keep(record)
        self._write()
        self._ask_again()
        self._hear(self.rollout)

    def _ask_again(self) -> None:
        """What changes while a node of a cluster takes a subscription may reach the reader neither as retained nor as
        news (NATS 2.15: twelve of 2,000 devices in `benchmarks.fleet.scale`); it would be waited for in vain."""
        head, now_s = self.rollout.head, time.monotonic()
        asking = (head.phase, head.ring, self._connection_number)
        if asking != self._asking:
            self._asking, self._ask_pause_s, self._ask_at_s = asking, ASK_S, now_s + ASK_S
        if head.phase in ("settling", "restoring") and now_s >= self._ask_at_s:
            self._ask_pause_s *= 2
            self._ask_at_s = now_s + self._ask_pause_s
            self._connection.ask_again(ANSWERS)

    def _write(self) -> None:
        now_s, count = time.monotonic(), 0
        for wish in self.rollout.outstanding(self._tower.sight):
            if now_s - self._sent_s.get((wish.audience, wish.seq), float("-inf")) < AGAIN_S:
                continue
            self._sent_s[wish.audience, wish.seq] = now_s
            envelope = self._signer.sign(DESIRED, encode_desired(wish))
            self._connection.publish(f"{ROOT}/{wish.audience}/desired", envelope, 1, True)
            count += 1
            if count == PER_STEP:
                return

    def _connected(self) -> bool:
        """Whether there is a broker; what is wrong is told once."""
        trouble = "" if self._connection.connected else (self._connection.problem or "the broker is away")
        if trouble and trouble != self._trouble:
            self._complain(f"{trouble}. Waiting; nothing is lost")
        self._trouble = trouble
        return not trouble

    def _pump(self, wait_s: float) -> None:
        for message in self._connection.drain(wait_s):
            self._tower.hear(message)

    def _reconnected(self) -> bool:
        """Whether there is a new connection since the last call: what was sent over the old one may be gone."""
        if self._connection.connections == self._connection_number or not self._connection.connected:
            return False
        self._connection_number, self._connected_since_s = self._connection.connections, time.monotonic()
        self._sent_s.clear()
        return True

    def _check_owner(self) -> None:
        """Raises Overtaken if another owner goes first; says so again if one that does not has spoken last."""
        head = self.rollout.head
        if self._overtaken_by(head):
            raise _overtaken(head.name)
        topic = topic_of(head)
        if self._said and self._tower.ledger.newest.get(topic) != self._said and self._connection.connected:
            now_s = time.monotonic()
            if now_s - self._sent_s.get((topic, head.revision), float("-inf")) > INSIST_S:
                self._sent_s[topic, head.revision] = now_s
                self._connection.publish(topic, self._said, 1, True)

    def _overtaken_by(self, head: Head) -> bool:
        known = self._tower.ledger.rollouts.get(head.name)
        other = known.head if known else None
        return other is not None and other.owner != head.owner and other.rank[:2] > head.rank[:2]


def _not_retained(topic: str) -> Unavailable:
    return Unavailable(
        f"the broker takes {topic} and does not retain it",
        f"Its access list must let the operator write and read {ROOT}/_rollout/#",
    )


def _overtaken(name: str) -> Overtaken:
    return Overtaken(f"somebody else has taken over the rollout {name!r}", "See fleet rollout status")
