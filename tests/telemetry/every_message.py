"""Every message that a test publishes or hears is checked against docs/asyncapi.yaml, whichever test it is.

What goes through paho (the link, virtual devices, the tests' own clients) and through the brokers in memory is seen; what
a daemon in another process says is seen when a client of the test hears it. A test that sends what must not be sent
says so: `@pytest.mark.undocumented("why")`.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from telemetry import asyncapi

MARK = "undocumented(why): publishes what docs/asyncapi.yaml does not allow, on purpose"
SHOWN = 5


class Ledger:
    """What was seen, and what was wrong with it."""

    def __init__(self) -> None:
        self.published = self.heard = 0
        self.faults: list[str] = []
        self.off = False
        self._lock = threading.Lock()

    def take(self, topic: object, payload: object, retain: bool | None, heard: bool = False) -> None:
        if self.off or not isinstance(topic, str) or not topic.startswith(asyncapi.ROOTS) or not payload:
            return
        raw = payload.encode() if isinstance(payload, str) else bytes(payload)  # type: ignore[call-overload]
        try:
            found = list(asyncapi.faults(topic, raw, retain))
        except (AssertionError, ValueError) as fault:
            found = [f"{topic}: {fault}: {raw[:200]!r}"]
        with self._lock:
            self.heard += heard
            self.published += not heard
            self.faults += found


LEDGER = Ledger()


def watch_paho() -> None:
    """Once a process."""
    import paho.mqtt.client as paho

    publish, arrived, will = paho.Client.publish, paho.Client._handle_on_message, paho.Client.will_set

    @functools.wraps(publish)
    def watched_publish(
        self: Any, topic: str, payload: Any = None, qos: int = 0, retain: bool = False, *rest: Any
    ) -> Any:
        LEDGER.take(topic, payload, bool(retain))
        return publish(self, topic, payload, qos, retain, *rest)

    @functools.wraps(will)
    def watched_will(self: Any, topic: str, payload: Any = None, qos: int = 0, retain: bool = False, *rest: Any) -> Any:
        LEDGER.take(topic, payload, bool(retain))
        return will(self, topic, payload, qos, retain, *rest)

    @functools.wraps(arrived)
    def watched_arrived(self: Any, message: Any) -> Any:
        with contextlib.suppress(UnicodeDecodeError):  # of the topic: the link's business
            LEDGER.take(message.topic, message.payload, None, heard=True)
        return arrived(self, message)

    paho.Client.publish = watched_publish  # type: ignore[method-assign]
    paho.Client.will_set = watched_will  # type: ignore[method-assign]
    paho.Client._handle_on_message = watched_arrived  # type: ignore[method-assign]


def watch_memory() -> None:
    """The broker in memory, under whichever name a test has imported it."""
    for name in ("fleet.memory_broker", "tests.fleet.memory_broker"):
        module = sys.modules.get(name)
        if module is None or getattr(module.MemoryBroker.take, "watched", False):
            continue
        take = module.MemoryBroker.take

        @functools.wraps(take)
        def watched(self: Any, message: Any, take: Any = take) -> Any:
            LEDGER.take(message.topic, message.payload, message.retain)
            return take(self, message)

        watched.watched = True  # type: ignore[attr-defined]
        module.MemoryBroker.take = watched


def judged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Around one test: fails it for what it said against the document."""
    watch_memory()
    LEDGER.off = request.node.get_closest_marker("undocumented") is not None
    LEDGER.faults.clear()
    yield
    found, LEDGER.off = tuple(LEDGER.faults), False
    LEDGER.faults.clear()
    if found:
        more = f"\n... and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        pytest.fail("said what docs/asyncapi.yaml does not allow:\n" + "\n".join(found[:SHOWN]) + more, pytrace=False)
