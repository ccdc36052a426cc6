"""How long brokers take to come back from SIGKILL, and how many retained messages are there then.

`python -m benchmarks.fleet.restarts [--retained 10000]`: one JSON line for mosquitto, one for a NATS cluster whose three
nodes are killed at once. Timings are of this machine, and worth something only if nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults.broker_kills import PlainMosquitto
from benchmarks.faults.cluster_kills import until
from benchmarks.fleet.cluster import LocalCluster

TOPIC = "edge/v1/store/till-{}/status"
_BODY = b'{"schema":"edge/status/1"}' + b" " * 400


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.restarts", description=__doc__)
    parser.add_argument("--retained", type=int, default=10_000)
    count = parser.parse_args(arguments).retained
    with tempfile.TemporaryDirectory(prefix="restarts-") as name:
        (Path(name) / "mosquitto").mkdir()
        print(json.dumps(_mosquitto(Path(name) / "mosquitto", count)), flush=True)
        print(json.dumps(_cluster(Path(name) / "nats", count)), flush=True)
    return 0


def _mosquitto(folder: Path, count: int) -> dict[str, object]:
    broker = PlainMosquitto(folder)
    broker.start()
    _retain(broker.port, count)
    time.sleep(11.0)  # its next write
    broker.kill()
    began = time.monotonic()
    broker.start()
    accepts_s = time.monotonic() - began
    kept, read_s = _read(broker.port, count)
    broker.stop()
    return {"broker": "mosquitto", "accepts_s": round(accepts_s, 2), "retained": kept, "read_s": round(read_s, 2)}


def _cluster(folder: Path, count: int) -> dict[str, object]:
    with LocalCluster(folder) as cluster:
        _retain(cluster.ports[0], count)
        for number in range(3):
            cluster.kill(number)
        began = time.monotonic()
        for number in range(3):
            cluster.start_node(number, wait=False)
        cluster.wait_ready()
        accepts_s = time.monotonic() - began
        cluster.wait_healthy()
        healthy_s = time.monotonic() - began
        kept, read_s = _read(cluster.ports[1], count)
    return {
        "broker": "nats, 3 nodes",
        "accepts_s": round(accepts_s, 2),
        "healthy_s": round(healthy_s, 2),
        "retained": kept,
        "read_s": round(read_s, 2),
    }


def _retain(port: int, count: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "writer")
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(TOPIC.format(number), _BODY, 1, True) for number in range(count)]
    for info in sent:
        info.wait_for_publish(120)
    client.disconnect()
    client.loop_stop()


def _read(port: int, count: int) -> tuple[int, float]:
    """How many are there, and how long it takes to get them all; waits for those that are not at most 20 s."""
    topics: set[str] = set()
    client = paho.Client(CallbackAPIVersion.VERSION2, "looker")
    client.on_connect = lambda *_: client.subscribe(TOPIC.format("#").replace("till-#", "+"), 0)
    client.on_message = lambda _c, _d, message: topics.add(message.topic)
    began = time.monotonic()
    client.connect("127.0.0.1", port)
    client.loop_start()
    with contextlib.suppress(TimeoutError):
        until(lambda: len(topics) >= count, "all retained messages", 20.0)
    took = time.monotonic() - began
    client.disconnect()
    client.loop_stop()
    return len(topics), took


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
