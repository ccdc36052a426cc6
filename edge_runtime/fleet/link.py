"""The link: keeps one session with the broker, in a thread of its own, and stays calm when there is none."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.carried import Settled
from edge_runtime.fleet.dial import Dialer
from edge_runtime.fleet.faults import ConnectFault, taken
from edge_runtime.fleet.hearing import Hearing
from edge_runtime.fleet.leftovers import Leftovers
from edge_runtime.fleet.link_report import LinkReport, LinkState, certificate_problem, refused_problem
from edge_runtime.fleet.presence import Presence
from edge_runtime.fleet.receipts import ReceiptBook
from edge_runtime.fleet.samples import Samples, Told
from edge_runtime.fleet.session import Incoming, Session
from edge_runtime.fleet.settings import MqttSettings, Proof
from edge_runtime.fleet.tls import days_left
from edge_runtime.fleet.twins import Twins
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.publisher import Delivery, Receipt

log = logging.getLogger(__name__)

SETTLED_S = 30.0
"""A connection that lasted this long was a good one: the next back-off begins anew."""
OFTEN = 3
"""Connections in a row that were lost before they were settled: then there is a reason for it."""
NOT_FOR_LONG = (
    "If it never lasts, the broker may forbid something that this device subscribes to or says: see its log; "
    'with [mqtt] receipts = "broker" it subscribes to nothing of its own'
)
TICK_S = 0.5
"""Between two looks at what is to be read back."""
HOUR_S = 3_600.0


class MqttLink:
    """A `telemetry.publisher.Publisher` over MQTT 5 or 3.1.1.

    Availability is its own business: the will (`offline`, `lost`), the birth (`online`) at every connect and the
    farewell (`offline`, `stopped`) share topic, QoS 1 and retain, and carry the session and the connection's number.
    `on_connect` callbacks run in the link's thread after the birth; the listener runs in paho's thread: be quick there.
    With `Proof.BROKER` it subscribes to nothing but what `listen` asks for: no echo, no read back, no look for a twin, no `tidy`.
    A durable record (`event/...`) is ACKNOWLEDGED when its proof has come (`receipts`), anything else by the broker.
    """

    def __init__(
        self,
        settings: MqttSettings,
        stamp: Stamp,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._stamp = settings, stamp
        self._wall, self._clock = wall, clock
        self._saying = threading.Lock()
        """Held while it is said that the device is there or has gone: the farewell is the last word."""
        self._callbacks: list[Callable[[], None]] = []
        self._listener: Callable[[Incoming], None] | None = None
        self._hearing = Hearing(clock)
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._dialer = Dialer(settings, chance)
        self._own = f"{stamp.topics.base}/"
        self._receipts = ReceiptBook(stamp.topics, settings.proof, clock)
        self._reads_own = settings.proof is not Proof.BROKER
        """Whether it subscribes to what it says itself. There are brokers that end a connection for that."""
        self._samples = Samples(stamp.topics, clock, self._reads_own)
        self._twins = Twins(stamp, clock)
        self._presence = Presence(stamp, wall, clock, self._reads_own, settings.keepalive_s)
        self._leftovers: Leftovers | None = None
        self._birth: Receipt = Settled(Delivery.FAILED)
        self._warned: set[Cause] = set()
        self._told: frozenset[str] = frozenset()
        self._failures = self._connecting = 0
        self._opened_s, self._read_hours = 0.0, 1
        self._report = LinkReport(
            LinkState.NEW, Cause.NONE, (), 0, "", str(self._dialer.node), "", settings.proof, 0, None
        )
        self._problem = ""

    @property
    def state(self) -> LinkState:
        return self._report.state

    @property
    def cause(self) -> Cause:
        """Why it is not online."""
        return self._report.cause

    @property
    def problem(self) -> str:
        """Why it is not online as a sentence with the mend, else the first thing that hinders delivery; or empty."""
        return next(iter(self.problems), "")

    @property
    def problems(self) -> tuple[str, ...]:
        """All that a person must mend."""
        if self.state is LinkState.STOPPED:
            return ()
        found = [self._problem] if self._problem else []
        if self._twins.suspected and not self._problem:
            found.append(str(taken(self._report.address, self._settings.client_id)))
        if self._hearing.refused:
            found.append(refused_problem(self._hearing.refused))
        ending = certificate_problem(self._settings.cert_file, self._report.certificate_days)
        if ending:
            found.append(ending)
        return (*found, *self._receipts.problems(), *self._samples.problems())

    @property
    def connections(self) -> int:
        """How often it came online."""
        return self._report.connections

    @property
    def connected(self) -> bool:
        return self.state is LinkState.ONLINE

    def report(self) -> LinkReport:
        """How it is now."""
        return replace(self._report, problems=self.problems, unconfirmed=self._receipts.unconfirmed)

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def listen(self, filters: tuple[str, ...], listener: Callable[[Incoming], None], qos: int = 1) -> None:
        """Subscribe at every connect. Call it before `start`; a second call replaces the first."""
        self._hearing.want(filters, qos)
        self._listener = listener

    def hush(self, seconds: float, names: tuple[str, ...] = ()) -> None:
        """Unsubscribe from what `listen` asked for, or from these of its filters, and subscribe again after a while:
        for a flood. Never blocks."""
        new = self._hearing.hush(seconds, names)
        session = self._session
        if session is not None and new:
            session.unsubscribe(new)

    def tidy(self, prefix: str, known: Collection[str]) -> None:
        """Clear, once after the start, what the broker retains directly below `prefix` and is not known. Call it before
        `start`."""
        self._leftovers = Leftovers(prefix, known, self._clock)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Receipt:
        """Give a message to the session there is; without one the receipt is FAILED at once."""
        session = self._session
        if session is None or session.over.is_set():
            return Settled(Delivery.FAILED)
        durable = not retain and qos > 0 and self._receipts.covers(topic)
        if durable:
            if not self._receipts.admit(topic, payload):
                return Settled(Delivery.ACKNOWLEDGED)
        else:
            self._samples.published(topic, payload, retain)
        try:
            sent = session.publish(topic, payload, qos, retain, topic == self._stamp.topics.telemetry)
        except ValueError as fault:
            log.warning("a message to %r can not be sent: %s", topic[:120], fault)
            return Settled(Delivery.REFUSED)
        return self._receipts.sent(topic, payload, sent) if durable else Told(self._samples, topic, sent)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost. Returns at once."""
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)
        self._thread.start()

    def stop(self, flush_s: float = 2.0) -> None:
        """Say `offline`, wait for up to `flush_s` that the broker has it and all before it, and disconnect."""
        self._stopping.set()
        session = self._session
        if session is not None and not session.over.is_set():
            with self._saying:
                farewell = self._say_availability(session, self._presence.farewell())
            until_s = self._clock() + flush_s
            while farewell.delivery() is Delivery.PENDING and self._clock() < until_s:
                time.sleep(0.01)
            session.close(max(0.1, until_s - self._clock()))
        if self._thread is not None:
            self._thread.join(2.0)
        self._session, self._problem = None, ""
        self._report = replace(self._report, state=LinkState.STOPPED, cause=Cause.STOPPED)

    # The link's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._report = replace(self._report, state=LinkState.CONNECTING, address=str(self._dialer.node))
            try:
                session = self._open()
            except ConnectFault as fault:
                if not self._stopping.is_set():
                    self._failed(fault)
            else:
                self._stay(session)
                session.forget()
            if not self._stopping.is_set():
                self._stopping.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Before the next attempt."""
        return self._dialer.pause_s(self.cause, self._twins.count)

    def _open(self) -> Session:
        self._connecting = self.connections + 1
        self._opened_s, self._read_hours = self._clock(), 1
        will = self._stamp.topics.availability, self._presence.will(self._connecting)
        session = self._dialer.connect(will, self._dispatch, self._filter_refused)
        if self._stopping.is_set():  # nobody would take the birth back
            session.forget()
            raise ConnectFault(Cause.STOPPED, "the link was stopped while it connected")
        self._receipts.connected()
        self._samples.connected()
        if self._reads_own:
            session.subscribe(((self._stamp.topics.availability, 0),))
        self._birth = self._say_availability(session, self._presence.birth())
        session.subscribe(tuple((name, 0) for name in self._receipts.filters))
        session.subscribe(self._hearing.connected())
        if self._reads_own and self._leftovers is not None and self._leftovers.begin():
            session.subscribe(((self._leftovers.filter, 0),))
        if self._problem:
            log.info("connected to %s again", session.address)
        self._session, self._problem = session, ""
        self._report = replace(
            self._report,
            state=LinkState.ONLINE,
            cause=Cause.NONE,
            connections=self._connecting,
            protocol=session.dialect,
            certificate_days=days_left(self._settings.cert_file, self._wall()),
        )
        for callback in self._callbacks:
            callback()
        return session

    def _stay(self, session: Session) -> None:
        """Until the session is over."""
        began_s, born_at = self._opened_s, self._wall()
        if self._stopping.is_set():
            self._say_availability(session, self._presence.farewell())
            session.close(1.0)
        while not session.over.wait(TICK_S):
            self._tend(session)
        if self._stopping.is_set():
            return
        self._session = None
        self._twins.born(born_at)
        if self._clock() - began_s >= SETTLED_S:
            self._dialer.settled()
            self._warned.clear()
        fault = session.ended()
        if fault.cause is Cause.TAKEN:
            self._twins.sign()
        elif fault.cause is Cause.LOST and self._twins.seen_since(began_s):
            fault = taken(str(session.address), self._settings.client_id)
        elif fault.cause is Cause.LOST and self._dialer.rounds >= OFTEN:
            fault = ConnectFault(Cause.LOST, fault.found, NOT_FOR_LONG)
        self._failed(fault)

    def _tend(self, session: Session) -> None:
        """While it is online, now and then."""
        self._attend_birth(session)
        if self._clock() - self._opened_s > self._read_hours * HOUR_S:
            self._read_hours += 1
            self._report = replace(self._report, certificate_days=days_left(self._settings.cert_file, self._wall()))
        step = self._samples.step()
        if step is not None:
            session.subscribe(((step.subscribe, 0),) if step.subscribe else ())
            if step.publish:
                self.publish(step.subscribe, step.publish, 1, True)
            if step.unsubscribe != self._stamp.topics.availability:
                session.unsubscribe((step.unsubscribe,) if step.unsubscribe else ())
        if self._leftovers is not None:
            self._clear(session, self._leftovers)
        session.subscribe(self._hearing.again())
        told = frozenset(self.problems)
        for problem in told - self._told:
            log.warning("%s", problem)
        for problem in self._told - told:
            log.info("no longer so: %s", problem)
        self._told = told

    def _attend_birth(self, session: Session) -> None:
        outcome = self._birth.delivery()
        self._presence.answered(outcome)
        if outcome is not Delivery.PENDING:  # a refusal is noted by asking, once
            self._birth = Settled(Delivery.ACKNOWLEDGED)
        if self._presence.due():
            with self._saying:
                if not self._stopping.is_set():
                    self._birth = self._say_availability(session, self._presence.birth())

    def _clear(self, session: Session, leftovers: Leftovers) -> None:
        for topic in leftovers.to_clear():
            log.info("%s is retained at the broker and is no longer spoken of; it is cleared", topic)
            session.publish(topic, b"", 1, True)
        if leftovers.finish():
            session.unsubscribe((leftovers.filter,))

    def _failed(self, fault: ConnectFault) -> None:
        """The first failure of its kind warns, those that follow are for who looks closely."""
        self._failures += 1
        self._dialer.failed(fault)
        log.log(logging.DEBUG if fault.cause in self._warned else logging.WARNING, "%s", fault)
        self._warned.add(fault.cause)
        self._problem = str(fault)
        days = days_left(self._settings.cert_file, self._wall())
        self._report = replace(
            self._report,
            state=LinkState.WAITING,
            cause=fault.cause,
            last_error=str(fault),
            certificate_days=days,
        )

    # paho's thread

    def _dispatch(self, message: Incoming) -> None:
        if self._receipts.heard(message.topic, message.payload):
            return
        if message.topic == self._stamp.topics.availability:
            (self._twins.found if message.retained else self._presence.heard)(message.payload)
        own = message.topic.startswith(self._own) and self._samples.heard(message.topic, message.payload)
        if self._leftovers is not None:
            own |= self._leftovers.heard(message.topic, message.payload, message.retained)
        if self._listener is None or (own and not self._hearing.wants(message.topic)):
            return
        self._listener(message)

    def _filter_refused(self, name: str) -> None:
        if name in self._receipts.filters:
            self._receipts.filter_refused(name)
        else:
            self._hearing.refuse(name)

    def _say_availability(self, session: Session, payload: bytes) -> Receipt:
        topic = self._stamp.topics.availability
        self._samples.published(topic, payload, True)
        return Told(self._samples, topic, session.publish(topic, payload, 1, True))
