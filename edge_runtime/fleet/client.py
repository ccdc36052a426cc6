"""paho's client with what the link must be able to rely on. With session.py and operator/, all that knows paho."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_runtime.fleet.settings import Dialect

MAX_IN_FLIGHT = 64
MAX_QUEUED = 1_024
MAX_PACKET_BYTES = 1_048_576
"""The largest packet that is read. A broker that was taken over must not fill the memory with one of 256 MB."""
LARGEST_PACKET_BYTES = 268_435_460
"""That MQTT has."""
HEAD_BYTES = 40
"""Of a publish beside topic and payload, at most: with the properties below."""
TELEMETRY_EXPIRY_S = 3_600
"""MQTT 5: a broker that could not hand figures on for so long may drop them."""


class Client(paho.Client):
    """One connection, clean, without paho's own reconnecting."""

    def __init__(self, client_id: str, dialect: Dialect) -> None:
        self.five = dialect is Dialect.V5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self.five else True,
            protocol=MQTTProtocolVersion.MQTTv5 if self.five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self.over = threading.Event()
        """Set when the connection is gone or paho's thread has ended, for whatever reason."""
        self.answered = threading.Event()
        """Set when there is an answer to the CONNECT, or none will come."""
        self.words = _LastWords()
        self._max_packet_bytes = LARGEST_PACKET_BYTES
        self._asked_s = 0
        self.enable_logger(self.words.logger)
        self.max_inflight_messages_set(MAX_IN_FLIGHT)
        self.max_queued_messages_set(MAX_QUEUED)

    def open(self, host: str, port: int, keepalive_s: int) -> None:
        """Connect, blocking, and start the thread. OSError and UnicodeError as they come."""
        extra: dict[str, object] = {}
        if self.five:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.ReceiveMaximum = MAX_IN_FLIGHT
            limits.MaximumPacketSize = MAX_PACKET_BYTES
            extra = {"clean_start": True, "properties": limits}  # and a session expiry of 0, which is the default
        self._asked_s = keepalive_s
        self.connect(host, port, keepalive_s, **extra)  # type: ignore[arg-type]
        self.loop_start()

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What paho's thread runs: a packet that its parser trips over ends the thread without a callback."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        finally:
            self.over.set()
            self.answered.set()

    def hold_to(self, receive_maximum: int, max_packet_bytes: int) -> None:
        """Keep to what the broker takes at once (MQTT 5, 3.2.2.3.3). paho's own setter is for before the connect."""
        self._max_inflight_messages = min(MAX_IN_FLIGHT, receive_maximum)
        self._max_packet_bytes = max_packet_bytes
        if not 0 < self._keepalive <= self._asked_s:
            self._keepalive = self._asked_s  # it may want fewer pings, or none: what is half open would never end

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether the broker takes a message of this size (MQTT 5, 3.2.2.3.6): it ends the connection otherwise."""
        return len(topic.encode()) + len(payload) + HEAD_BYTES <= self._max_packet_bytes

    def free(self) -> None:
        """Let go of what refers back here, so that memory and sockets are freed at once. The thread must have ended, and
        no other may use the client any more: writing to it then is an OSError."""
        self.on_connect = self.on_disconnect = self.on_message = self.on_subscribe = self.on_publish = None
        self.disable_logger()
        self._reset_sockets()

    def _handle_publish(self) -> MQTTErrorCode:
        """Nothing is subscribed to with QoS 2. paho keeps such a message until it is released: 65,535 of them, 64 GB, from
        a broker that never does."""
        if self._in_packet["command"] & 0x06 == 0x04:
            self.words.fault = ConnectionError("the broker sends a message with QoS 2, which nobody has asked for")
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _sock_send(self, buf: bytes | bytearray) -> int:
        """A broker that does not take the device's certificate says why, and hangs up: with TLS 1.3 that may be found by
        writing, and the reason still waits to be read."""
        try:
            sent: int = super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as fault:
            raise self._reason_waiting() or fault from None
        return sent

    def _reason_waiting(self) -> ssl.SSLError | None:
        sock = self.socket()
        try:
            if sock is not None:
                sock.recv(1)
        except ssl.SSLError as told:
            return None if isinstance(told, (ssl.SSLWantReadError, ssl.SSLEOFError, ssl.SSLZeroReturnError)) else told
        except OSError:
            return None
        return None

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_PACKET_BYTES:
            raise ConnectionError(f"the broker sends a packet of {bufsize} bytes, at most {MAX_PACKET_BYTES} are read")
        received: bytes = super()._sock_recv(bufsize)
        return received


def matches(topic: str, filters: Iterable[str]) -> bool:
    """Whether a subscription to one of the filters brings this topic."""
    return any(paho.topic_matches_sub(name, topic) for name in filters)


def publish_properties(expires: bool) -> Properties:
    """Of a message, which is JSON."""
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    found.PayloadFormatIndicator = 1
    found.ContentType = "application/json"
    if expires:
        found.MessageExpiryInterval = TELEMETRY_EXPIRY_S
    return found


class _LastWords(logging.Handler):
    """Keeps the newest error that paho tells its log only: why the socket failed."""

    def __init__(self) -> None:
        super().__init__()
        self.logger = logging.Logger("paho", logging.ERROR)
        self.logger.addHandler(self)
        self.fault: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, BaseException):
                self.fault = argument

    @property
    def tls(self) -> ssl.SSLError | None:
        return self.fault if isinstance(self.fault, ssl.SSLError) else None
