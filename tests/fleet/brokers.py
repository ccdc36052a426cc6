"""Real brokers for the tests, and an independent subscriber that is not the link."""

from __future__ import annotations

import getpass
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.fleet.local_broker import free_port


def wait_until(found: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait for a condition; AssertionError naming it if it does not come."""
    until_s = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until_s, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Mosquitto:
    """mosquitto on the loopback, with the same verbs as `LocalBroker`. `stop` keeps its sessions on the disk."""

    def __init__(self, program: str, folder: Path, extra: str = "allow_anonymous true", listener: str = "") -> None:
        self._program = program
        self._folder = folder
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{listener}\n{extra}\nuser {getpass.getuser()}\n"
            f"persistence true\npersistence_location {folder}/\nlog_dest file {folder}/mosquitto.log\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)])
        wait_until(self._listens, "mosquitto listens")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)

    kill = stop
    """mosquitto keeps nothing over a SIGKILL; that it may lose what it acknowledged is its own business."""

    def reload(self) -> None:
        """Read the access list and the passwords again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "mosquitto ended at once"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Reader:
    """Subscribes with a durable session of its own and keeps all that comes."""

    def __init__(self, port: int, pattern: str = "edge/v1/#", name: str = "reader") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self._pattern = pattern
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(0.05, 0.2)
        self._client.on_connect = lambda client, *_: client.subscribe(self._pattern, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _d, m: self.messages.append((m.topic, bytes(m.payload), bool(m.retain)))
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()
        assert self._subscribed.wait(10), "the reader could not subscribe"

    def of(self, topic_end: str) -> list[dict]:
        return [json.loads(payload) for topic, payload, _ in tuple(self.messages) if topic.endswith(topic_end)]

    def send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
