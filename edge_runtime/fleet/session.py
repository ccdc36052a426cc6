"""One connection to a broker, from CONNECT to the end.

Every connection gets a fresh client: nothing of an old one (queued messages, a half-read packet) can leak into the
next, and what was not acknowledged is sent again by the uplink, which knows more about it than paho does.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.carried import Carried, Sent, Settled
from edge_runtime.fleet.client import LARGEST_PACKET_BYTES, Client, publish_properties
from edge_runtime.fleet.faults import ConnectFault, ending, refusal
from edge_runtime.fleet.settings import BrokerAddress, Dialect, MqttSettings
from edge_runtime.fleet.tls import tls_context, tls_fault
from edge_runtime.telemetry.publisher import Delivery

log = logging.getLogger(__name__)

MAX_CODES = 4_096
Filters = tuple[tuple[str, int], ...]
"""What to subscribe to, and with which QoS."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that was subscribed to."""

    topic: str
    payload: bytes
    retained: bool


class Session:
    """Connects in `__init__`: it blocks for at most about twice the timeout, and raises ConnectFault if it can not.

    `on_message` and `on_refused` (a filter that the broker does not let this device subscribe to) run in paho's thread.
    """

    def __init__(
        self,
        settings: MqttSettings,
        address: BrokerAddress,
        dialect: Dialect,
        will: tuple[str, bytes],
        on_message: Callable[[Incoming], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._settings, self.address, self.dialect = settings, address, dialect
        self._on_message, self._on_refused = on_message, on_refused
        self._answer: ReasonCode | None = None
        self._moved_to = ""
        self._end: ReasonCode | None = None
        self._using = threading.Lock()
        """Held while the client is used by threads other than its own, and while it is freed."""
        self._freed = False
        self._codes: dict[int, int] = {}
        self._asked: dict[int, tuple[str, ...]] = {}
        self._granted: dict[int, tuple[bool, ...]] = {}
        self._client = self._fresh_client(will)
        self.over = self._client.over
        """Set when the connection is gone, for whatever reason."""
        try:
            self._connect()
        except ConnectFault:
            self.forget()
            raise

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, expires: bool = False) -> Carried:
        """`expires`: it is of no use to anybody after a while. ValueError for what MQTT can not carry."""
        if not self._client.fits(topic, payload):
            log.warning("a message to %r is not sent: its %d bytes are more than the broker takes", topic, len(payload))
            return Settled(Delivery.REFUSED)
        extra = publish_properties(expires) if self._client.five and payload else None
        with self._using:
            if self._freed:
                return Settled(Delivery.FAILED)
            return Sent(self._client.publish(topic, payload, qos, retain, extra), self.over, self._codes)

    def subscribe(self, filters: Filters) -> None:
        with self._using:
            if not filters or self._freed:
                return
            _, mid = self._client.subscribe(list(filters))
        if mid is not None:
            self._asked[mid] = tuple(name for name, _ in filters)
            self._compare(mid)

    def unsubscribe(self, names: tuple[str, ...]) -> None:
        with self._using:
            if names and not self._freed:
                self._client.unsubscribe(list(names))

    def close(self, timeout_s: float) -> None:
        """Say goodbye: the broker then keeps the will to itself."""
        with self._using:
            if not self._freed:
                self._client.disconnect()
        self.over.wait(timeout_s)

    def forget(self) -> None:
        """Free what the session holds; not from paho's thread. Others may still hold it: what they publish fails."""
        self.close(0.0)
        self._client.loop_stop()
        with self._using:
            self._freed = True
            self._client.free()

    def ended(self) -> ConnectFault:
        """Why it is over, with the cause that says how long to wait."""
        end, fault = self._end, self._client.words.fault
        if isinstance(fault, ssl.SSLError) and not isinstance(fault, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return tls_fault(self.address, fault)
        code = end.value if end is not None else 0
        said = str(fault) if fault is not None else str(end) if end is not None else "the broker's words make no sense"
        if fault is None and code == 0x80:  # paho's word for an end that nobody announced
            said = "the broker closed it"
        return ending(str(self.address), self._settings.client_id, code, said, self._moved_to)

    def _fresh_client(self, will: tuple[str, bytes]) -> Client:
        settings = self._settings
        client = Client(settings.client_id, self.dialect)
        client.connect_timeout = settings.connect_timeout_s
        topic, payload = will
        client.will_set(topic, payload, qos=1, retain=True)
        if settings.user:
            client.username_pw_set(settings.user, _password(settings))
        if self.address.tls:
            client.tls_set_context(tls_context(settings))
        client.on_connect, client.on_disconnect = self._connack, self._gone
        client.on_message, client.on_subscribe = self._arrived, self._subscribed
        if client.five:
            client.on_publish = self._acknowledged
        return client

    def _connect(self) -> None:
        address = self.address
        try:
            self._client.open(address.host, address.port, self._settings.keepalive_s)
        except ssl.SSLError as fault:
            raise tls_fault(address, fault) from None
        except TimeoutError:
            raise ConnectFault(Cause.UNREACHABLE, f"the broker at {address} does not answer") from None
        except (OSError, UnicodeError) as fault:  # UnicodeError: a host name that DNS can not hold
            raise ConnectFault(
                Cause.UNREACHABLE,
                f"the broker at {address} can not be reached: {getattr(fault, 'strerror', None) or fault}",
                "Check [mqtt] url and the network; the device goes on without it",
            ) from None
        self._await_answer()

    def _await_answer(self) -> None:
        address = self.address
        self._client.answered.wait(self._settings.connect_timeout_s)
        answer, fault = self._answer, self._client.words.tls
        if answer is not None and not answer.is_failure:
            return
        if answer is not None:
            raise refusal(str(address), self._settings.user, answer.value, str(answer), self._moved_to)
        if fault is not None:
            raise tls_fault(address, fault)
        raise ConnectFault(
            Cause.SILENT,
            f"{address} takes connections but does not answer as an MQTT broker",
            "Check the port, and whether it wants mqtts://",
            old_broker=self.over.is_set(),
        )

    # paho's thread

    def _connack(
        self, client: paho.Client, data: object, flags: paho.ConnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        self._moved_to = str(getattr(extra, "ServerReference", ""))
        most = int(getattr(extra, "MaximumPacketSize", LARGEST_PACKET_BYTES))
        self._client.hold_to(int(getattr(extra, "ReceiveMaximum", 65_535)), most)
        self._answer = code
        self._client.answered.set()

    def _gone(
        self, client: paho.Client, data: object, flags: paho.DisconnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        self._moved_to = str(getattr(extra, "ServerReference", ""))
        self._end = code
        self.over.set()
        self._client.answered.set()

    def _arrived(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.debug("a message under a topic that is not UTF-8 is left out")
            return
        self._on_message(Incoming(topic, bytes(message.payload), bool(message.retain)))

    def _acknowledged(
        self, client: paho.Client, data: object, mid: int, code: ReasonCode, extra: Properties | None
    ) -> None:
        if not code.is_failure:
            self._codes.pop(mid, None)  # of a message of the same number, which nobody asked after
        elif len(self._codes) < MAX_CODES:
            self._codes[mid] = code.value

    def _subscribed(
        self, client: paho.Client, data: object, mid: int, codes: list[ReasonCode], extra: Properties | None
    ) -> None:
        self._granted[mid] = tuple(not code.is_failure for code in codes)
        self._compare(mid)

    def _compare(self, mid: int) -> None:
        """The answer may come before `subscribe` has returned the number; whoever is second compares."""
        if mid not in self._asked or mid not in self._granted:
            return
        names, granted = self._asked.pop(mid, ()), self._granted.pop(mid, ())
        for name, good in zip(names, granted, strict=False):
            if not good:
                self._on_refused(name)


def _password(settings: MqttSettings) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConnectFault(
            Cause.CREDENTIALS, f"[mqtt] password_file {settings.password_file} can not be read: {fault}"
        ) from None
