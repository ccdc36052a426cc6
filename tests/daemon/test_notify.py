from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.run import Daemon
from tests.daemon.rig import MemoryClock, Rig, shelf_picture


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0.01)

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except TimeoutError:
                return found


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Listener, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@edge-test-{tmp_path.name}"
    listening = Listener(name if request.param == "path" else "\0" + name[1:])
    yield listening, name
    listening.socket.close()


def test_messages_are_systemds(listener: tuple[Listener, str]) -> None:
    systemd, address = listener
    notifier = Notifier(address)
    notifier.ready("two\nlines")
    notifier.status("fine")
    notifier.reloading()
    notifier.stopping()
    ready, status, reloading, stopping = systemd.heard()
    assert ready == "READY=1\nSTATUS=two lines"
    assert status == "STATUS=fine"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert stopping.startswith("STOPPING=1")


def test_the_watchdog_is_fed_four_times_in_its_time_at_most(listener: tuple[Listener, str]) -> None:
    systemd, address = listener
    clock = MemoryClock()
    notifier = Notifier(address, watchdog_s=40.0, clock=clock)
    for _ in range(80):
        notifier.progress()
        clock.now += 0.5
    assert systemd.heard() == ["WATCHDOG=1"] * 4


def test_without_a_watchdog_nothing_is_fed_and_without_systemd_nothing_is_said(listener: tuple[Listener, str]) -> None:
    systemd, address = listener
    Notifier(address).progress()
    Notifier(None, 30.0).progress()
    Notifier(f"{address}-not-there", 30.0).ready()
    assert systemd.heard() == []


def turned(rig: Rig, daemon: Daemon, systemd: Listener) -> bool:
    """One turn without a frame; whether the watchdog was fed."""
    rig.turns(daemon, 1)
    return "WATCHDOG=1" in systemd.heard()


def test_a_loop_whose_cameras_conclude_nothing_starves_the_watchdog(
    listener: tuple[Listener, str], tmp_path: Path
) -> None:
    systemd, address = listener
    rig = Rig(tmp_path / "rig")
    daemon = rig.daemon(Notifier(address, watchdog_s=4.0, clock=rig.clock))
    daemon.open()
    rig.turns(daemon, 3, shelf_picture())
    assert systemd.heard().count("WATCHDOG=1") == 3
    station = rig.roster.stations["a"]
    station.visit = lambda timeout_s=0.0: None  # type: ignore[method-assign]
    fed = [turned(rig, daemon, systemd) for _ in range(20)]
    assert fed[0] and not any(fed[10:])


def test_a_camera_that_is_away_does_not_starve_the_watchdog(listener: tuple[Listener, str], tmp_path: Path) -> None:
    systemd, address = listener
    rig = Rig(tmp_path / "rig")
    daemon = rig.daemon(Notifier(address, watchdog_s=4.0, clock=rig.clock))
    daemon.open()
    assert all(turned(rig, daemon, systemd) for _ in range(30))
