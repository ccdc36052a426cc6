"""The fleet of the README, in the README's order: a real mosquitto from the operator's folder, a real daemon."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.assets import demo_layout
from tests.fleet.brokers import wait_until
from tests.fleet.deployments import MosquittoFleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[1]
DEVICE = """
[[camera]]
name = "aisle-1"
source = "pictures"
layout = "{layout}"
interval_s = 0.5
[storage]
state_dir = "state"
[view]
enabled = false
"""


def commands() -> list[list[str]]:
    """The lines of the README's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]


def call(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_runtime.cli", *words[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90)


def run_device(place: Path) -> subprocess.Popen[bytes]:
    (place / "pictures").mkdir()
    for number in range(400):  # a camera that does not run dry
        shutil.copy(demo_layout().with_name("reference.jpg"), place / f"pictures/{number:03}.jpg")
    with (place / "device.toml").open("a") as file:
        file.write(DEVICE.format(layout=demo_layout()))
    command = [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(place / "device.toml")]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def test_the_fleet_of_the_readme(program: Callable[[str, str], str], tmp_path: Path) -> None:
    broker = MosquittoFleet(program("mosquitto", "mosquitto"), tmp_path)
    init, enrol, *asked = commands()
    init[-1:] = ["localhost", "--port", str(broker.places[0][1])]
    for words in (init, enrol):
        done = call(words, tmp_path)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    broker.start()
    daemon = run_device(tmp_path / "fleet/devices/store-042/bay-7")
    try:
        ping = ["edge-runtime", "fleet", "send", "store-042/bay-7", "ping", "--wait", "10"]
        wait_until(lambda: daemon.poll() is None and call(ping, tmp_path).returncode == 0, "the device answers", 60)
        assert asked
        for words in asked:
            done = call(words, tmp_path)
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
        broker.stop()
