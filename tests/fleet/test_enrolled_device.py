"""From `fleet init` to `fleet send`: a real daemon with the folder that `fleet enrol` made, at the fleet's own brokers."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.assets import demo_layout
from edge_runtime.cli.main import main
from edge_runtime.workshop.enrolment.identity import parse
from edge_runtime.workshop.enrolment.members import Wanted, authority, enrol
from tests.fleet.brokers import wait_until
from tests.fleet.deployments import MosquittoFleet, NatsFleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(params=["mosquitto", "nats"])
def broker(
    request: pytest.FixtureRequest, program: Callable[[str, str], str], tmp_path: Path
) -> Iterator[MosquittoFleet | NatsFleet]:
    made = (
        MosquittoFleet(program("mosquitto", "mosquitto"), tmp_path)
        if request.param == "mosquitto"
        else NatsFleet(tmp_path)
    )
    made.fleet.enrol("lyon/till-3", "canary")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def daemon(broker: MosquittoFleet | NatsFleet, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    place = broker.fleet.folder / "devices/lyon/till-3"
    _at_the_tests_ports(broker, place / "device.toml")
    (place / "pictures").mkdir()
    shutil.copy(demo_layout().with_name("reference.jpg"), place / "pictures/0.jpg")
    with (place / "device.toml").open("a") as file:
        file.write(
            f'\n[[camera]]\nname = "aisle"\nsource = "pictures"\nlayout = "{demo_layout()}"\ninterval_s = 0.5\n'
            '[storage]\nstate_dir = "state"\n[view]\nenabled = false\n'
        )
    with (tmp_path / "daemon.log").open("wb") as log_to:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(place / "device.toml")],
            stdout=log_to, stderr=log_to, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def _at_the_tests_ports(broker: MosquittoFleet | NatsFleet, path: Path) -> None:
    """The nodes of the test have ports of their own; in the field all have one."""
    if isinstance(broker, NatsFleet):
        lines = path.read_text().splitlines()
        key = next(line.split(" = ")[0] for line in lines if line.startswith("url"))
        urls = f"{key} = {json.dumps(list(broker.cluster.urls))}"
        path.write_text("\n".join(urls if line.startswith("url") else line for line in lines) + "\n")


def test_the_operator_sees_the_device_and_commands_it(
    broker: MosquittoFleet | NatsFleet, daemon: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broker.fleet.folder.path
    if isinstance(broker, NatsFleet):
        _at_the_tests_ports(broker, folder / "fleet.toml")
    chosen = ("--fleet", str(folder), "--json")

    def listed() -> list[dict]:
        capsys.readouterr()
        main(["fleet", "ls", *chosen])
        return [record for line in capsys.readouterr().out.splitlines() if "device" in (record := json.loads(line))]

    wait_until(lambda: daemon.poll() is None and any(record.get("online") for record in listed()), "the device", 60)
    for target, verb in (("lyon/till-3", "ping"), ("_group/canary", "ping"), ("lyon/_all", "status")):
        capsys.readouterr()
        assert main(["fleet", "send", target, verb, *chosen]) == 0, capsys.readouterr()
    want = Wanted(parse("_operator/guest"))
    guest = enrol(broker.fleet.folder, [want], authority(broker.fleet.folder, None), time.time).folders
    broker.refresh()
    if isinstance(broker, NatsFleet):
        _at_the_tests_ports(broker, guest["_operator/guest"] / "fleet.toml")
    capsys.readouterr()
    told = main(
        ["fleet", "send", "lyon/till-3", "ping", "--fleet", str(guest["_operator/guest"]), "--json", "--wait", "8"]
    )
    assert told != 0, "the broker lets the new operator in, but the device does not know the key yet"
