"""An operator on a real broker: hears everything that devices say, and commands one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.daemon.device import PATIENCE_S

ROOT = "edge/v1/store/dev-1/"
ENDED = ("succeeded", "failed", "refused")


class Operator:
    """An independent, durable subscriber that keeps everything it hears, by topic below the device's root."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._heard_one = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "reader", clean_session=False)
        self.client.on_connect = lambda client, *_: client.subscribe("edge/v1/#", 1)
        self.client.on_message = self._arrived
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _arrived(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        with self._heard_one:
            if message.payload:
                self.heard.append((message.topic.removeprefix(ROOT), json.loads(message.payload)))
            self._heard_one.notify_all()

    def until(self, topic: str, holds: Callable[[dict[str, Any]], bool] = lambda record: True) -> dict[str, Any]:
        """The newest message of a topic for which that holds."""
        until_s = time.monotonic() + PATIENCE_S
        with self._heard_one:
            while time.monotonic() < until_s:
                for name, record in reversed(self.heard):
                    if name == topic and holds(record):
                        return record
                self._heard_one.wait(0.5)
        raise AssertionError(f"{topic} never came; heard {[name for name, _ in self.heard]}")

    def all(self, topic: str) -> list[dict[str, Any]]:
        with self._heard_one:
            return [record for name, record in self.heard if name == topic]

    def states(self, verb: str, number: int) -> list[str]:
        """Of the receipts of one command, in order."""
        return [record["state"] for record in self.all(f"resp/{verb}") if record["id"] == f"c{number}"]

    def send(self, verb: str, number: int, **args: object) -> bytes:
        """Send a command, once there is a device that hears it, and do not wait for the answer; what was sent."""
        self.until("status")
        now = time.time()
        record = {"id": f"c{number}", "verb": verb, "audience": "store/dev-1", "seq": number, "args": args}
        record |= {"issued_at": now, "expires_at": now + 60}
        raw = json.dumps(record).encode()
        self.client.publish(f"{ROOT}cmd/{verb}", raw, 1)
        return raw

    def answer(self, verb: str, number: int, *states: str) -> dict[str, Any]:
        """The receipt of a command in one of the states; without any: its last one."""
        wanted = states or ENDED
        return self.until(f"resp/{verb}", lambda r: r["id"] == f"c{number}" and r["state"] in wanted)

    def command(self, verb: str, number: int, **args: object) -> dict[str, Any]:
        """Send a command; its final receipt."""
        self.send(verb, number, **args)
        return self.answer(verb, number)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
