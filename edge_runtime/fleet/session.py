"""One connection to a broker, from CONNECT to the end. With link.py, all that knows paho.

Every connection gets a fresh paho client: nothing of an old one (queued messages, a half-read packet) can leak into the
next, and what was not acknowledged is sent again by the uplink, which knows more about it than paho does.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.errors import EdgeError
from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry.publisher import Delivery

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 64
MAX_QUEUED = 1_024
_DENIED = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}
"""MQTT 5 reason codes (paho maps those of 3.1.1 onto them): protocol, client id, password, not authorized, banned, method."""
_BUSY = {0x88, 0x89, 0x97, 0x9F}


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that was subscribed to."""

    topic: str
    payload: bytes
    retained: bool


class ConnectFault(EdgeError):
    """The connection did not come about; `cause` says how long to wait."""

    def __init__(self, cause: Cause, found: str, mend: str = "") -> None:
        super().__init__(found, mend)
        self.cause = cause


class Sent:
    """The receipt of one publish in one session."""

    def __init__(self, info: paho.MQTTMessageInfo, over: threading.Event) -> None:
        self._info = info
        self._over = over

    def delivery(self) -> Delivery:
        gone = self._over.is_set()
        try:
            if self._info.is_published():
                return Delivery.ACKNOWLEDGED
        except (ValueError, RuntimeError):
            return Delivery.FAILED
        return Delivery.FAILED if gone else Delivery.PENDING


class Session:
    """Connects in `__init__`: it blocks for at most about twice the timeout, and raises ConnectFault if it can not."""

    def __init__(
        self, settings: MqttSettings, will_topic: str, will: bytes, on_message: Callable[[Incoming], None]
    ) -> None:
        self._settings = settings
        self._on_message = on_message
        self._answered = threading.Event()
        self.over = threading.Event()
        """Set when the connection is gone, for whatever reason."""
        self._answer: ReasonCode | None = None
        self.end = ""
        self._client = self._fresh_client(will_topic, will)
        self._connect()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Sent:
        """Raises ValueError for a topic or payload that MQTT can not carry."""
        return Sent(self._client.publish(topic, payload, qos, retain), self.over)

    def subscribe(self, filters: tuple[str, ...]) -> None:
        self._client.subscribe([(name, 1) for name in filters])

    def close(self, timeout_s: float) -> None:
        """Say goodbye: the broker then keeps the will to itself."""
        self._client.disconnect()
        self.over.wait(timeout_s)

    def _fresh_client(self, will_topic: str, will: bytes) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2, settings.client_id, clean_session=True, reconnect_on_failure=False
        )
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.max_queued_messages_set(MAX_QUEUED)
        client.connect_timeout = settings.connect_timeout_s
        client.will_set(will_topic, will, qos=1, retain=True)
        if settings.user:
            client.username_pw_set(settings.user, _password(settings))
        if settings.address.tls:
            client.tls_set_context(_tls_context(settings))
        client.on_connect = self._connack
        client.on_disconnect = self._gone
        client.on_message = self._arrived
        client.on_subscribe = _subscribed
        return client

    def _connect(self) -> None:
        settings, address = self._settings, self._settings.address
        try:
            self._client.connect(address.host, address.port, settings.keepalive_s)
        except ssl.SSLCertVerificationError as fault:
            raise ConnectFault(
                Cause.TLS,
                f"the certificate of the broker at {address} is not trusted: {fault.verify_message}",
                "Check [mqtt] ca_file, the host name, and the device's clock",
            ) from None
        except ssl.SSLError as fault:
            raise ConnectFault(Cause.TLS, f"TLS with {address} failed: {fault.reason or fault}") from None
        except TimeoutError:
            raise ConnectFault(Cause.UNREACHABLE, f"the broker at {address} does not answer") from None
        except (OSError, UnicodeError) as fault:  # UnicodeError: a host name that DNS can not hold
            raise ConnectFault(
                Cause.UNREACHABLE,
                f"the broker at {address} can not be reached: {getattr(fault, 'strerror', None) or fault}",
                "Check [mqtt] url and the network; the device goes on without it",
            ) from None
        self._client.loop_start()
        self._await_answer()

    def _await_answer(self) -> None:
        address = self._settings.address
        self._answered.wait(self._settings.connect_timeout_s)
        answer = self._answer
        if answer is not None and not answer.is_failure:
            return
        self._client.disconnect()
        if answer is None:
            raise ConnectFault(
                Cause.SILENT,
                f"{address} takes connections but does not answer as an MQTT broker",
                "Check the port, and whether it wants mqtts://",
            )
        if answer.value in _DENIED:
            raise ConnectFault(
                Cause.DENIED,
                f"the broker at {address} refused user {self._settings.user or '(none)'!r}: {answer}",
                "Check [mqtt] username, password_file and the certificate files",
            )
        raise ConnectFault(Cause.BUSY, f"the broker at {address} refused the connection: {answer}")

    # paho's thread

    def _connack(
        self, client: paho.Client, data: object, flags: paho.ConnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        self._answer = code
        self._answered.set()

    def _gone(
        self, client: paho.Client, data: object, flags: paho.DisconnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        self.end = str(code)
        self.over.set()
        self._answered.set()

    def _arrived(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.debug("a message under a topic that is not UTF-8 is left out")
            return
        self._on_message(Incoming(topic, bytes(message.payload), bool(message.retain)))


def _subscribed(client: paho.Client, data: object, mid: int, codes: list[ReasonCode], extra: Properties | None) -> None:
    if any(code.is_failure for code in codes):
        log.warning("the broker does not let this device subscribe to its commands; check its access list")


def _password(settings: MqttSettings) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConnectFault(
            Cause.CREDENTIALS, f"[mqtt] password_file {settings.password_file} can not be read: {fault}"
        ) from None


def _tls_context(settings: MqttSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file and settings.key_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ValueError) as fault:
        names = ", ".join(str(name) for name in (settings.ca_file, settings.cert_file, settings.key_file) if name)
        raise ConnectFault(Cause.CREDENTIALS, f"[mqtt] {names} can not be used for TLS: {fault}") from None
    return context
