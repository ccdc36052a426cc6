"""The operator's side of one device: sends commands, waits for receipts, hears events and figures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TypeVar

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.fleet.operator.connection import Arrived, Connection
from edge_runtime.fleet.operator.directory import address
from edge_runtime.fleet.operator.reach import Reach
from edge_runtime.fleet.operator.sending import Answer, Request, Sending, sign
from edge_runtime.fleet.operator.signer import Signer, Unsigned
from edge_runtime.fleet.operator.views import ResponseView
from edge_runtime.telemetry.messages import EventMessage, Response, Scalar, TelemetryMessage, decode
from edge_runtime.telemetry.topics import Topics

LIFETIME_S = 60.0
Kept = TypeVar("Kept")


class Operator:
    """`with Operator(url, site, device) as operator`. Without a signer commands are unsigned: for a loopback.

    For one thread: messages are taken in while it waits.
    """

    def __init__(self, url: str, site: str, device: str, signer: Signer | None = None) -> None:
        topics = Topics(site, device)
        self._device, self._signer = f"{site}/{device}", signer or Unsigned()
        self._connection = Connection(Reach((url,)), f"{site}-{device}", ((f"{topics.base}/#", 0),))
        self._numbers = itertools.count(1)
        self._sending: Sending | None = None
        self._events: list[EventMessage] = []
        self._figures: list[tuple[float, TelemetryMessage]] = []

    def __enter__(self) -> Operator:
        self._connection.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        self._connection.close()

    @property
    def events(self) -> list[EventMessage]:
        self._take_in(0)
        return self._events

    @property
    def figures(self) -> list[tuple[float, TelemetryMessage]]:
        """(monotonic time of arrival, message)."""
        self._take_in(0)
        return self._figures

    def ask(self, verb: str, wait_s: float, **args: Scalar) -> Answer:
        """Send a command; its last receipt. Raises Refused, or Unavailable if it failed, TryAgain without an answer."""
        now = time.time()
        request = Request(f"operator-{int(now)}-{next(self._numbers)}", verb, args, now, LIFETIME_S)
        order = sign(request, self._device, (self._device,), self._signer)
        sending = self._sending = Sending(request.id, (order,))
        answer = sending.answers[self._device]

        def found() -> Answer | None:
            for due in sending.due(time.time(), 1):
                self._connection.publish(due.topic, due.envelope, 1, False)
            return answer if answer.final else None

        self.hear(found, wait_s, f"{verb} was not answered")
        if answer.state == "refused":
            raise Refused(f"{verb}: {answer.detail}")
        if answer.state == "failed":
            raise Unavailable(f"{verb}: {answer.detail}")
        return answer

    def event(self, holds: Callable[[EventMessage], bool], wait_s: float, what: str) -> EventMessage:
        """The first event for which it holds. Raises TryAgain if none comes."""
        return self.hear(lambda: next(filter(holds, self._events), None), wait_s, f"the device never said: {what}")

    def hear(self, find: Callable[[], Kept | None], wait_s: float, otherwise: str) -> Kept:
        """What `find` finds among the messages. Raises TryAgain if it finds nothing in time."""
        ends = time.monotonic() + wait_s
        self._take_in(0)
        while (found := find()) is None:
            if time.monotonic() > ends:
                raise TryAgain(f"{otherwise} within {wait_s:.0f} s", "The device's log says more")
            self._take_in(0.2)
        return found

    def _take_in(self, wait_s: float) -> None:
        for message in self._connection.drain(wait_s):
            self._take(message)

    def _take(self, arrived: Arrived) -> None:
        where = address(arrived.topic)
        if where is None or where.kind not in ("resp", "event", "telemetry"):
            return
        try:
            message = decode(arrived.payload)
        except Refused:
            return
        if isinstance(message, Response) and self._sending is not None:
            view = ResponseView(
                message.at, message.session, message.id, message.verb, message.state, message.reason, message.detail,
                message.result,
            )  # fmt: skip
            self._sending.heard(self._device, view)
        elif isinstance(message, EventMessage):
            self._events.append(message)
        elif isinstance(message, TelemetryMessage):
            self._figures.append((time.monotonic() - (time.time() - arrived.at), message))
