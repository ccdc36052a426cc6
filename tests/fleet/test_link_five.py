"""MQTT 5 where the broker has it, what its reason codes mean to the link, and brokers that mean it badly."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.faults.tcp_proxy import Proxy
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.client import HEAD_BYTES, MAX_PACKET_BYTES, TELEMETRY_EXPIRY_S
from edge_runtime.fleet.link import LinkState, MqttLink
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server, free_port
from edge_runtime.fleet.session import Session
from edge_runtime.fleet.settings import Dialect, MqttSettings, Proof
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics
from fleet.brokers import Mosquitto, wait_until

pytestmark = pytest.mark.integration
TOPICS = Topics("store", "box")


def linked(url: str, session: int = 9, chance: Callable[[], float] = lambda: 0.02, **options: object) -> MqttLink:
    return MqttLink(MqttSettings(url, "box", **options), Stamp(TOPICS, session), chance=chance)  # type: ignore[arg-type]


def online(link: MqttLink) -> None:
    wait_until(lambda: link.connected, f"online; {link.problem}")


@pytest.fixture
def mosquitto(tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[Mosquitto]:
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path, "allow_anonymous true\nmax_inflight_messages 5")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "nats") as made:
        yield made


class FiveReader:
    """An independent client that speaks MQTT 5 and keeps the properties."""

    def __init__(self, port: int) -> None:
        self.messages: list[paho.MQTTMessage] = []
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "five", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("edge/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _c, _d, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_five_where_the_broker_has_it_and_the_older_one_where_not(mosquitto: Mosquitto, nats: LocalBroker) -> None:
    for broker, wanted, protocol in (
        (mosquitto, Dialect.AUTO, "5"),
        (mosquitto, Dialect.V311, "3.1.1"),
        (mosquitto, Dialect.V5, "5"),
        (nats, Dialect.AUTO, "3.1.1"),
    ):
        link = linked(broker.url, dialect=wanted)
        link.start()
        online(link)
        report = link.report()
        assert (report.protocol, report.address) == (protocol, f"127.0.0.1:{broker.port}")
        assert link._failures == 0, "falling back is part of the attempt"
        link.stop()
    link = linked(nats.url, dialect=Dialect.V5)
    link.start()
    wait_until(lambda: link.state is LinkState.WAITING, "refused")
    assert link.cause is Cause.DENIED and 'protocol = "auto"' in link.problem
    link.stop()


def test_an_old_broker_is_remembered(nats: LocalBroker) -> None:
    with Proxy(nats.port) as proxy:
        link = linked(proxy.url)
        link.start()
        online(link)
        assert proxy.accepted == 2
        proxy.cut()
        wait_until(lambda: link.connections == 2, "online again")
        assert proxy.accepted == 3
        link.stop()


@pytest.mark.undocumented("empty records will do")
def test_messages_say_what_they_are_and_figures_expire(mosquitto: Mosquitto) -> None:
    link = linked(mosquitto.url)
    link.start()
    online(link)
    reader = FiveReader(mosquitto.port)
    link.publish(TOPICS.telemetry, b"{}")
    link.publish(TOPICS.event("slot"), b"{}")
    wait_until(lambda: len(reader.messages) >= 3, "birth, figures and event")
    found = {message.topic: message.properties for message in reader.messages}
    assert all(extra.ContentType == "application/json" for extra in found.values() if extra is not None)
    expiry = {topic: getattr(extra, "MessageExpiryInterval", None) for topic, extra in found.items()}
    assert expiry.pop(TOPICS.telemetry) == pytest.approx(TELEMETRY_EXPIRY_S, abs=30)
    assert set(expiry.values()) == {None}
    reader.close()
    link.stop()


@pytest.mark.undocumented("numbers will do")
def test_no_more_is_under_way_than_the_broker_takes_at_once(mosquitto: Mosquitto) -> None:
    """mosquitto ends the connection of a client that goes beyond."""
    with Proxy(mosquitto.port) as proxy:
        link = linked(proxy.url)
        link.start()
        online(link)
        proxy.delay(0.02)
        receipts = [link.publish(TOPICS.event("slot"), str(n).encode()) for n in range(100)]
        wait_until(lambda: all(r.delivery() is Delivery.ACKNOWLEDGED for r in receipts), "all acknowledged")
        assert link.connections == 1
        link.stop()


def test_a_broker_that_takes_hardly_anything_does_not_end_the_link() -> None:
    def answer(end: socket.socket, connect: bytes) -> None:
        end.sendall(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x20")
        while end.recv(4_096):
            pass

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}")
        link.start()
        online(link)
        assert link.publish(TOPICS.telemetry, b"x" * 100).delivery() is Delivery.REFUSED
        link.stop(0.1)


@pytest.mark.parametrize(("server_s", "pings_s"), [(0, 30), (3_600, 30), (10, 10)])
def test_the_broker_may_shorten_the_keep_alive_and_never_end_it(server_s: int, pings_s: int) -> None:
    def answer(end: socket.socket, connect: bytes) -> None:
        end.sendall(b"\x20\x06\x00\x00\x03\x13" + server_s.to_bytes(2, "big"))
        while end.recv(4_096):
            pass

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}")
        link.start()
        online(link)
        assert link._session is not None and link._session._client.keepalive == pings_s
        link.stop(0.1)


@pytest.mark.undocumented("large ones will do")
def test_what_is_larger_than_the_broker_takes_is_refused_and_holds_up_no_other(
    tmp_path: Path, program: Callable[[str, str], str]
) -> None:
    """The broker would end the connection for it, and each one after that."""
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path, "allow_anonymous true\nmax_packet_size 2000")
    made.start()
    link = linked(made.url)
    link.start()
    online(link)
    topic = TOPICS.event("slot")
    assert link.publish(topic, b"x" * 5_000).delivery() is Delivery.REFUSED
    room = 2_000 - HEAD_BYTES - len(topic)
    assert link.publish(topic, b"x" * (room + 1)).delivery() is Delivery.REFUSED
    receipts = [link.publish(topic, b"x" * room), link.publish(TOPICS.telemetry, b"y" * (room - 4))]
    wait_until(lambda: all(r.delivery() is Delivery.ACKNOWLEDGED for r in receipts), "the others arrive")
    assert link.connections == 1
    link.stop()
    made.stop()


@pytest.mark.parametrize("dialect", [Dialect.V311, Dialect.V5])
def test_two_devices_with_one_name_are_told_and_do_not_storm(mosquitto: Mosquitto, dialect: Dialect) -> None:
    """Each thinks the other away, once or twice; then both wait long."""
    settings = MqttSettings(mosquitto.url, "box", dialect=dialect, proof=Proof.ECHO)
    links = [MqttLink(settings, Stamp(TOPICS, session), chance=lambda: 0.5) for session in (7, 8)]
    for link in links:
        link.start()
        online(link)
    wait_until(lambda: Cause.TAKEN in [link.cause for link in links], "one of them knows")
    told = next(link for link in links if link.cause is Cause.TAKEN)
    assert "two devices have the same name" in told.problem and "[device] id" in told.problem
    time.sleep(2.0)
    assert sum(link.connections for link in links) <= 8
    for link in links:
        link.stop()


def _serve(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                try:
                    end, _ = server.accept()
                except TimeoutError:
                    continue
                with end:
                    end.settimeout(2.0)
                    try:
                        answer(end, end.recv(65_536))
                    except OSError:
                        continue

        thread = threading.Thread(target=run)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


served = contextmanager(_serve)
CONNACK_5 = b"\x20\x03\x00\x00\x00"


def _five(packet: bytes) -> bool:
    return packet[8:9] == b"\x05"


@pytest.mark.parametrize(
    ("packet", "cause", "words"),
    [
        (b"\xe0\x02\x87\x00", Cause.DENIED, "access list"),
        (b"\xe0\x02\x8e\x00", Cause.TAKEN, "two devices have the same name"),
        (b"\xe0\x02\x97\x00", Cause.BUSY, "Quota exceeded"),
        (b"\xe0\x02\x8b\x00", Cause.LOST, "shutting down"),
        (b"\xe0\x0b\x9d\x09\x1c\x00\x06other9", Cause.BUSY, "'other9'"),
        (b"\x32\xff\xff\xff\x7f", Cause.LOST, "packet of 268435455 bytes"),
        (b"\x34\x08\x00\x01a\x00\x01\x00hi", Cause.LOST, "QoS 2"),
        (b"\x30\x06\x00\x02\xff\xfe\x00x", Cause.LOST, ""),
        (b"\x30\x02\x00\x09", Cause.LOST, ""),
        (b"\x40\x01\x00", Cause.LOST, ""),
        (b"\x90\x02\x00\x01", Cause.LOST, ""),
        (b"\xf0\x00", Cause.LOST, ""),
        (b"\x00\x00", Cause.LOST, ""),
    ],
)
def test_how_a_connection_ends_says_how_long_to_wait(packet: bytes, cause: Cause, words: str) -> None:
    """What a broker may send at any time, sensible or not: the link notices that it is over, and goes on."""

    def answer(end: socket.socket, connect: bytes) -> None:
        end.sendall(CONNACK_5 + packet)
        time.sleep(0.1)

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", chance=lambda: 1.0)
        link.start()
        wait_until(lambda: link._failures, "the end")
        assert link.report().last_error and link.cause in (cause, Cause.NONE)
        assert words in link.report().last_error
        link.stop()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"\x20\x03\x00\x87\x00", Cause.DENIED),
        (b"\x20\x03\x00\x89\x00", Cause.BUSY),
        (b"\x20\x03\x00\x9c\x00", Cause.BUSY),
        (b"\x20\xff\xff\xff\x7f", Cause.SILENT),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Cause.SILENT),
        (b"\x20\x00", Cause.SILENT),
    ],
)
def test_how_a_connection_does_not_come_about(answer: bytes, cause: Cause) -> None:
    with served(lambda end, connect: end.sendall(answer)) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", chance=lambda: 1.0, connect_timeout_s=2.0)
        link.start()
        wait_until(lambda: link.state is LinkState.WAITING, "an end of the attempt")
        assert link.cause is cause, link.problem
        link.stop()


def test_a_broker_that_hangs_up_on_five_is_asked_in_the_older_dialect() -> None:
    def answer(end: socket.socket, connect: bytes) -> None:
        if not _five(connect):
            end.sendall(b"\x20\x02\x00\x00")
            while end.recv(4_096):
                pass

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}")
        link.start()
        online(link)
        assert link.report().protocol == "3.1.1"
        link.stop()


def test_the_next_node_is_tried_at_once_and_all_of_them_before_a_pause(mosquitto: Mosquitto) -> None:
    dead = tuple(f"mqtt://127.0.0.1:{free_port()}" for _ in range(2))
    waits: list[float] = []

    def chance() -> float:
        waits.append(0.0)
        return 0.0

    link = linked(dead[0], chance=chance, others=(dead[1], mosquitto.url))
    link.start()
    online(link)
    assert link._failures == 2 and link._dialer.rounds == 0
    assert link.report().address == f"127.0.0.1:{mosquitto.port}"
    link.stop()


def test_a_subscription_that_is_refused_is_told(tmp_path: Path, nats: LocalBroker) -> None:
    """nats-server refuses a filter that can not be; the echo's own refusal is told with the way out."""
    link = linked(nats.url, proof=Proof.ECHO)
    link.listen(("edge/v1/store/box/cmd/+",), lambda message: None, qos=0)
    link.start()
    online(link)
    link._filter_refused("edge/v1/store/box/cmd/+")
    assert "subscribe to 'edge/v1/store/box/cmd/+'" in link.problem
    link._filter_refused(link._receipts.filters[0])
    assert any('receipts = "broker"' in problem for problem in link.problems)
    link.stop()


@pytest.mark.undocumented("no command is one")
def test_a_hush_keeps_messages_away_for_a_while(mosquitto: Mosquitto) -> None:
    heard: list[bytes] = []
    now_s = [0.0]
    link = MqttLink(MqttSettings(mosquitto.url, "box"), Stamp(TOPICS, 1), clock=lambda: now_s[0])
    link.listen(("edge/v1/store/box/cmd/+",), lambda message: heard.append(message.payload), qos=0)
    link.start()
    online(link)
    sender = FiveReader(mosquitto.port)

    def sent(payload: bytes) -> bool:
        sender._client.publish("edge/v1/store/box/cmd/ping", payload, 1).wait_for_publish(5)
        return payload in heard

    wait_until(lambda: sent(b"before"), "a message")
    link.hush(60.0)
    time.sleep(0.3)
    assert not sent(b"while") and not sent(b"while")
    now_s[0] = 61.0
    wait_until(lambda: sent(b"after"), "a message again")
    assert b"while" not in heard
    sender.close()
    link.stop()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("refuses", [False, True], ids=["reconnects", "failed connects"])
def test_many_connections_leave_nothing_behind(refuses: bool) -> None:
    """Threads, files and objects after 90 connections are those after 20."""

    def answer(end: socket.socket, connect: bytes) -> None:
        if not refuses:
            end.sendall(b"\x20\x02\x00\x00")

    # What a coverage tool keeps of each thread is not the link's.
    rooms = {
        name for name in sys.modules if name.split(".")[0] in ("edge_runtime", "paho", "socket", "ssl", "threading")
    }
    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", chance=lambda: 0.0, dialect=Dialect.V311, proof=Proof.ECHO)
        link.start()
        counts: list[tuple[int, int, Counter[str]]] = []
        for number in (20, 90):
            wait_until(lambda number=number: link._failures >= number, f"{number} connections", 60)
            gc.collect()
            kinds = Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing).__module__ in rooms)
            counts.append((threading.active_count(), _open_files(), kinds))
        link.stop()
    (threads, files, kinds), (threads_after, files_after, kinds_after) = counts
    assert threads_after <= threads + 1 and files_after <= files + 4
    grown = {kind: n - kinds[kind] for kind, n in kinds_after.items() if n - kinds[kind] > 60}
    assert grown == {}
    assert kinds_after[Session.__name__] <= 3


def test_one_session_frees_its_sockets_without_the_collector(mosquitto: Mosquitto) -> None:
    gc.collect()
    gc.disable()
    try:
        link = linked(mosquitto.url, chance=lambda: 0.0)
        link.start()
        online(link)
        before = _open_files()
        for number in range(2, 12):
            link._session._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
            wait_until(lambda number=number: link.connections >= number, "online again")
        assert _open_files() <= before + 2
        link.stop()
    finally:
        gc.enable()


@pytest.mark.undocumented("a thousand thousand zeros")
def test_a_packet_as_large_as_allowed_is_read(mosquitto: Mosquitto) -> None:
    heard: list[int] = []
    link = linked(mosquitto.url, dialect=Dialect.V311)
    link.listen(("edge/v1/store/box/cmd/+",), lambda message: heard.append(len(message.payload)))
    link.start()
    online(link)
    sender = FiveReader(mosquitto.port)
    for size in (MAX_PACKET_BYTES - 100, MAX_PACKET_BYTES + 100):
        sender._client.publish("edge/v1/store/box/cmd/ping", bytes(size), 0)
    wait_until(lambda: heard and link._failures, "one is read, the other ends the connection")
    assert heard == [MAX_PACKET_BYTES - 100]
    assert "at most" in link.report().last_error
    sender.close()
    link.stop()


def test_publishing_while_the_session_goes_never_fails_but_in_its_receipt() -> None:
    """Other threads may hold a session that the link frees at that moment."""

    def answer(end: socket.socket, connect: bytes) -> None:
        end.sendall(b"\x20\x02\x00\x00")
        time.sleep(0.003)

    faults: list[BaseException | None] = []
    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", chance=lambda: 0.0, dialect=Dialect.V311)
        over = threading.Event()

        def publish() -> None:
            fault: BaseException | None = RuntimeError("it ended")
            try:
                while not over.is_set():
                    assert link.publish("a/b", b"x").delivery() in tuple(Delivery)
                    session = link._session
                    if session is not None:
                        session.subscribe((("a", 0),))
                        session.unsubscribe(("a",))
                fault = None
            finally:
                faults.append(fault)

        threads = [threading.Thread(target=publish) for _ in range(3)]
        for thread in (link, *threads):
            thread.start()
        wait_until(lambda: link._failures >= 15, "fifteen connections")
        over.set()
        for thread in threads:
            thread.join()
        link.stop()
    assert faults == [None, None, None]


def test_a_connection_that_never_lasts_names_what_may_be_the_reason() -> None:
    """Some brokers hang up on a subscription that they do not allow, without a word."""

    def answer(end: socket.socket, connect: bytes) -> None:
        end.sendall(b"\x20\x02\x00\x00")
        while packet := end.recv(4_096):
            if packet[0] == 0x82:
                return

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", chance=lambda: 0.0, dialect=Dialect.V311, proof=Proof.ECHO)
        link.start()
        wait_until(lambda: 'receipts = "broker"' in link.report().last_error, "the way out is named")
        link.stop()
        link = linked(f"mqtt://127.0.0.1:{port}", dialect=Dialect.V311, proof=Proof.BROKER)
        link.start()
        online(link)
        assert link.publish(TOPICS.event("slot"), b"").delivery() is Delivery.PENDING
        assert link.connections == 1
        link.stop()


def test_a_link_that_is_stopped_while_it_connects_is_never_born() -> None:
    received: list[bytes] = []

    def answer(end: socket.socket, connect: bytes) -> None:
        received.append(connect)
        time.sleep(0.5)
        end.sendall(b"\x20\x02\x00\x00")
        while piece := end.recv(4_096):
            received.append(piece)

    with served(answer) as port:
        link = linked(f"mqtt://127.0.0.1:{port}", dialect=Dialect.V311)
        link.start()
        wait_until(lambda: received, "it connects")
        link.stop(0.1)
        assert link.state is LinkState.STOPPED and link.problems == ()
        wait_until(lambda: link._thread is not None and not link._thread.is_alive(), "the end")
    assert not any(b"online" in piece for piece in received)
    assert link.state is LinkState.STOPPED
