"""Fault 20: a broker acknowledges publishes and drops them, because its access list says so. A real mosquitto.

On MQTT 3.1.1 it can not say so, on 5 it does. Noticed within a bounded time (of the link's clock, which runs faster
here), told on the device with topic and mend; nothing durable is lost, and once the list is mended all arrives, once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet.brokers import Mosquitto, Reader, wait_until

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from edge_runtime.fleet.receipts import PROOF_S
from edge_runtime.fleet.settings import Dialect, MqttSettings, Proof
from edge_runtime.records import Event
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Health, Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.spool import Entry, Grade, SpoolCounts
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import Uplink, UplinkSettings

pytestmark = pytest.mark.integration
TOPICS = Topics("store", "box")
STAMP = Stamp(TOPICS, 9)
SLOT = TOPICS.event("slot")
FASTER = 20.0
EVENTS = 40
OPEN = "topic readwrite #\n"
OWN = ("availability", "status", "info", "telemetry", "event/#")


def without(*forbidden: str) -> str:
    """An access list on which all may be read, and the device may write all but this."""
    return "topic read #\n" + "".join(f"topic write {TOPICS.base}/{name}\n" for name in OWN if name not in forbidden)


def clock() -> float:
    return time.monotonic() * FASTER


def event(number: int) -> bytes:
    """As the device says it."""
    happened = Event(f"e{number}", "slot", "cam", 1_700_000_000.0, "a", "stocked", "empty", 0.9)
    return builders.bounded_event(builders.event(STAMP, number + 1, happened))


class Scene:
    """A device at a broker whose access list can be changed while it runs."""

    def __init__(self, folder: Path, mosquitto: str, dialect: Dialect, rules: str, proof: Proof = Proof.ECHO) -> None:
        self._acl = folder / "acl"
        self._acl.write_text(rules)
        self.broker = Mosquitto(mosquitto, folder, f"allow_anonymous true\nacl_file {self._acl}")
        self.broker.start()
        settings = MqttSettings(self.broker.url, "box", dialect=dialect, proof=proof)
        self.link = MqttLink(settings, STAMP, clock=clock)
        self.uplink = Uplink(self.link, SqliteSpool(folder / "spool.db", clock=clock), UplinkSettings(), clock=clock)
        self.reader = Reader(self.broker.port, f"{TOPICS.base}/#")
        self.link.start()
        self.uplink.start()

    def tell(self, count: int = EVENTS) -> None:
        """Numbered events, a status, and figures."""
        for n in range(count):
            self.uplink.offer(Entry(f"e{n}", Grade.EVENT, SLOT, event(n)))
        status = builders.status(STAMP, 1.0, 1, Health("ok"), 1.0, SpoolCounts())
        self.uplink.retain(TOPICS.status, encode(status))

    def told_about(self, topic: str) -> bool:
        return any(repr(topic) in problem and "Allow" in problem for problem in self.link.problems)

    def mend(self) -> None:
        self._acl.write_text(OPEN)
        self.broker.reload()

    def arrived(self) -> Counter[str]:
        return Counter(event["id"] for event in self.reader.of("event/slot"))

    def close(self) -> None:
        self.uplink.stop()
        self.link.stop()
        self.reader.close()
        self.broker.stop()


Make = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[Make]:
    made: list[Scene] = []

    def build(dialect: str, rules: str, proof: Proof = Proof.ECHO) -> Scene:
        made.append(Scene(tmp_path, program("mosquitto", "mosquitto"), Dialect(dialect), rules, proof))
        return made[-1]

    yield build
    for scene in made:
        scene.close()


@pytest.mark.parametrize(
    ("dialect", "forbidden"),
    [("3.1.1", ("event/#",)), ("3.1.1", OWN), ("5", OWN)],
    ids=["events-3.1.1", "everything-3.1.1", "everything-5"],
)
def test_events_that_are_dropped_are_noticed_kept_and_arrive_once_when_the_list_is_mended(
    make: Make, dialect: str, forbidden: tuple[str, ...]
) -> None:
    scene = make(dialect, without(*forbidden))
    scene.tell()
    began_s = clock()
    wait_until(lambda: scene.told_about(SLOT), "the device tells that its events are dropped")
    assert clock() - began_s < 6 * PROOF_S
    wait_until(lambda: scene.uplink.counts().spool.events == EVENTS, "all of them wait in the spool")
    assert scene.arrived() == {}
    if forbidden is OWN:
        wait_until(lambda: scene.told_about(TOPICS.status), "and its status")
        wait_until(lambda: scene.told_about(TOPICS.availability), "and its birth")
    scene.mend()
    wait_until(lambda: scene.uplink.counts().acknowledged == EVENTS, "every event is proven")
    wait_until(lambda: scene.uplink.counts().spool.events == 0, "the spool is empty")
    assert scene.uplink.counts().spool.dropped == {}
    assert set(scene.arrived()) == {f"e{n}" for n in range(EVENTS)}
    wait_until(lambda: not scene.link.problems, "the device has nothing to complain about")
    wait_until(lambda: scene.reader.of("status"), "the status that was dropped")
    assert scene.reader.of("availability")[-1]["state"] == "online"


@pytest.mark.parametrize("dialect", ["3.1.1", "5"])
def test_a_status_that_is_dropped_is_noticed_and_the_events_go_on(make: Make, dialect: str) -> None:
    scene = make(dialect, without("status"))
    scene.tell()
    wait_until(lambda: scene.uplink.counts().acknowledged == EVENTS, "every event is proven")
    wait_until(lambda: scene.told_about(TOPICS.status), "the device tells that its status is dropped")
    assert not scene.told_about(SLOT)
    scene.mend()
    wait_until(lambda: not scene.link.problems and scene.reader.of("status"), "the status arrives")


@pytest.mark.parametrize("dialect", ["3.1.1", "5"])
def test_figures_that_are_dropped_are_noticed(make: Make, dialect: str) -> None:
    scene = make(dialect, without("telemetry"))

    def said() -> bool:
        number = scene.uplink.counts().sent + 1
        figures = builders.m.TelemetryMessage(
            **STAMP.head(1.0), seq=number, id=f"t{number}", interval_s=1.0, rss_mb=1.0, cpu_s=0.1
        )
        entry = Entry(f"t{number}", Grade.TELEMETRY, TOPICS.telemetry, encode(figures))
        scene.uplink.offer(entry)
        time.sleep(0.2)
        return scene.told_about(TOPICS.telemetry)

    wait_until(said, "the device tells that its figures are dropped")


def test_a_list_that_forbids_only_to_read_back_is_told_and_the_way_out_is_named(make: Make) -> None:
    """The records arrive, but the device can not know: it says so, and tries at a low rate."""
    scene = make("3.1.1", f"topic write {TOPICS.base}/#\ntopic read {TOPICS.base}/status\n")
    scene.tell()
    wait_until(lambda: scene.told_about(SLOT), "the device tells that no proof comes")
    assert 'receipts = "broker"' in scene.link.problem
    wait_until(lambda: scene.uplink.counts().spool.events == EVENTS, "all of them wait in the spool")
    before, began_s = scene.uplink.counts().sent, clock()
    time.sleep(3.0)
    assert (scene.uplink.counts().sent - before) / (clock() - began_s) < 1.0, "messages a second"


@pytest.mark.parametrize("dialect", ["3.1.1", "5"])
def test_at_the_broker_s_word_only_what_mqtt_5_says_is_known(make: Make, dialect: str) -> None:
    """What `receipts = "broker"` means: on 3.1.1 the events are gone, and nobody knows."""
    scene = make(dialect, without("event/#"), Proof.BROKER)
    scene.tell()
    if dialect == "5":
        wait_until(lambda: scene.told_about(SLOT), "the broker said so")
        wait_until(lambda: scene.uplink.counts().spool.events == EVENTS, "all of them wait in the spool")
        scene.mend()
    wait_until(lambda: scene.uplink.counts().acknowledged == EVENTS, "acknowledged")
    assert len(scene.arrived()) == (EVENTS if dialect == "5" else 0)


class EchoForbidden(LocalBroker):
    """nats-server, which says so (SUBACK 0x80) where a subscription is not allowed."""

    def _config(self) -> str:
        denied = f'subscribe: {{ deny: ["{TOPICS.base.replace("/", ".")}.event.*"] }}'
        user = f"authorization {{ users: [ {{ user: box, password: right, permissions: {{ {denied} }} }} ] }}\n"
        return super()._config() + user


@pytest.mark.parametrize("proof", [Proof.ECHO, Proof.BROKER])
def test_a_subscription_that_the_broker_refuses_is_told_and_the_way_out_works(tmp_path: Path, proof: Proof) -> None:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    password = tmp_path / "password"
    password.write_text("right")
    with EchoForbidden(tmp_path / "nats") as broker:
        settings = MqttSettings(broker.url, "box", user="box", password_file=password, proof=proof)
        link = MqttLink(settings, STAMP, clock=clock)
        uplink = Uplink(link, SqliteSpool(tmp_path / "spool.db", clock=clock), clock=clock)
        link.start()
        uplink.start()
        for n in range(3):
            uplink.offer(Entry(f"e{n}", Grade.EVENT, SLOT, event(n)))
        if proof is Proof.ECHO:
            wait_until(lambda: link.problems, "the refused subscription")
            assert "does not let this device subscribe" in link.problem and 'receipts = "broker"' in link.problem
            wait_until(lambda: uplink.counts().sent >= 4, "it goes on trying")
            assert uplink.counts().acknowledged == 0
        else:
            wait_until(lambda: uplink.counts().acknowledged == 3, "the way out works")
            assert link.problems == ()
        uplink.stop()
        link.stop()
