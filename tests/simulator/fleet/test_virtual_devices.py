"""Virtual devices on a real broker: births, state, desired state to its end, commands, troubles, whole processes."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from edge_runtime.cli.main import main
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.desired import Desired, DesiredModel, OpenUnsigned, encode_desired
from edge_runtime.fleet.local_broker import LocalBroker
from edge_runtime.fleet.operator.connection import Connection, Reach
from edge_runtime.fleet.settings import parse_url
from edge_runtime.fleet.swarm import Swarm
from edge_runtime.simulator.fleet.device import VirtualDevice
from edge_runtime.simulator.fleet.models import VirtualModels
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.simulator.fleet.run import Fleet
from edge_runtime.telemetry import messages as m


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    try:
        with LocalBroker(tmp_path_factory.mktemp("broker")) as found:
            yield found
    except Unavailable as fault:
        pytest.skip(str(fault))


@dataclass
class Watch:
    """A reader of everything, and the swarm it reads."""

    plan: FleetPlan
    connection: Connection
    swarm: Swarm = field(default_factory=lambda: Swarm(random.Random(1).random))
    last: dict[str, m.Message] = field(default_factory=dict)
    heard: list[m.Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        nodes = [parse_url(url) for url in self.plan.urls]
        self.devices = [
            VirtualDevice(self.plan, number, self.swarm, nodes, OpenUnsigned()) for number in range(self.plan.devices)
        ]
        for device in self.devices:
            device.begin()

    def until(self, holds: Callable[[], bool], limit_s: float = 30.0) -> None:
        ends_s = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < ends_s, {topic: type(said).__name__ for topic, said in self.last.items()}
            self.swarm.turn(0.02)
            for message in self.connection.drain(0.0):
                if message.payload and not message.topic.endswith("/desired") and "/cmd/" not in message.topic:
                    self.last[message.topic] = m.decode(message.payload)
                    self.heard.append(self.last[message.topic])

    def wish(self, seq: int, version: str, number: int = 0) -> None:
        topics = self.plan.topics(number)
        desired = Desired(
            audience=f"{topics.site}/{topics.device}",
            seq=seq,
            issued_at=1.0,
            model=DesiredModel(name="shelf", version=version),
        )
        self.connection.publish(topics.desired, encode_desired(desired), 1, True)

    def reported(self, number: int = 0) -> m.Reported | None:
        found = self.last.get(self.plan.topics(number).reported)
        return found if isinstance(found, m.Reported) else None

    def ends(self, seq: int, state: str, number: int = 0) -> m.Reported:
        def there() -> bool:
            found = self.reported(number)
            return found is not None and (found.seq, found.state) == (seq, state)

        self.until(there)
        found = self.reported(number)
        assert found is not None
        return found


@pytest.fixture
def watch(broker: LocalBroker, request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Quick devices; what is more or other comes as a parameter."""
    name = f"t{abs(hash(request.node.name)) % 10_000}"
    quick = {"devices": 3, "spread_s": 0.2, "telemetry_s": 0.5, "event_s": 1.0, "shadow_s": 0.2, "trial_s": 0.5}
    plan = msgspec.convert(
        {"urls": (broker.url,), "site": name, "download_s": 0.1} | quick | getattr(request, "param", {}), FleetPlan
    )
    with Connection(Reach((broker.url,)), "test", ((f"edge/v1/{name}000/#", 1),)) as connection:
        found = Watch(plan, connection)
        yield found
        for device in found.devices:
            device.link.drop()
        found.swarm.close()


def test_devices_are_born_and_say_what_a_device_says(watch: Watch) -> None:
    topics = watch.plan.topics(2)
    wanted = (topics.availability, topics.info, topics.status, topics.shelf("aisle"), topics.reported, topics.telemetry)
    watch.until(lambda: all(topic in watch.last for topic in wanted))
    watch.until(lambda: all(device.settled for device in watch.devices))
    watch.until(lambda: any(isinstance(said, m.EventMessage) for said in watch.heard))
    birth, status = watch.last[topics.availability], watch.last[topics.status]
    assert isinstance(birth, m.Availability) and birth.state == "online"
    info = watch.last[topics.info]
    assert isinstance(info, m.Info) and info.cameras["aisle"].slots == 24
    assert isinstance(status, m.Status) and status.model is not None and status.model.version == "1.0.0"


@pytest.mark.parametrize("watch", [{"devices": 1, "telemetry_s": 1e6, "event_s": 2.0}], indirect=True)
def test_what_is_delivered_waits_no_longer_and_what_an_outage_holds_back_does(watch: Watch) -> None:
    (device,) = watch.devices
    watch.until(lambda: any(isinstance(said, m.EventMessage) for said in watch.heard))
    watch.until(lambda: device.waiting == 0)
    assert device.oldest_s == 0.0 and "connected to node 1" in device.waits_for
    device.link.drop()
    watch.until(lambda: device.waiting > 0 and device.oldest_s > 0.0)
    assert "not connected" in device.waits_for
    device.link.enter()
    watch.until(lambda: device.waiting == 0 and device.settled)


def test_a_wish_goes_through_download_shadow_and_trial_to_its_end(watch: Watch) -> None:
    watch.until(lambda: watch.reported() is not None)
    watch.wish(10, "1.1.0")
    done = watch.ends(10, "converged")
    assert done.model is not None and (done.model.version, done.model.phase) == ("1.1.0", "committed")
    reasons = {said.reason for said in watch.heard if isinstance(said, m.Reported) and said.seq == 10}
    assert {"installing", "trial"} <= reasons
    watch.wish(11, "1.0.0")
    back = watch.ends(11, "converged")
    assert back.model is not None and back.model.version == "1.0.0"


@pytest.mark.parametrize("watch", [{"bad": ("6.6.6",), "guard": 1.0}], indirect=True)
def test_a_bad_model_is_taken_out_by_the_device_itself(watch: Watch) -> None:
    watch.until(lambda: watch.reported() is not None)
    watch.wish(10, "6.6.6")
    failed = watch.ends(10, "failed")
    assert failed.reason == "quarantined" and "unknown on 22%" in failed.detail
    assert failed.model is not None and failed.model.version == "1.0.0"
    watch.wish(11, "1.0.0")
    watch.ends(11, "converged")


@pytest.mark.parametrize("watch", [{"bad": ("6.6.6",), "guard": 0.0}], indirect=True)
def test_a_bad_model_that_the_guard_lets_in_shows_in_the_figures(watch: Watch) -> None:
    watch.until(lambda: watch.reported() is not None)
    watch.wish(10, "6.6.6")
    watch.ends(10, "converged")

    def worse() -> bool:
        said = watch.last.get(watch.plan.topics(0).telemetry)
        if not isinstance(said, m.TelemetryMessage) or said.model != "shelf-6.6.6":
            return False
        figures = said.cameras["aisle"]
        return (figures.estimated_accuracy or 1.0) < 0.8 and (figures.unknown_share or 0.0) > 0.15

    watch.until(worse)


@pytest.mark.parametrize("watch", [{"trouble": 1.0, "devices": 30, "trouble_s": 3.0}], indirect=True)
def test_devices_with_troubles_crash_vanish_and_refuse(watch: Watch) -> None:
    fortunes = {device.fortune for device in watch.devices}
    assert {"crashes", "refuses"} <= fortunes
    crashing = next(n for n, device in enumerate(watch.devices) if device.fortune == "crashes")
    refusing = next(n for n, device in enumerate(watch.devices) if device.fortune == "refuses")
    watch.until(lambda: watch.reported(refusing) is not None)
    watch.wish(10, "1.1.0", refusing)
    assert "no model repository" in watch.ends(10, "failed", refusing).detail
    availability = watch.plan.topics(crashing).availability

    def lost() -> bool:
        said = watch.last.get(availability)
        return isinstance(said, m.Availability) and said.reason == "lost"

    watch.until(lost)


def test_a_device_answers_a_command_with_receipts(watch: Watch) -> None:
    watch.until(lambda: watch.devices[0].settled)
    topics, now = watch.plan.topics(0), time.time()
    command = {
        "id": "c-1", "verb": "ping", "audience": f"{topics.site}/{topics.device}", "seq": int(now * 1000),
        "issued_at": now, "expires_at": now + 60, "reply_to": "", "args": {},
    }  # fmt: skip
    watch.connection.publish(topics.command("ping"), msgspec.json.encode(command), 1, False)

    def answered() -> bool:
        said = watch.last.get(topics.response("ping"))
        return isinstance(said, m.Response) and said.state == "succeeded"

    watch.until(answered)


def test_the_same_plan_makes_the_same_fleet() -> None:
    plan = FleetPlan(urls=("mqtt://h",), devices=200, canary=10, trouble=0.2, site_size=50)
    assert sum(plan.is_canary(n) for n in range(200)) == 10
    assert [plan.fortune(n) for n in range(200)] == [plan.fortune(n) for n in range(200)]
    assert 20 <= sum(plan.fortune(n) != "sound" for n in range(200)) <= 60
    assert plan.topics(199).base == "edge/v1/v003/d00199"


def test_a_person_can_take_the_current_model_back_once() -> None:
    plan = FleetPlan(urls=("mqtt://h",))
    models = VirtualModels(plan, random.Random(1))
    model = models.install(DesiredModel(name="shelf", version="1.1.0"))
    models.activate(model.sha256, 0.0, 1.0, "by hand", 0.0)
    assert models.running.version == "1.1.0" and models.advance(0.5) is None
    changed = models.advance(5.0)
    assert changed is not None and changed.phase == "committed"
    assert models.take_out("worse").version == "1.0.0"


def test_processes_share_a_fleet_and_say_goodbye(broker: LocalBroker) -> None:
    plan = FleetPlan(urls=(broker.url,), devices=9, site="p", spread_s=0.2, telemetry_s=1.0)
    with Fleet(plan, processes=2) as fleet:
        fleet.until(lambda figures: figures.settled == 9, 30.0)
        assert len(fleet.pids) == 2 and fleet.figures.models == {"1.0.0": 9}
        last = fleet.stop()
    assert last.connected == 0 and last.counts["births"] == 9


def test_the_command_prints_figures(broker: LocalBroker, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["simulator", "fleet", "--url", broker.url, "--devices", "4", "--spread", "0.1", "--json", "--duration"]
    for seconds in ("2", "10", "30"):  # a busy machine needs longer to start a process
        code = main([*words, seconds])
        last = msgspec.json.decode(capfd.readouterr().out.splitlines()[-1])
        if last["connected"]:
            break
    assert code == 0 and last["connected"] == 4 and last["rss_mb"] > 0


def test_what_can_be_no_fleet_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulator", "fleet", "--url", "mqtt://127.0.0.1:1", "--devices", "0"]) == 2
    assert "devices" in capsys.readouterr().err


def test_a_fleet_needs_no_camera_and_no_model_runtime(broker: LocalBroker, tmp_path: Path) -> None:
    import subprocess

    program = "import sys, edge_runtime.simulator.fleet.share; print([n for n in ('cv2','onnxruntime','tuf','sqlite3') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
