"""Fault 25: a node of the cluster is killed, all are killed; and one mosquitto, which loses what it had in memory.

Full campaigns: benchmarks/faults/cluster_kills.py and broker_kills.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults import broker_kills
from benchmarks.faults.cluster_kills import kill_all, kill_one, perform, perform_away, until
from benchmarks.fleet.cluster import LocalCluster

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.undocumented("the teller's records are numbers, no messages of a device"),
]
EVENTS = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def test_a_node_is_killed_and_everybody_goes_to_another(cluster: LocalCluster, tmp_path: Path) -> None:
    verdict, connections = perform(cluster, tmp_path / "one", kill_one, "echo", EVENTS, 2.0)
    assert verdict.held, verdict
    assert verdict.taken == EVENTS
    assert connections >= 2, "the reader was on the node that was killed"


def test_all_nodes_are_killed_and_nothing_acknowledged_is_lost(cluster: LocalCluster, tmp_path: Path) -> None:
    _publish(cluster.ports[0], "edge/v1/store/box/status", b'{"kept":1}')
    verdict, _ = perform(cluster, tmp_path / "all", kill_all, "broker", EVENTS, 2.0)
    assert verdict.held, verdict
    assert verdict.taken == EVENTS
    assert _retained(cluster.ports[2], "edge/v1/store/box/status") == b'{"kept":1}'


def test_all_nodes_are_killed_while_the_reader_is_away(cluster: LocalCluster, tmp_path: Path) -> None:
    verdict = perform_away(cluster, tmp_path / "away", "broker", EVENTS, 2.0)
    assert verdict.held, verdict
    assert verdict.taken == EVENTS


def test_mosquitto_forgets_what_it_acknowledged_and_a_collector_makes_up_for_it(
    program: Callable[[str, str], str], tmp_path: Path
) -> None:
    program("mosquitto", "mosquitto")
    believed = broker_kills.play(tmp_path / "believed", "broker", 200)
    assert believed.lost, "deploy/mosquitto and docs/brokers.md say that it loses them; they are to be corrected"
    proven = broker_kills.play(tmp_path / "proven", "collector", 200)
    assert proven.held, proven
    assert proven.taken == 200


def test_mosquitto_keeps_what_is_retained_once_it_has_written_it(
    program: Callable[[str, str], str], tmp_path: Path
) -> None:
    program("mosquitto", "mosquitto")
    broker = broker_kills.PlainMosquitto(tmp_path, autosave_s=1)
    broker.start()
    written = tmp_path / "edge.db"
    _publish(broker.port, "edge/v1/store/box/status", json.dumps({"kept": "yes"}).encode())
    until(lambda: written.exists() and b"kept" in written.read_bytes(), "mosquitto writes its file")
    broker.kill()
    broker.start()
    try:
        assert _retained(broker.port, "edge/v1/store/box/status") == b'{"kept": "yes"}'
    finally:
        broker.stop()


def _publish(port: int, topic: str, payload: bytes) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "writer")
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(topic, payload, 1, True).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def _retained(port: int, topic: str) -> bytes:
    found: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "looker")
    client.on_connect = lambda *_: client.subscribe(topic, 0)
    client.on_message = lambda _c, _d, message: found.append(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(lambda: found, "the retained message")
    client.disconnect()
    client.loop_stop()
    return found[0]
