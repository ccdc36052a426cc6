"""deploy/mosquitto and deploy/nats-cluster as `fleet init` and `fleet enrol` fill them: who can do what, and who can not."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_runtime.workshop.enrolment.begin import Plan, add_host, renew
from tests.fleet.brokers import wait_until
from tests.fleet.deployments import FleetFolder, Member, MosquittoFleet, NatsFleet

pytestmark = [
    pytest.mark.integration,
    pytest.mark.undocumented("what the brokers let through is asked, and the payloads say nothing"),
]
BASE = "edge/v1/lyon/till-3"
OTHER = "edge/v1/lyon/till-4"
Deployment = MosquittoFleet | NatsFleet


class Scene:
    """A fleet of two devices of a site and who looks after them."""

    def __init__(self, broker: Deployment, version: MQTTProtocolVersion) -> None:
        self.broker, self.version = broker, version
        self.places = {
            "device": broker.fleet.enrol("lyon/till-3", "canary"),
            "other": broker.fleet.enrol("lyon/till-4"),
            "collector": broker.fleet.enrol("_collector/warehouse"),
            "reader": broker.fleet.enrol("_reader/wall"),
            "operator": broker.fleet.folder / "clients/operator/operator",
        }
        self._connected: list[Member] = []

    def member(self, who: str, node: int = 0) -> Member:
        place = self.places.get(who)
        authority = self.broker.fleet.folder / "ca.crt"
        broker = self.broker.places[node % len(self.broker.places)]
        member = Member(broker, authority, place, f"{who}-{len(self._connected)}", self.version)
        self._connected.append(member)
        return member

    def close(self) -> None:
        while self._connected:
            self._connected.pop().close()


@pytest.fixture(scope="module", params=["mosquitto 3.1.1", "mosquitto 5", "nats 3.1.1"])
def served(
    request: pytest.FixtureRequest, program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("deployed")
    name, version = str(request.param).split()
    broker: Deployment = (
        MosquittoFleet(program("mosquitto", "mosquitto"), place) if name == "mosquitto" else NatsFleet(place)
    )
    scene = Scene(broker, MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311)
    broker.start()
    yield scene
    scene.close()
    broker.stop()


@pytest.fixture
def scene(served: Scene) -> Iterator[Scene]:
    yield served
    served.close()


def test_a_device_and_its_operator_hear_one_another(scene: Scene) -> None:
    operator, device = scene.member("operator", node=1), scene.member("device")
    assert operator.subscribe("edge/v1/#", 0)
    filters = (
        f"{BASE}/cmd/+",
        f"{BASE}/desired",
        f"{BASE}/event/+",
        "edge/v1/lyon/_all/cmd/+",
        "edge/v1/_group/canary/cmd/+",
    )
    assert all(device.subscribe(pattern, 0) for pattern in filters)
    told = {f"{BASE}/{end}" for end in ("availability", "event/slot", "resp/ping", "shelf/aisle-1", "diagnostics")}
    asked = {f"{BASE}/cmd/ping", f"{BASE}/desired", "edge/v1/lyon/_all/cmd/ping", "edge/v1/_group/canary/cmd/ping"}
    for topic in told:
        device.send(topic)
    for topic in asked:
        operator.send(topic)
    wait_until(lambda: told <= operator.topics(), "the operator hears the device")
    wait_until(lambda: asked <= device.topics(), "the device hears the operator")
    assert f"{BASE}/event/slot" in device.topics(), "a device must hear its own events: they are its receipts"


def test_a_device_can_not_read_what_is_not_for_it(scene: Scene) -> None:
    device, other = scene.member("device"), scene.member("other", node=2)
    operator = scene.member("operator")
    for pattern in (
        "#",
        "edge/v1/#",
        f"{OTHER}/#",
        f"{OTHER}/event/+",
        "edge/v1/_group/rest/cmd/+",
        "$SYS/#",
        "$MQTT/#",
        "$JS/#",
    ):
        device.subscribe(pattern, 0)
    # a NATS node closes the line of who asks for too much; the device then hears nothing at all
    other.send(f"{OTHER}/event/slot")
    operator.send(f"{OTHER}/cmd/ping")
    operator.send("edge/v1/_group/rest/cmd/ping")
    witness = scene.member("reader")
    assert witness.subscribe("edge/v1/#", 0)
    other.send(f"{OTHER}/event/last")
    wait_until(lambda: f"{OTHER}/event/last" in witness.topics(), "the reader hears the other device")
    assert not {topic for topic in device.topics() if not topic.startswith(BASE)}


def test_a_device_can_not_speak_for_another_nor_command(scene: Scene) -> None:
    device, reader = scene.member("device"), scene.member("reader", node=1)
    assert reader.subscribe("edge/v1/#", 0)
    forged = (
        f"{OTHER}/event/slot",
        f"{OTHER}/availability",
        f"{OTHER}/cmd/restart",
        f"{BASE}/cmd/restart",
        f"{BASE}/desired",
        f"{BASE}/ack",
        "edge/v1/lyon/_all/cmd/restart",
        "edge/v1/_group/canary/cmd/restart",
        "edge/v1/_rollout/r1",
    )
    for topic in forged:
        device.send(topic, retain=topic.endswith(("desired", "availability")))
    device.send(f"{BASE}/event/last")
    wait_until(lambda: f"{BASE}/event/last" in reader.topics(), "the reader hears the device")
    assert not reader.topics() & set(forged)
    if scene.version is MQTTProtocolVersion.MQTTv5:
        assert len(device.refused_sends) == len(forged), "MQTT 5 tells what was refused"


def test_a_reader_only_reads_and_a_collector_only_acknowledges(scene: Scene) -> None:
    reader, collector, operator = scene.member("reader"), scene.member("collector", node=1), scene.member("operator")
    device = scene.member("device", node=2)
    assert operator.subscribe("edge/v1/#", 0)
    assert device.subscribe(f"{BASE}/ack", 0)
    reader.send(f"{BASE}/cmd/restart")
    reader.send(f"{BASE}/ack")
    collector.send(f"{BASE}/cmd/restart", b"c")
    operator.send(f"{BASE}/event/slot", b"an operator is no device")
    collector.send(f"{BASE}/ack", b"collector")
    wait_until(lambda: (f"{BASE}/ack", b"collector", False) in operator.messages, "the acknowledgement")
    wait_until(lambda: device.messages, "the acknowledgement, at the device")
    assert operator.topics() == {f"{BASE}/ack"}
    assert [payload for _, payload, _ in device.messages] == [b"collector"]


def test_nobody_gets_in_without_a_certificate_of_the_fleet(scene: Scene, tmp_path: Path) -> None:
    assert not scene.member("nobody").admitted
    strangers = FleetFolder(tmp_path / "strangers", Plan("mosquitto", ("localhost",)))
    authority = scene.broker.fleet.folder / "ca.crt"
    forged = Member(scene.broker.places[0], authority, strangers.enrol("lyon/till-3"), "forged")
    assert not forged.admitted, "the same name, of another authority"
    server = Member(scene.broker.places[0], authority, _server_folder(scene), "server")
    assert not server.admitted, "a broker's certificate is no client's"


def test_plain_text_gets_no_answer(scene: Scene) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "plain", reconnect_on_failure=False)
    ended, answers = [], []
    client.on_disconnect = lambda *_: ended.append(1)
    client.on_connect = lambda *_: answers.append(1)
    client.connect(*scene.broker.places[0])
    client.loop_start()
    wait_until(lambda: ended, "the end of a plain connection")
    client.loop_stop()
    assert not answers


def test_the_broker_shows_a_certificate_of_the_fleet(scene: Scene) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(scene.broker.places[0]) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=scene.broker.places[0][0])


def test_a_packet_that_is_too_large_ends_the_line_and_nothing_else(scene: Scene) -> None:
    reader, device = scene.member("reader", node=1), scene.member("device")
    assert reader.subscribe("edge/v1/#", 0)
    device.start_sending(f"{BASE}/event/slot", b"x" * 1_200_000)
    wait_until(device.gone.is_set, "the broker ends the line")
    other = scene.member("other")
    other.send(f"{OTHER}/event/slot")
    wait_until(lambda: f"{OTHER}/event/slot" in reader.topics(), "the others go on")
    assert f"{BASE}/event/slot" not in reader.topics()


def test_revoked_is_refused_and_enrolled_anew_is_let_in(scene: Scene) -> None:
    fleet = scene.broker.fleet
    lost = fleet.enrol("lyon/till-9")
    scene.broker.refresh()
    authority, place = fleet.folder / "ca.crt", scene.broker.places[0]
    stolen = lost.with_name("stolen")
    lost.rename(stolen)
    thief = Member(place, authority, stolen, "thief")
    reader = scene.member("reader")
    assert thief.admitted
    assert reader.subscribe("edge/v1/lyon/till-9/#", 0)
    fleet.revoke("lyon/till-9")
    scene.broker.refresh()
    if isinstance(scene.broker, NatsFleet):
        wait_until(thief.gone.is_set, "NATS closes the line of who is revoked")
    else:
        thief.send("edge/v1/lyon/till-9/event/stolen")  # its line may last, and carries nothing
    for node in scene.broker.places:
        assert not Member(node, authority, stolen, "thief-2").admitted
    mended = fleet.enrol("lyon/till-9")
    scene.broker.refresh()
    device = Member(place, authority, mended, "device")
    assert device.admitted
    device.send("edge/v1/lyon/till-9/event/slot")
    wait_until(lambda: "edge/v1/lyon/till-9/event/slot" in reader.topics(), "the device that was enrolled anew")
    assert "edge/v1/lyon/till-9/event/stolen" not in reader.topics()
    for node in scene.broker.places:
        assert not Member(node, authority, stolen, "thief-3").admitted, "the old certificate of the same name"
    device.close()
    thief.close()


def test_a_broker_shows_its_new_certificate_after_a_reload(scene: Scene) -> None:
    fleet, place = scene.broker.fleet, scene.broker.places[0]
    device = scene.member("device")
    before = _shown(scene, place)
    renew(fleet.folder, None, time.time)
    scene.broker.refresh()
    assert _shown(scene, place) != before
    assert not device.gone.is_set(), "lines that are open stay"
    assert scene.member("operator").admitted, "with the new certificate"
    if isinstance(scene.broker, NatsFleet):
        scene.broker.cluster.wait_healthy()


def test_a_renewed_device_may_use_both_certificates(scene: Scene, tmp_path: Path) -> None:
    fleet = scene.broker.fleet
    first = fleet.enrol("lyon/till-8")
    old = tmp_path / "old"
    first.rename(old)
    second = fleet.enrol("lyon/till-8", renew=True)
    scene.broker.refresh()
    for place in (old, second):
        member = Member(scene.broker.places[0], fleet.folder / "ca.crt", place, "till-8")
        assert member.admitted
        member.close()


def test_a_fourth_node_joins_and_serves(tmp_path: Path) -> None:
    broker = NatsFleet(tmp_path)
    fleet = broker.fleet
    place = fleet.enrol("lyon/till-3")
    reader = fleet.enrol("_reader/wall")
    broker.start()
    try:
        add_host(fleet.folder, "127.0.0.4", None, time.time)
        node = broker.cluster.add_node("127.0.0.4")
        authority = fleet.folder / "ca.crt"
        listener = Member(broker.places[0], authority, reader, "reader")
        assert listener.subscribe("edge/v1/#")
        device = Member((node.host, node.mqtt), authority, place, "device")
        device.send(f"{BASE}/event/slot")
        wait_until(lambda: f"{BASE}/event/slot" in listener.topics(), "a message over the new node")
        device.close()
        listener.close()
    finally:
        broker.stop()


def test_a_device_can_not_pose_as_a_node(served: Scene) -> None:
    if not isinstance(served.broker, NatsFleet):
        return
    node = served.broker.cluster.nodes[0]
    context = ssl.create_default_context(cafile=served.broker.fleet.folder / "ca.crt")
    answers = {}
    for who, certificate in (("device", "device.crt"), ("node", "server.crt")):
        papers = served.places["device"] if who == "device" else served.broker.fleet.folder / "nats/node-2"
        context.load_cert_chain(papers / certificate, (papers / certificate).with_suffix(".key"))
        with (
            socket.create_connection((node.host, node.route)) as plain,
            context.wrap_socket(plain, server_hostname=node.host) as line,
        ):
            line.settimeout(5.0)
            line.sendall(
                b'CONNECT {"name":"x","cluster":"edge","tls_required":true}\r\nINFO {"server_id":"x"}\r\nPING\r\n'
            )
            answers[who] = _all_of(line)
    assert b"PONG" not in answers["device"]
    assert b"Authorization Violation" in answers["device"]
    assert b"Authorization Violation" not in answers["node"]


def _all_of(line: ssl.SSLSocket) -> bytes:
    heard = b""
    try:
        while block := line.recv(4_096):
            heard += block
            if b"PONG" in heard:
                break
    except OSError:
        pass
    return heard


def _shown(scene: Scene, place: tuple[str, int]) -> bytes | None:
    """The broker's certificate."""
    context = ssl.create_default_context(cafile=scene.broker.fleet.folder / "ca.crt")
    papers = scene.places["device"]
    context.load_cert_chain(papers / "device.crt", papers / "device.key")
    with socket.create_connection(place) as plain, context.wrap_socket(plain, server_hostname=place[0]) as line:
        return line.getpeercert(binary_form=True)


def _server_folder(scene: Scene) -> Path:
    folder = scene.broker.fleet.folder
    return folder / ("mosquitto" if isinstance(scene.broker, MosquittoFleet) else "nats/node-1")
