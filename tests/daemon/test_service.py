"""The daemon as a process: signals, systemd, a taken port, a missing broker, a crash."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import EXIT_TRY_AGAIN
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.records import State
from tests.daemon.device import Device
from tests.lifecycle.bundles import make_bundle

pytestmark = pytest.mark.integration


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with Device(tmp_path) as made:
        yield made


def test_from_start_to_sigterm_with_two_reloads(device: Device) -> None:
    device.start()
    record = device.until(lambda record: record.state == "ok")
    assert record.model is not None and record.model.version == "1.1.0"
    device.until(lambda record: "WATCHDOG=1" in device.messages)
    assert device.messages[0].startswith("READY=1")

    device.config.write_text("[device]\nid = dev\n")
    device.signal(signal.SIGHUP)
    record = device.until(lambda record: record.state == "degraded")
    assert "device.toml:2" in record.reasons[0] and record.device == "dev-1"
    device.until(lambda record: any(message.startswith("RELOADING=1") for message in device.messages))

    device.id = "dev-2"
    device.write_config()
    device.signal(signal.SIGHUP)
    device.until(lambda record: record.state == "ok" and record.device == "dev-2")
    device.until(lambda record: {slot.state for slot in record.cameras[0].slots} == {State.STOCKED})

    assert device.end() == 0
    assert device.systemd.heard()[-1].startswith("STOPPING=1")
    stopped = device.status()
    assert stopped is not None and stopped.state == "stopped"
    assert "Traceback" not in device.log.read_text()


def test_a_second_daemon_with_the_same_state_folder_does_not_start(device: Device) -> None:
    device.start()
    first = device.until(lambda record: record.state == "ok")
    command = [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(device.config)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == EXIT_TRY_AGAIN
    assert f"another daemon (process {first.pid}) works with" in second.stderr
    assert "End it first" in second.stderr and "Traceback" not in second.stderr
    device.signal(signal.SIGKILL)
    assert device.wait() == -signal.SIGKILL
    device.start()  # what was killed holds nothing up
    device.until(lambda record: record.state == "ok" and record.pid != first.pid)


def test_sigint_stops_it_as_well(device: Device) -> None:
    device.start()
    device.until(lambda record: True)
    device.signal(signal.SIGINT)
    assert device.wait() == 0


def test_a_taken_view_port_and_a_missing_broker_are_reported_and_the_slots_are_known(device: Device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        device.view = f"port = {taken.getsockname()[1]}"
        device.extra = f'[mqtt]\nurl = "mqtt://127.0.0.1:{reserved.getsockname()[1]}"\n'
        device.start()
        record = device.until(lambda record: len(record.reasons) == 2 and bool(record.cameras[0].slots))
        assert record.state == "degraded"
        assert [reason.split(":")[0] for reason in record.reasons] == ["view", "broker"]
        device.until(lambda record: {slot.state for slot in record.cameras[0].slots} == {State.STOCKED})
        assert device.end() == 0


def test_killed_without_warning_it_remembers_and_the_fourth_start_takes_the_previous_model(device: Device) -> None:
    versions = []
    for _ in range(4):
        device.start()
        record = device.until(lambda record: bool(record.cameras[0].slots))
        versions.append(record.model.version if record.model else "")
        device.signal(signal.SIGKILL)
        device.wait()
    assert versions == ["1.1.0"] * 3 + ["1.0.0"]


def test_fault_13_a_model_that_ends_the_process_after_some_frames_of_its_trial_gives_way_for_good(
    device: Device,
) -> None:
    """The process dies as by a crash in native code; healthy frames before it do not excuse the model."""
    store = ModelStore(device.state_dir, [])
    bundle = make_bundle(device.folder / "shelf-test-1.2.0.zip", "1.2.0")
    store.try_out(store.install(bundle, Origin("repository", 3, "tests")), "pilot")
    versions = []
    for _ in range(5):
        device.start()
        record = device.until(lambda record: bool(record.cameras[0].slots))
        time.sleep(0.5)  # some frames more
        versions.append(record.model.version if record.model else "")
        device.signal(signal.SIGKILL)
        device.wait()
    assert versions == ["1.2.0"] * 3 + ["1.1.0"] * 2
    assert [entry.status for entry in store.list() if entry.version == "1.2.0"] == ["quarantined"]


def test_a_camera_that_restarts_comes_back(device: Device) -> None:
    device.start()
    device.until(lambda record: record.state == "ok")
    device.camera.stop()
    device.until(lambda record: record.cameras[0].state in ("lost", "stalled"))
    device.camera.start()
    record = device.until(lambda record: record.state == "ok")
    assert record.cameras[0].reconnects >= 1


def test_a_bad_first_configuration_ends_with_its_faults(device: Device) -> None:
    device.extra = "[modle]\n"
    device.start()
    assert device.wait() != 0
    assert "Did you mean [model]?" in device.log.read_text()
