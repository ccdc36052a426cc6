"""The operator's side of one device: sends commands, waits for receipts, hears events and figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.fleet.commands import Command
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import EventMessage, Response, Scalar, TelemetryMessage, decode
from edge_runtime.telemetry.topics import Topics

NAME = "operator"
CONNECT_S = 20.0
Kept = TypeVar("Kept")


class Operator:
    """`with Operator(url, site, device) as operator`. Commands are unsigned: for a loopback."""

    def __init__(self, url: str, site: str, device: str) -> None:
        self._topics = Topics(site, device)
        self._link = MqttLink(MqttSettings(url, f"{site}-{device}-{NAME}"), Stamp(Topics(site, NAME), 1))
        self._link.listen((f"{self._topics.base}/#",), self._take)
        self._news = threading.Condition()
        self._sent = 0
        self.receipts: list[Response] = []
        self.events: list[EventMessage] = []
        self.figures: list[tuple[float, TelemetryMessage]] = []
        """(monotonic time of arrival, message)."""

    def __enter__(self) -> Operator:
        self._link.start()
        ends = time.monotonic() + CONNECT_S
        while not self._link.connected:
            if time.monotonic() > ends:
                self._link.stop()
                raise Unavailable("the operator found no broker", "See the broker's log")
            time.sleep(0.02)
        return self

    def __exit__(self, *ended: object) -> None:
        self._link.stop()

    def ask(self, verb: str, wait_s: float, **args: Scalar) -> Response:
        """Send a command; its last receipt. Raises Refused, or Unavailable if it failed, TryAgain without an answer."""
        self._sent += 1
        now, name = time.time(), f"{NAME}-{self._sent}"
        audience = f"{self._topics.site}/{self._topics.device}"
        command = Command(name, verb, audience, int(1e3 * now) + self._sent, now, now + 60.0, "", args)
        self._link.publish(self._topics.command(verb), msgspec.json.encode(command), 1, False)
        last = self.hear(
            lambda: next((r for r in self.receipts if r.id == name and r.state not in ("accepted", "running")), None),
            wait_s,
            f"{verb} was not answered",
        )
        if last.state == "refused":
            raise Refused(f"{verb}: {last.detail}")
        if last.state == "failed":
            raise Unavailable(f"{verb}: {last.detail}")
        return last

    def event(self, holds: Callable[[EventMessage], bool], wait_s: float, what: str) -> EventMessage:
        """The first event for which it holds. Raises TryAgain if none comes."""
        return self.hear(lambda: next(filter(holds, self.events), None), wait_s, f"the device never said: {what}")

    def hear(self, find: Callable[[], Kept | None], wait_s: float, otherwise: str) -> Kept:
        """What `find` finds among the messages. Raises TryAgain if it finds nothing in time."""
        ends = time.monotonic() + wait_s
        with self._news:
            while (found := find()) is None:
                if time.monotonic() > ends:
                    raise TryAgain(f"{otherwise} within {wait_s:.0f} s", "The device's log says more")
                self._news.wait(0.2)
        return found

    def _take(self, incoming: Incoming) -> None:
        try:
            message = decode(incoming.payload)
        except Refused:
            return
        with self._news:
            if isinstance(message, Response):
                self.receipts.append(message)
            elif isinstance(message, EventMessage):
                self.events.append(message)
            elif isinstance(message, TelemetryMessage):
                self.figures.append((time.monotonic(), message))
            self._news.notify_all()
