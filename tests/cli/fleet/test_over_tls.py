"""The operator's verbs over the brokers that `fleet init` sets up: mosquitto and a NATS cluster, TLS, certificates, rules."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.fleet.brokers import wait_until
from tests.fleet.deployments import Member, MosquittoFleet, NatsFleet

from ..conftest import Run

pytestmark = pytest.mark.integration
BASE = "edge/v1/lyon/till-3"
MODEL = {"name": "shelf", "version": "1.0.0", "sha256": "ab" * 32, "phase": "committed"}
CLI = [sys.executable, "-m", "edge_runtime.cli", "fleet"]


class Till:
    """One device, by hand."""

    def __init__(self, member: Member) -> None:
        self.member = member
        assert member.subscribe(f"{BASE}/#", 0)
        self.tell("availability", "availability", state="online", reason="connected", connection=1)
        self.tell("info", "info", version="0.1.0", started_at=1.0, commands="signed", groups=["canary"])
        self.tell("status", "status", seq=1, state="ok", model=MODEL)

    def tell(self, topic: str, schema: str, /, retain: bool = True, **said: object) -> None:
        head = {
            "schema": f"edge/{schema}/1",
            "site": "lyon",
            "device": "till-3",
            "session": 1,
            "at": round(time.time(), 3),
        }
        self.member.send(f"{BASE}/{topic}", json.dumps(head | said).encode(), retain)

    def asked(self, topic: str) -> dict:
        """The newest payload of an envelope on a topic of its own."""
        found: list[bytes] = []

        def look() -> bool:
            found[:] = [payload for name, payload, *_ in self.member.messages if name == f"{BASE}/{topic}"]
            return bool(found)

        wait_until(look, topic, 60.0)
        return json.loads(base64.b64decode(json.loads(found[-1])["payload"]))


@pytest.fixture(scope="module", params=["mosquitto", "nats"])
def office(
    request: pytest.FixtureRequest, program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path, Till]]:
    """The operator's folder, a collector's folder, and a device."""
    place = tmp_path_factory.mktemp("office")
    nats = request.param == "nats"
    broker = NatsFleet(place) if nats else MosquittoFleet(program("mosquitto", "mosquitto"), place)
    device, collector = broker.fleet.enrol("lyon/till-3", "canary"), broker.fleet.enrol("_collector/lake")
    broker.start()
    urls = json.dumps([f"mqtts://{host}:{port}" for host, port in broker.places])
    for file in (broker.fleet.folder / "fleet.toml", collector / "fleet.toml"):
        file.write_text(re.sub(r"(?ms)^urls = \[.*?\]", f"urls = {urls}", file.read_text()))
    member = Member(broker.places[0], broker.fleet.folder / "ca.crt", device, "till-3", MQTTProtocolVersion.MQTTv311)
    yield broker.fleet.folder.path, collector, Till(member)
    member.close()
    broker.stop()


def test_an_operator_looks_asks_and_rolls_out(office: tuple[Path, Path, Till], run: Run) -> None:
    folder, _, till = office
    ran = run("fleet", "ls", "--fleet", folder, "--group", "canary", "--json")
    assert [line["device"] for line in ran.lines] == ["till-3"], ran.err

    sent = subprocess.Popen(
        [*CLI, "send", "lyon/till-3", "ping", "--fleet", str(folder)], stdout=subprocess.PIPE, text=True
    )
    asked = till.asked("cmd/ping")
    till.tell("resp/ping", "resp", retain=False, id=asked["id"], verb="ping", state="succeeded")
    assert "succeeded" in sent.communicate(timeout=60)[0]
    assert sent.returncode == 0

    off = [part for gate in ("accuracy_drop", "unknown_rise", "latency_rise") for part in ("--gate", f"{gate}=off")]
    plan = ["--model", "shelf", "--version", "1.1.0", "--rings", "100%", "--soak", "1", "--patience", "4", *off]
    rolled = subprocess.Popen(
        [*CLI, "rollout", "start", "one", *plan, "--fleet", str(folder), "--json"], stdout=subprocess.PIPE, text=True
    )
    wish = till.asked("desired")
    assert wish["rollout"] == "one"
    new = MODEL | {"version": wish["model"]["version"]}
    till.tell("reported", "reported", seq=wish["seq"], state="converged", model=new)
    last = json.loads(rolled.communicate(timeout=100)[0].splitlines()[-1])
    assert (rolled.returncode, last["phase"]) == (0, "completed")
    assert run("fleet", "rollout", "status", "one", "--fleet", folder).code == 0


def test_a_collector_may_collect_and_acknowledge_and_no_more(
    office: tuple[Path, Path, Till], run: Run, tmp_path: Path
) -> None:
    _, folder, till = office
    target = tmp_path / "events.jsonl"
    child = subprocess.Popen([*CLI, "collect", "--to", str(target), "--fleet", str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    till.tell("event/slot", "event", retain=False, seq=2, id="e-1", kind="slot")
    wait_until(lambda: f"{BASE}/ack" in till.member.topics(), "the device is told", 60.0)
    child.terminate()
    child.wait(20)
    assert [json.loads(line)["id"] for line in target.read_text().splitlines()] == ["e-1"]
    ran = run("fleet", "send", "lyon/till-3", "ping", "--fleet", folder)
    assert ran.code == 69
    assert "no key" in ran.err
