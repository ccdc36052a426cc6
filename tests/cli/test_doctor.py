from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_runtime.cli import checks
from edge_runtime.config import MqttConfig

from .conftest import Run, Site

CONFIG = """
[device]
id = "bay-7"
site = "store-1"
[[camera]]
name = "aisle-1"
source = "{source}"
layout = "{layout}"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
"""


@pytest.fixture
def verdicts(run: Run, site: Site, tmp_path: Path) -> Mapping[str, Mapping[str, str]]:
    """What the doctor says of a device with a camera that works and a broker that is away."""
    config = tmp_path / "device.toml"
    config.write_text(CONFIG.format(source=site.full, layout=site.layout, port=9))
    ran = run("doctor", "--config", config, "--json")
    assert ran.code == 1
    assert all(list(line) == ["check", "verdict", "found", "mend"] for line in ran.lines)
    return {line["check"]: line for line in ran.lines}


def test_the_installation_is_fine_and_the_faults_are_named(verdicts: Mapping[str, Mapping[str, str]]) -> None:
    for name in ("machine", "clock", "cv2", "providers", "numpy", "config", "camera aisle-1"):
        assert verdicts[name]["verdict"] == "ok", verdicts[name]
    assert "960x720" in verdicts["camera aisle-1"]["found"]
    assert verdicts["broker"]["verdict"] == "fail"
    assert "[mqtt] url" in verdicts["broker"]["mend"]


def test_a_person_sees_the_mend_under_the_fault(run: Run, tmp_path: Path) -> None:
    ran = run("doctor", "--config", tmp_path / "none.toml")
    assert ran.code == 1
    assert "fail  config" in ran.out
    assert "-> Make one with `edge-runtime config init`" in ran.out


def test_offline_contacts_nobody(run: Run, site: Site, tmp_path: Path) -> None:
    config = tmp_path / "device.toml"
    config.write_text(CONFIG.format(source="http://127.0.0.1:9/a.mjpg", layout=site.layout, port=9))
    names = {line["check"] for line in run("doctor", "--config", config, "--offline", "--json").lines}
    assert "broker" not in names
    assert "camera aisle-1" not in names


def test_a_broker_that_answers() -> None:
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen()
        found = checks.broker(MqttConfig((f"mqtt://127.0.0.1:{broker.getsockname()[1]}",)))
    assert found.verdict == "ok"
    assert checks.broker(None).verdict == "ok"


def test_a_state_folder_that_is_yet_to_be_made_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    assert checks.disk(tmp_path / "a" / "b").verdict in ("ok", "warn")


def test_a_state_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    found = checks.disk(tmp_path / "state")
    assert found.verdict == "warn"
    assert "is no folder that this user can write" in found.found
