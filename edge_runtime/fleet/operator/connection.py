"""An operator's connection: no will and no birth, any node of a cluster, subscribed anew at every connect.

With fleet/session.py, fleet/link.py the only files that know paho. It differs from a device's link on purpose: an operator
is not a device, has nothing to say when it goes, and may keep a session at the broker (`durable`) to read events.
"""

from __future__ import annotations

import itertools
import logging
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.carried import Sent
from edge_runtime.fleet.operator.reach import Reach, tls_context, unreachable
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import parse_url
from edge_runtime.telemetry.publisher import Delivery, Receipt
from edge_runtime.telemetry.topics import ROOT

log = logging.getLogger(__name__)

WAITING = 20_000
"""Messages that may wait to be looked at; beyond it the broker has to wait."""
AT_ONCE = 2_000
CONNECT_S = 10.0
FIRST_S = 20.0
ATTEMPTS = 3
AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)
KEEPALIVE_S = 30
MARK = f"{ROOT}/_operator"
"""Nothing is said there. A broker that answers in order answers a second subscription after all that the first one brings;
whether it is allowed does not matter."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, when it came by the operator's clock, and how to say that it is dealt with (durable readers only)."""

    topic: str
    payload: bytes
    retained: bool
    at: float
    mid: int = 0
    connection: int = 0

    def incoming(self) -> Incoming:
        return Incoming(self.topic, self.payload, self.retained)


class _Lost:
    def delivery(self) -> Delivery:
        return Delivery.FAILED


class Connection:
    """`with Connection(reach, "ls", filters) as connection`: connected and subscribed, or Unavailable with the reason.

    Afterwards it connects again by itself. All that comes waits in one bounded queue: `take`, or `drain`.
    """

    def __init__(self, reach: Reach, purpose: str, filters: tuple[tuple[str, int], ...], durable: bool = False) -> None:
        self._reach, self._filters, self._durable = reach, filters, durable
        tail = "" if durable else f"-{secrets.token_hex(4)}"
        self._client_id = f"{reach.name}-{purpose}{tail}"
        self._inbox: queue.Queue[Arrived] = queue.Queue(WAITING)
        self._client: paho.Client | None = None
        self._over = threading.Event()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._answer: ReasonCode | None = None
        self._denied: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="operator-connection", daemon=True)
        self.caught_up = threading.Event()
        """Set when what the broker retained at the first connect has come, as far as it answers in order; not if durable."""
        self.problem = ""
        """Why it is not connected, as a sentence with the mend."""
        self.connections = 0
        self._failures = 0
        self._fault: Unavailable | None = None

    @property
    def connected(self) -> bool:
        return self._ready.is_set() and not self._over.is_set()

    def __enter__(self) -> Connection:
        self._thread.start()
        until_s = time.monotonic() + FIRST_S
        while not self._ready.wait(0.05):
            hopeless = self._denied or self._failures >= ATTEMPTS * len(self._reach.urls)
            if time.monotonic() > until_s or (hopeless and self._fault):
                self.close()
                raise self._fault or Unavailable("no broker answered in time", "Check the address of the broker")
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        self._stopping.set()
        if self._client is not None:
            self._client.disconnect()
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Receipt:
        """Hand a message to the broker, if there is one at this moment. Never blocks for long."""
        client = self._client
        if client is None or not self.connected:
            return _Lost()
        return Sent(client.publish(topic, payload, qos, retain), self._over)

    def ask_again(self, filters: tuple[str, ...]) -> None:
        """Subscribe once more to filters of this connection, for what the broker retains there."""
        client = self._client
        if client is not None and self.connected and not self._durable:
            client.subscribe([(name, 0) for name in filters])

    def take(self, wait_s: float) -> Arrived | None:
        """The next message, or None if none comes within `wait_s`."""
        try:
            return self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def drain(self, wait_s: float) -> Iterator[Arrived]:
        """What waits, at most AT_ONCE of them; for the first one it waits for up to `wait_s`."""
        message, left = self.take(wait_s), AT_ONCE
        while message is not None:
            yield message
            left -= 1
            message = self.take(0) if left else None

    def done(self, message: Arrived) -> None:
        """Of a durable reader: the broker need not keep this message any longer."""
        client = self._client
        if client is not None and message.mid and message.connection == self.connections:
            client.ack(message.mid, 1)

    def _run(self) -> None:
        for url in itertools.cycle(self._reach.urls):
            began_s = time.monotonic()
            try:
                self._stay(url)
            except Unavailable as fault:
                self._fault, self.problem = fault, str(fault)
            if self._stopping.is_set():
                return
            self._failures = 0 if self.connections and time.monotonic() - began_s > 10.0 else self._failures + 1
            round_number = max(0, self._failures - 1) // len(self._reach.urls)
            self._stopping.wait(AGAIN_S[min(round_number, len(AGAIN_S) - 1)])

    def _stay(self, url: str) -> None:
        """One connection to one node, until it is over."""
        self._answer = None
        over = self._over = threading.Event()
        client = self._fresh(url, over)
        address = parse_url(url)
        try:
            client.connect(address.host, address.port, KEEPALIVE_S)
        except (OSError, UnicodeError) as fault:  # ssl.SSLError is an OSError
            raise unreachable(str(address), fault) from None
        client.loop_start()
        self._client = client
        try:
            if not self._ready.wait(CONNECT_S) and not over.is_set():
                raise Unavailable(
                    f"{address} takes connections but does not answer as an MQTT broker", "Check the port"
                )
            over.wait()
            self._explain(str(address))
        finally:
            self._ready.clear()
            client.disconnect()
            client.loop_stop()

    def _explain(self, address: str) -> None:
        if self._answer is not None and self._answer.is_failure:
            self._denied = (str(self._answer),)
            raise Unavailable(
                f"the broker at {address} refused {self._reach.name!r}: {self._answer}",
                "Check the operator's certificate and the broker's access list",
            )
        if self._denied:
            raise Unavailable(
                f"the broker at {address} does not let {self._reach.name!r} read {', '.join(self._denied)}",
                "Its access list must allow the operator edge/v1/#",
            )
        self.problem = f"the connection to {address} was lost"

    def _fresh(self, url: str, over: threading.Event) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            clean_session=not self._durable,
            reconnect_on_failure=False,
            manual_ack=self._durable,
        )
        client.max_inflight_messages_set(256)
        client.connect_timeout = CONNECT_S
        if parse_url(url).tls:
            client.tls_set_context(tls_context(self._reach))
        number = self.connections + 1

        def connected(
            c: paho.Client, data: object, flags: paho.ConnectFlags, code: ReasonCode, extra: Properties | None
        ) -> None:
            self._answer = code
            if not code.is_failure:
                c.subscribe(list(self._filters))

        def subscribed(
            c: paho.Client, data: object, mid: int, codes: list[ReasonCode], extra: Properties | None
        ) -> None:
            if self._ready.is_set():
                self.caught_up.set()
                return
            self._denied = tuple(name for (name, _), code in zip(self._filters, codes, strict=False) if code.is_failure)
            if self._denied:
                c.disconnect()
                return
            self.connections, self.problem = number, ""
            self._ready.set()
            if not self._durable:
                c.subscribe(f"{MARK}/{self._client_id}", 0)

        def gone(
            c: paho.Client, data: object, flags: paho.DisconnectFlags, code: ReasonCode, extra: Properties | None
        ) -> None:
            over.set()

        def arrived(c: paho.Client, data: object, message: paho.MQTTMessage) -> None:
            self._arrived(message, number, over)

        client.on_connect, client.on_subscribe = connected, subscribed
        client.on_disconnect, client.on_message = gone, arrived
        return client

    def _arrived(self, message: paho.MQTTMessage, number: int, over: threading.Event) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        arrived = Arrived(topic, bytes(message.payload), bool(message.retain), time.time(), message.mid, number)
        while not over.is_set():
            try:
                self._inbox.put(arrived, timeout=0.5)
            except queue.Full:
                continue
            return
