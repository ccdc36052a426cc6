"""The link: keeps one session with the broker, in a thread of its own, and stays calm when there is none."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from edge_runtime.fleet.backoff import Cause, delay_s
from edge_runtime.fleet.session import ConnectFault, Incoming, Session
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.publisher import Delivery, Receipt

log = logging.getLogger(__name__)

SETTLED_S = 30.0
"""A connection that lasted this long was a good one: the next back-off begins anew."""


class LinkState(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    """Between two attempts."""
    STOPPED = "stopped"


class Settled:
    """A receipt whose end is known at once."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def delivery(self) -> Delivery:
        return self._delivery


class MqttLink:
    """A `telemetry.publisher.Publisher` over MQTT 3.1.1.

    Availability is its own business: the will (`offline`, `lost`), the birth (`online`) at every connect and the
    farewell (`offline`, `stopped`) share topic, QoS 1 and retain, and carry the session and the connection's number.
    `on_connect` callbacks run in the link's thread after the birth; `on_message` runs in paho's thread: be quick there.
    """

    def __init__(
        self,
        settings: MqttSettings,
        stamp: Stamp,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._stamp = stamp
        self._wall, self._clock, self._chance = wall, clock, chance
        self._callbacks: list[Callable[[], None]] = []
        self._listener: Callable[[Incoming], None] | None = None
        self._filters: tuple[str, ...] = ()
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._state = LinkState.NEW
        self._cause = Cause.NONE
        self._problem = ""
        self._connections = self._connecting = 0
        self._warned: set[Cause] = set()
        self._failures = 0

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def cause(self) -> Cause:
        """Why it is not online."""
        return self._cause

    @property
    def problem(self) -> str:
        """The same as a sentence with the mend; empty while online."""
        return self._problem

    @property
    def connections(self) -> int:
        """How often it came online."""
        return self._connections

    @property
    def connected(self) -> bool:
        return self._state is LinkState.ONLINE

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def listen(self, filters: tuple[str, ...], listener: Callable[[Incoming], None]) -> None:
        """Subscribe at every connect. Call it before `start`."""
        self._filters, self._listener = filters, listener

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Receipt:
        """Give a message to the session there is; without one the receipt is FAILED at once."""
        session = self._session
        if session is None or session.over.is_set():
            return Settled(Delivery.FAILED)
        try:
            return session.publish(topic, payload, qos, retain)
        except ValueError as fault:
            log.warning("a message to %r can not be sent: %s", topic[:120], fault)
            return Settled(Delivery.REFUSED)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost. Returns at once."""
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)
        self._thread.start()

    def stop(self, flush_s: float = 2.0) -> None:
        """Say `offline`, wait for up to `flush_s` that the broker has it and all before it, and disconnect."""
        self._stopping.set()
        session = self._session
        if session is not None and not session.over.is_set():
            farewell = self._say_availability(session, "offline", "stopped")
            until_s = self._clock() + flush_s
            while farewell.delivery() is Delivery.PENDING and self._clock() < until_s:
                time.sleep(0.01)
            session.close(max(0.1, until_s - self._clock()))
        if self._thread is not None:
            self._thread.join(1.0)
        self._session = None
        self._state, self._cause, self._problem = LinkState.STOPPED, Cause.STOPPED, ""

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._state = LinkState.CONNECTING
            try:
                session = self._open()
            except ConnectFault as fault:
                self._failed(fault.cause, str(fault))
            else:
                self._stay(session)
            if self._stopping.is_set():
                return
            self._stopping.wait(delay_s(self._cause, self._failures, self._chance))

    def _open(self) -> Session:
        self._connecting = self._connections + 1
        will = self._availability("offline", "lost")
        session = Session(self._settings, self._stamp.topics.availability, will, self._dispatch)
        self._connections = self._connecting
        self._say_availability(session, "online", "connected")
        if self._filters:
            session.subscribe(self._filters)
        if self._problem:
            log.info("connected to %s again", self._settings.address)
        self._session = session
        self._state, self._cause, self._problem = LinkState.ONLINE, Cause.NONE, ""
        for callback in self._callbacks:
            callback()
        return session

    def _stay(self, session: Session) -> None:
        """Until the session is over."""
        began_s = self._clock()
        if self._stopping.is_set():
            session.close(1.0)
        session.over.wait()
        if self._stopping.is_set():
            return
        self._session = None
        if self._clock() - began_s >= SETTLED_S:
            self._failures = 0
            self._warned.clear()
        self._failed(Cause.LOST, f"the connection to {self._settings.address} was lost: {session.end}")

    def _failed(self, cause: Cause, problem: str) -> None:
        """The first failure of its kind warns, those that follow are for who looks closely."""
        self._failures += 1
        log.log(logging.DEBUG if cause in self._warned else logging.WARNING, "%s", problem)
        self._warned.add(cause)
        self._state, self._cause, self._problem = LinkState.WAITING, cause, problem

    def _dispatch(self, message: Incoming) -> None:
        if self._listener is not None:
            self._listener(message)

    def _availability(self, state: str, reason: str) -> bytes:
        return encode(builders.availability(self._stamp, self._wall(), self._connecting, state, reason))

    def _say_availability(self, session: Session, state: str, reason: str) -> Receipt:
        return session.publish(self._stamp.topics.availability, self._availability(state, reason), 1, True)
