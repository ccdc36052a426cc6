"""Fault 18: the connection flaps, is cut in the middle of a packet, swallows, hangs half-open. A slice of the campaign.

All of it, 200 flaps a scene: `python -m benchmarks.faults --only link_flaps`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet.brokers import wait_until

from benchmarks.faults.link_flaps import KINDS, SCENES, Scene, run
from benchmarks.faults.tcp_proxy import Proxy
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.backoff import Cause, delay_s
from edge_runtime.fleet.link import LinkState, MqttLink
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server, free_port
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics

pytestmark = pytest.mark.integration
TOPICS = Topics("store", "box")
FLAPS = 3
FAST = [kind for kind in KINDS if kind.name != "half-open"]


@pytest.fixture
def nats(tmp_path: Path) -> LocalBroker:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    return LocalBroker(tmp_path / "nats")


@pytest.mark.undocumented("the teller's records are numbers")
@pytest.mark.parametrize("kind", FAST, ids=[kind.name for kind in FAST])
def test_each_record_arrives_once_whatever_the_connection_does(
    kind: object, tmp_path: Path, nats: LocalBroker, program: Callable[[str, str], str]
) -> None:
    program("mosquitto", "mosquitto")
    scene: Scene = SCENES[(FAST.index(kind) + 1) % len(SCENES)]  # type: ignore[arg-type]
    row = run(scene, kind, FLAPS, tmp_path)  # type: ignore[arg-type]
    assert row.held == row.points == FLAPS, row.note


def test_a_half_open_connection_is_found_by_the_keep_alive(nats: LocalBroker) -> None:
    """The broker is gone and no packet says so: within two keep-alives the link knows, and comes back."""
    with nats, Proxy(nats.port) as proxy:
        link = MqttLink(MqttSettings(proxy.url, "box", keepalive_s=5), Stamp(TOPICS, 1), chance=lambda: 0.0)
        link.start()
        wait_until(lambda: link.connected, "online")
        proxy.half_open()
        wait_until(lambda: link.connections == 2, "online again")
        assert "Keep alive" in link.report().last_error
        link.stop()


def test_a_black_hole_is_told_from_a_broker_that_is_down(nats: LocalBroker) -> None:
    with nats, Proxy(nats.port) as proxy:
        proxy.black_hole(True)
        settings = MqttSettings(proxy.url, "box", connect_timeout_s=0.3)
        link = MqttLink(settings, Stamp(TOPICS, 1), chance=lambda: 0.001)
        link.start()
        wait_until(lambda: link.state is LinkState.WAITING and link.cause is Cause.SILENT, "silence")
        proxy.black_hole(False)
        wait_until(lambda: link.connected, "online")
        link.stop()


def test_the_waits_between_attempts_double_and_are_spread_by_chance() -> None:
    """The sequence of a device whose broker is down; and two devices do not share it."""

    def waits(seed: int) -> list[float]:
        chance = random.Random(seed).random
        return [delay_s(Cause.UNREACHABLE, attempt, chance) for attempt in range(1, 200)]

    first, second = waits(1), waits(2)
    assert max(first) <= 60.0 and max(first[:3]) <= 4.0
    assert sum(first[20:]) / len(first[20:]) == pytest.approx(30.0, rel=0.2), "full jitter: half the ceiling on average"
    assert sum(abs(a - b) > 1.0 for a, b in zip(first[20:], second[20:], strict=True)) > 150


def test_the_link_waits_by_the_cause_and_by_how_often_it_failed() -> None:
    asked: list[float] = []

    class Watched(MqttLink):
        def _pause_s(self) -> float:
            asked.append(super()._pause_s())
            return 0.0

    link = Watched(MqttSettings(f"mqtt://127.0.0.1:{free_port()}", "box"), Stamp(TOPICS, 1), chance=lambda: 1.0)
    link.start()
    wait_until(lambda: len(asked) >= 9, "nine attempts")
    link.stop()
    assert asked[:9] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
