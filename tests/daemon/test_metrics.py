"""`/metrics` of a real daemon over HTTP: what Prometheus' own library reads of it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.config import CameraConfig
from edge_runtime.daemon.meters import Meters
from edge_runtime.daemon.run import Daemon
from edge_runtime.pipeline import Observer
from edge_runtime.records import Layout
from edge_runtime.web.board import Board
from edge_runtime.web.server import ViewServer
from tests.daemon.rig import Report, Rig, Status, shelf_picture

GOOD = shelf_picture()


class WatchedRig(Rig):
    """A rig with a local page."""

    def __init__(self, folder: Path) -> None:
        self.board = Board("dev", "0")
        super().__init__(folder, ("a", "b"))

    def watchers(self, config: CameraConfig, layout: Layout) -> tuple[Observer, ...]:
        return (self.board.watch(config.name, layout, lambda: np.zeros((4, 2, 2, 3), np.uint8)),)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[WatchedRig, Daemon, ViewServer]]:
    rig = WatchedRig(tmp_path)
    daemon = rig.daemon()
    daemon.parts.meters = Meters(rig.board)
    server = ViewServer(rig.board)
    server.start()
    daemon.open()
    yield rig, daemon, server
    server.close()


def scrape(rig: WatchedRig, daemon: Daemon, server: ViewServer) -> dict[str, Any]:
    parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'edge-runtime[dev]'")
    assert daemon.parts.meters is not None
    rig.board.note(daemon.parts.meters.read(daemon))
    with urllib.request.urlopen(server.url + "metrics") as answer:
        return {family.name: family for family in parser.text_string_to_metric_families(answer.read().decode())}


def value(told: dict[str, Any], name: str, /, **labels: str) -> float:
    (found,) = [s for s in told[f"edge_runtime_{name}"].samples if labels.items() <= s.labels.items()]
    return float(found.value)


def test_a_device_at_work(device: tuple[WatchedRig, Daemon, ViewServer]) -> None:
    rig, daemon, server = device
    rig.turns(daemon, 5, GOOD)
    told = scrape(rig, daemon, server)
    assert value(told, "frames", camera="a") == 5
    assert value(told, "slots", camera="b", state="stocked") == 4
    assert value(told, "device_state", state="ok") == 1
    assert value(told, "camera_state", camera="a", state="ok") == 1
    assert value(told, "model_info", name="shelf-test", version="1.0.0") == 1
    assert value(told, "drift_state", camera="a", state="learning") == 1
    assert value(told, "link_state", state="off") == 1
    assert 1e6 < value(told, "resident_memory_bytes") < 4e9
    assert 0.5 < value(told, "estimated_accuracy_ratio", camera="a") <= 1.0


def test_a_lost_and_a_black_camera_are_told(device: tuple[WatchedRig, Daemon, ViewServer]) -> None:
    rig, daemon, server = device
    rig.turns(daemon, 3, GOOD)
    rig.cameras["b"].report = Report(Status.LOST, "no route to host")
    for _ in range(12):
        rig.clock.now += 5
        rig.cameras["a"].show(np.zeros_like(GOOD))
        daemon.turn()
    told = scrape(rig, daemon, server)
    assert value(told, "camera_state", camera="b", state="lost") == 1
    assert value(told, "frames_unusable", camera="a", reason="black") >= 10
    assert value(told, "problems") >= 1
    assert value(told, "device_state", state="degraded") == 1


def test_the_loop_reads_at_most_once_a_second(device: tuple[WatchedRig, Daemon, ViewServer]) -> None:
    rig, daemon, _ = device
    taken: list[object] = []
    rig.board.note = taken.append  # type: ignore[method-assign]
    for _ in range(50):
        assert daemon.parts.meters is not None
        daemon.parts.meters.attend(daemon)
    assert len(taken) <= 2


def test_a_model_that_was_taken_back_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, bundles=("good", "good"))
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 4, GOOD)
    before = daemon.health().models
    assert (before.rollbacks, before.last_rollback) == (0, None)
    daemon.change_model(lambda stations: daemon.deck.fall_back("it answers nothing", stations), "it answers nothing")
    rig.turns(daemon, 2, GOOD)
    models = daemon.health().models
    assert models.rollbacks == 1
    assert models.last_rollback is not None
    assert (models.last_rollback.version, models.last_rollback.reason) == ("1.1.0", "it answers nothing")
