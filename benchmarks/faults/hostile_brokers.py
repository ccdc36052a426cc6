"""The hostile messages through real brokers: whatever a broker does to them on the way, nothing is carried out."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults.hostile import Target
from benchmarks.faults.hostile_mint import TOPICS, Mint
from benchmarks.faults.row import Row
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.local_broker import LocalBroker, free_port
from edge_runtime.fleet.rate_limit import OPEN
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry.builders import Stamp

PATIENCE_S = 60.0


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """The port of a broker of its own."""
    port = free_port()
    folder.mkdir()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 20000\n")
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/sbin")
    assert program is not None
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "mosquitto listens")
        yield port
    finally:
        broker.terminate()
        broker.wait(10)


@contextmanager
def nats(folder: Path) -> Iterator[int]:
    with LocalBroker(folder) as broker:
        yield int(broker.url.rpartition(":")[2])


def brokers() -> dict[str, Callable[[Path], AbstractContextManager[int]]]:
    """Those that are installed."""
    found: dict[str, Callable[[Path], AbstractContextManager[int]]] = {"nats-server": nats}
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/sbin"):
        found["mosquitto"] = mosquitto
    return found


def through_brokers(count: int) -> Iterator[Row]:
    for name, broker in brokers().items():
        with tempfile.TemporaryDirectory() as folder, broker(Path(folder) / "broker") as port:
            yield through(name, port, Path(folder), count)


def through(name: str, port: int, folder: Path, count: int) -> Row:
    """Retained ones first, then the device, then the rest, then an honest one."""
    mint = Mint(folder / "keys", 2, time.time())
    attacker = _client("attacker", port)
    trap = mint.honest()
    attacker.publish(trap.topic, trap.payload, 1, retain=True).wait_for_publish(10)
    with listening(port, folder, mint) as device:
        _wait(lambda: device.arrived == 1, "the retained command")
        first = mint.honest()
        attacker.publish(first.topic, first.payload, 1).wait_for_publish(10)
        _wait(lambda: len(device.target.done) == 1, "the honest command")
        mint.seen.append(first)
        for _ in range(count):
            message = mint.hostile().message
            if not message.retained:
                attacker.publish(message.topic, message.payload, 1).wait_for_publish(30)
        last = mint.honest()
        attacker.publish(last.topic, last.payload, 1).wait_for_publish(10)
        _wait(lambda: len(device.target.done) > 1, "the honest command after it")
        queue = device.target.queue
        _wait(lambda: queue.counts().total == device.arrived, "every message is counted")
        total, done, arrived = queue.counts().total, len(device.target.done), device.arrived
    attacker.disconnect()
    attacker.loop_stop()
    held = total == arrived and done == 2
    note = f"{arrived:,} arrived" if held else f"{done - 2} carried out, {arrived - total} of {arrived} not counted"
    return Row(21, f"hostile commands through {name}", arrived, arrived if held else 0, note)


class Listening:
    """A device's link and queue, and the loop that drains it."""

    def __init__(self, target: Target, link: MqttLink) -> None:
        self.target, self.link = target, link
        self.arrived = 0
        self._prefixes = tuple(TOPICS.audiences.values())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def hear(self, message: Incoming) -> None:
        if not message.topic.startswith(self._prefixes):
            return
        self.target.queue.arrived(message)
        self.arrived += 1

    def _loop(self) -> None:
        while not self._stop.wait(0.001):
            self.target.clock_s = time.monotonic()
            self.target.now = time.time()
            self.target.queue.drain()

    def start(self) -> None:
        self.link.listen(TOPICS.command_filters, self.hear, qos=0)
        self.link.start()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self.link.stop()


@contextmanager
def listening(port: int, folder: Path, mint: Mint) -> Iterator[Listening]:
    link = MqttLink(MqttSettings(f"mqtt://127.0.0.1:{port}", client_id="store-box"), Stamp(TOPICS, 1))
    device = Listening(Target(folder / "state", mint, OPEN, link), link)
    device.start()
    try:
        _wait(lambda: link.connected, "the device is online")
        yield device
    finally:
        device.stop()


def _client(name: str, port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, name)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def _wait(found: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < until_s, f"it did not come: {what}"
        time.sleep(0.005)
