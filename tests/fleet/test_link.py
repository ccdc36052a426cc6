"""The link against real brokers: nats-server from pip and, where it is installed, mosquitto."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from telemetry import outcomes
from telemetry.asyncapi import check

from edge_runtime.errors import Unavailable
from edge_runtime.fleet import local_broker
from edge_runtime.fleet.backoff import Cause
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.commands import AcceptUnsigned, CommandGate
from edge_runtime.fleet.handlers import standard_handlers
from edge_runtime.fleet.link import LinkState, MqttLink
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server, free_port
from edge_runtime.fleet.settings import MqttSettings, Proof
from edge_runtime.records import Event, State
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Health, Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.observer import Telemetry
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import Uplink
from fleet.brokers import Mosquitto, Reader, wait_until

pytestmark = pytest.mark.integration
TOPICS = Topics("store", "box")
STAMP = Stamp(TOPICS, 9)


class Broker(Protocol):
    port: int
    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@pytest.fixture(params=["nats-server", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[Broker]:
    made: Broker
    made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path) if request.param == "mosquitto" else _nats(tmp_path)
    made.start()
    yield made
    made.stop()


def _nats(folder: Path, **options: str) -> LocalBroker:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    return LocalBroker(folder / "nats", **options)


def linked(url: str, **options: object) -> MqttLink:
    return MqttLink(MqttSettings(url, "box", **options), STAMP, chance=lambda: 0.05)  # type: ignore[arg-type]


def online(link: MqttLink) -> None:
    wait_until(lambda: link.connected, f"online; {link.problem}")


def delivered(link: MqttLink, topic: str, payload: bytes, retain: bool = False) -> Delivery:
    receipt = link.publish(topic, payload, 1, retain)
    wait_until(lambda: receipt.delivery() is not Delivery.PENDING, "a receipt")
    return receipt.delivery()


def test_birth_and_farewell_are_retained(broker: Broker) -> None:
    reader = Reader(broker.port)
    link = linked(broker.url)
    link.start()
    online(link)
    wait_until(lambda: reader.of("availability"), "the birth")
    link.stop()
    wait_until(lambda: len(reader.of("availability")) >= 2, "the farewell")
    late = Reader(broker.port, name="late")
    wait_until(lambda: late.of("availability"), "the retained farewell")
    assert late.messages[0][2]
    for topic, payload, _ in (*reader.messages, *late.messages):
        check(topic, payload)
    assert [(m["state"], m["reason"]) for m in reader.of("availability")] == [
        ("online", "connected"),
        ("offline", "stopped"),
    ]
    assert late.of("availability")[0]["session"] == 9
    reader.close()
    late.close()


DEVICE = """
import sys, time
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.settings import MqttSettings, Proof
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics
MqttLink(MqttSettings(sys.argv[1], "box"), Stamp(Topics("store", "box"), 3)).start()
time.sleep(60)
"""


def test_the_will_says_offline_when_the_device_is_killed(broker: Broker) -> None:
    reader = Reader(broker.port)
    device = subprocess.Popen([sys.executable, "-c", DEVICE, broker.url])
    try:
        wait_until(lambda: reader.of("availability"), "the birth")
        device.send_signal(signal.SIGKILL)
        wait_until(lambda: len(reader.of("availability")) == 2, "the will")
    finally:
        device.kill()
        device.wait()
    will = reader.of("availability")[1]
    assert (will["state"], will["reason"], will["session"], will["connection"]) == ("offline", "lost", 3, 1)
    reader.close()


def test_a_will_that_comes_late_does_not_stay_the_last_word(broker: Broker) -> None:
    """A half-open connection of this device ends at the broker when the next one stands already."""
    link = linked(broker.url, proof=Proof.ECHO)
    link.start()
    online(link)
    reader = Reader(broker.port)
    late = builders.availability(Stamp(TOPICS, 8), time.time(), 1, "offline", "lost")
    reader.send(TOPICS.availability, encode(late), retain=True)
    wait_until(
        lambda: reader.of("availability")[-1]["state"] == "online" and len(reader.of("availability")) > 2, "here"
    )
    link.stop()
    wait_until(lambda: reader.of("availability")[-1]["reason"] == "stopped", "the farewell is the last word")
    reader.close()


def test_state_is_retained_and_said_again_after_a_restart_of_the_broker(broker: Broker, tmp_path: Path) -> None:
    link = linked(broker.url)
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    telemetry = Telemetry(STAMP, uplink, ("cam",))
    link.start()
    uplink.start()
    telemetry.report_health(Health("ok", (), outcomes.MODEL))
    telemetry.observe(outcomes.usable({"a": State.STOCKED, "b": State.EMPTY}))
    wait_until(lambda: uplink.counts().retained == 2, "two retained states")
    reader = Reader(broker.port)
    wait_until(lambda: reader.of("status") and reader.of("shelf/cam"), "status and shelf")
    assert all(retained for _, _, retained in reader.messages)
    assert check(TOPICS.shelf("cam"), next(m[1] for m in reader.messages if m[0].endswith("shelf/cam")))["slots"]
    reader.close()
    broker.stop()
    broker.start()
    wait_until(lambda: uplink.counts().retained >= 4, "said again")
    uplink.stop()
    link.stop()


def test_every_event_arrives_once_after_deduplication_though_the_broker_dies_twice(
    broker: Broker, tmp_path: Path
) -> None:
    reader = Reader(broker.port, pattern=TOPICS.event("slot"))
    link = linked(broker.url)
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    link.start()
    uplink.start()
    given: list[str] = []

    def offer(n: int) -> None:
        for _ in range(n):
            key = f"e{len(given)}"
            payload = encode(builders.event(STAMP, len(given) + 1, outcomes.slot_event(key)))
            uplink.offer(Entry(key, Grade.EVENT, TOPICS.event("slot"), payload))
            given.append(key)
            time.sleep(0.002)

    for _ in range(2):
        offer(40)
        broker.kill()
        offer(20)
        broker.start()
        offer(20)
    wait_until(lambda: len({m["id"] for m in reader.of("slot")}) >= len(given), "every event")
    assert sorted({m["id"] for m in reader.of("slot")}) == sorted(given)
    wait_until(lambda: uplink.counts().acknowledged == len(given), "every acknowledgement")
    assert uplink.counts().spool.dropped == {}
    uplink.stop()
    link.stop()
    reader.close()


@pytest.mark.undocumented("one command is retained")
def test_a_command_goes_round(broker: Broker) -> None:
    link = linked(broker.url)
    handlers = standard_handlers(STAMP, link, None, None)
    queue = CommandQueue(CommandGate(TOPICS, frozenset(handlers), AcceptUnsigned()), STAMP, link, handlers)
    link.listen(TOPICS.command_filters, queue.arrived)
    link.start()
    online(link)
    reader = Reader(broker.port, pattern="edge/v1/store/box/resp/#")
    now = time.time()
    fields = {"verb": "ping", "issued_at": now, "expires_at": now + 60}

    def asked() -> bool:
        queue.drain()
        return len(reader.messages) >= 2

    own = {"id": "c-1", "audience": "store/box", "seq": 1, **fields}
    reader.send(TOPICS.command("ping"), json.dumps(own).encode())
    wait_until(asked, "two receipts")
    assert [m["state"] for m in reader.of("ping")] == ["accepted", "succeeded"]
    reader.messages.clear()
    everyone = {"id": "c-2", "audience": "store/_all", "seq": 1, **fields}
    reader.send("edge/v1/store/_all/cmd/ping", json.dumps(everyone).encode())
    wait_until(asked, "two receipts")
    assert [m["id"] for m in reader.of("ping")] == ["c-2", "c-2"]
    reader.messages.clear()
    reader.send(TOPICS.command("ping"), json.dumps({**own, "id": "c-3", "seq": 3}).encode(), retain=True)
    wait_until(asked, "two receipts of the first delivery")
    link.stop()
    again = linked(broker.url)
    again.listen(TOPICS.command_filters, queue.arrived)
    reader.messages.clear()
    queue_over_again = CommandQueue(CommandGate(TOPICS, frozenset(handlers), AcceptUnsigned()), STAMP, again, handlers)
    again.listen(TOPICS.command_filters, queue_over_again.arrived)
    again.start()
    wait_until(lambda: reader.messages, "a receipt of the retained one")
    assert [m["reason"] for m in reader.of("ping")] == ["retained"]
    assert queue_over_again.drain() == 0
    again.stop()
    reader.close()


@pytest.fixture(params=["nats-server", "mosquitto"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[Broker]:
    """A broker that wants the user `box` with the password `right`."""
    made: Broker
    if request.param == "mosquitto":
        passwords = tmp_path / "passwords"
        subprocess.run([program("mosquitto_passwd", "mosquitto"), "-c", "-b", passwords, "box", "right"], check=True)
        extra = f"allow_anonymous false\npassword_file {passwords}"
        made = Mosquitto(program("mosquitto", "mosquitto"), tmp_path, extra)
    else:
        made = _nats(tmp_path, user="box", password="right")
    made.start()
    yield made
    made.stop()


def test_a_wrong_password_is_named_and_does_not_hammer_the_broker(guarded: Broker, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    link = MqttLink(MqttSettings(guarded.url, "box", user="box", password_file=password), STAMP, chance=lambda: 0.02)
    link.start()
    wait_until(lambda: link.state is LinkState.WAITING, "refused")
    assert link.cause is Cause.DENIED
    assert "'box'" in link.problem and "password_file" in link.problem and "wrong" not in link.problem
    password.write_text("right\n")
    online(link)
    assert link.problem == ""
    link.stop()


def test_a_missing_password_file_is_named(guarded: Broker, tmp_path: Path) -> None:
    link = linked(guarded.url, user="box", password_file=tmp_path / "none")
    link.start()
    wait_until(lambda: link.state is LinkState.WAITING, "given up for now")
    assert link.cause is Cause.CREDENTIALS
    assert "none" in link.problem
    link.stop()


def test_a_start_without_a_broker_is_calm_and_connects_when_one_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local = _nats(tmp_path)
    local._port = free_port()
    link = linked(local.url)
    called: list[int] = []
    link.on_connect(lambda: called.append(link.connections))
    with caplog.at_level(logging.WARNING, logger="edge_runtime.fleet"):
        link.start()
        wait_until(lambda: link._failures >= 3, "three attempts")
        assert link.cause is Cause.UNREACHABLE
        assert link.publish("a/b", b"", 1, False).delivery() is Delivery.FAILED
        assert len(caplog.records) == 1
    with local:
        online(link)
        wait_until(lambda: called, "the callback")
        assert delivered(link, "a/b", b"x") is Delivery.ACKNOWLEDGED
        assert link.publish("a/#", b"", 1, False).delivery() is Delivery.REFUSED
        link.stop()
    assert called == [1]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "a..b"])
def test_a_host_that_does_not_exist_is_named_and_tried_again(host: str) -> None:
    link = linked(f"mqtt://{host}")
    link.start()
    wait_until(lambda: link._failures >= 2, "two attempts")
    assert link.cause is Cause.UNREACHABLE
    assert host in link.problem
    link.stop()


def test_something_that_is_no_broker_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = MqttSettings(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "box", connect_timeout_s=0.2)
        link = MqttLink(settings, STAMP, chance=lambda: 1.0)
        link.start()
        wait_until(lambda: link.state is LinkState.WAITING, "given up for now")
        assert link.cause is Cause.SILENT
        assert "does not answer as an MQTT broker" in link.problem
        link.stop()


def test_stop_ends_the_threads_it_started(broker: Broker) -> None:
    before = threading.active_count()
    link = linked(broker.url)
    link.start()
    online(link)
    link.stop()
    assert link.state is LinkState.STOPPED
    wait_until(lambda: threading.active_count() == before, "the threads are gone")


def test_stop_before_start_and_twice_is_fine() -> None:
    link = linked("mqtt://127.0.0.1:1")
    link.stop()
    link.stop()


def openssl(program: str, *args: object) -> None:
    subprocess.run([program, *map(str, args)], check=True, capture_output=True)


def certificates(program: str, folder: Path, name: str) -> None:
    """A certificate authority `name`, and certificates of a server and a client that it signed."""
    ca, ca_key = folder / f"{name}.pem", folder / f"{name}.key"
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(program, *new, "-x509", "-days", 2, "-subj", f"/CN={name}", "-keyout", ca_key, "-out", ca)
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        stem = folder / f"{name}-{who}"
        openssl(program, *new, "-subj", f"/CN={who}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
        signed = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", 2, "-extfile", names)
        openssl(program, "x509", "-req", "-in", f"{stem}.csr", *signed, "-out", f"{stem}.pem")


def test_tls_with_a_client_certificate_and_never_without_trust(
    tmp_path: Path, program: Callable[[str, str], str]
) -> None:
    for name in ("good", "evil"):
        certificates(program("openssl", "openssl"), tmp_path, name)
    listener = (
        f"cafile {tmp_path}/good.pem\ncertfile {tmp_path}/good-server.pem\nkeyfile {tmp_path}/good-server.key\n"
        "require_certificate true"
    )
    mosquitto = Mosquitto(program("mosquitto", "mosquitto"), tmp_path, listener=listener)
    mosquitto.start()
    url = mosquitto.url.replace("mqtt:", "mqtts:")
    mine = {"cert_file": tmp_path / "good-client.pem", "key_file": tmp_path / "good-client.key"}
    try:
        for options, cause in (
            ({"ca_file": tmp_path / "good.pem", **mine}, Cause.NONE),
            ({"ca_file": tmp_path / "evil.pem", **mine}, Cause.TLS),
            ({**mine}, Cause.TLS),
            ({"ca_file": tmp_path / "absent.pem", **mine}, Cause.CREDENTIALS),
        ):
            link = linked(url, **options)
            link.start()
            wait_until(lambda: link.state in (LinkState.ONLINE, LinkState.WAITING), "an end")  # noqa: B023
            assert link.cause is cause, link.problem
            link.stop()
        plain = linked(mosquitto.url)
        plain.start()
        wait_until(lambda: plain.state is LinkState.WAITING, "refused")
        assert not plain.connected
        plain.stop()
    finally:
        mosquitto.stop()


def test_a_missing_nats_server_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none_listed(name: str) -> None:
        raise local_broker.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(local_broker.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(local_broker.metadata, "files", none_listed)
    monkeypatch.setattr(local_broker.shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match=r"edge-runtime\[demo\]"):
        find_nats_server()


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    _nats(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        local = LocalBroker(tmp_path / "nats", port=busy.getsockname()[1])
        with pytest.raises(Unavailable, match="port"):
            local.start()
        with pytest.raises(Unavailable):
            _ = local.pid


def test_the_shelf_of_a_camera_that_is_no_more_is_cleared_once(broker: Broker) -> None:
    reader = Reader(broker.port)
    for topic in (TOPICS.shelf("old"), TOPICS.shelf("cam"), "edge/v1/store/other/shelf/old"):
        reader.send(topic, encode(builders.shelf(STAMP, 1, outcomes.usable({"a": State.STOCKED}))), retain=True)
    link = linked(broker.url, proof=Proof.ECHO)
    link.tidy(f"{TOPICS.base}/shelf/", {TOPICS.shelf("cam")})
    link.start()
    wait_until(lambda: any(payload == b"" for _, payload, _ in reader.messages), "it is cleared")
    link.stop()
    late = Reader(broker.port, name="late")
    wait_until(
        lambda: late.of("shelf/cam") and late.of("other/shelf/old") and late.of("availability"), "what is retained"
    )
    assert sorted(topic for topic, _, _ in late.messages if "/shelf/" in topic) == [
        "edge/v1/store/box/shelf/cam",
        "edge/v1/store/other/shelf/old",
    ]
    assert [topic for topic, payload, _ in reader.messages if payload == b""] == [TOPICS.shelf("old")]
    reader.close()
    late.close()


def test_state_is_said_before_the_backlog_and_the_birth_before_all(broker: Broker, tmp_path: Path) -> None:
    """A reader that comes back with the device sees first that it is there, then how it is, then what happened."""
    link = linked(broker.url, proof=Proof.ECHO)
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    telemetry = Telemetry(STAMP, uplink, ("cam",))
    uplink.start()
    telemetry.report_info({}, {}, "off")
    telemetry.report_health(Health("ok", (), outcomes.MODEL))
    telemetry.observe(outcomes.usable({"a": State.STOCKED, "b": State.EMPTY}))
    for number in range(5):
        telemetry.report_event(Event(f"e{number}", "slot", "cam", 1_700_000_000.0, "a", "stocked", "empty", 0.9))
    wait_until(lambda: uplink.counts().spool.events == 5, "the events wait")
    reader = Reader(broker.port)
    link.start()
    wait_until(lambda: uplink.counts().acknowledged == 5, "all is proven")
    kinds = list(dict.fromkeys(topic.split("/")[4] for topic, _, _ in reader.messages))
    assert kinds[0] == "availability" and kinds[1] == "status" and kinds[-1] == "event"
    assert set(kinds[2:-1]) == {"info", "shelf"}
    uplink.stop()
    link.stop()
    reader.close()
