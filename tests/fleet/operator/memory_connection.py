"""A connection to a broker in memory: the same promises as `fleet.operator.connection.Connection`, without a network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from edge_runtime.fleet.operator.connection import Arrived
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.publisher import Receipt
from fleet.memory_broker import MemoryBroker, MemoryLink, matches


class MemoryConnection:
    """What it hears waits until it is taken. Waiting for a message takes no time: there is none to come by itself."""

    def __init__(self, broker: MemoryBroker, filters: tuple[tuple[str, int], ...]) -> None:
        self.link = MemoryLink(broker)
        self.waiting: deque[Arrived] = deque()
        self.connections = 1
        self.problem = ""
        self.idle = lambda: None
        """Called when nothing waits: the world goes on."""
        self.deaf: set[str] = set()
        """Topics of which nothing new comes, as from a cluster that was just taking the subscription."""
        self._broker = broker
        self.link.listen(tuple(name for name, _ in filters), self._arrived)
        self.link.connect()

    @property
    def connected(self) -> bool:
        return self.link.connected

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> Receipt:
        return self.link.publish(topic, payload, qos, retain)

    def ask_again(self, filters: tuple[str, ...]) -> None:
        for topic, payload in self._broker.retained.items():
            if any(matches(name, topic) for name in filters):
                self._arrived(Incoming(topic, payload, retained=True))

    def take(self, wait_s: float) -> Arrived | None:
        if not self.waiting:
            self.idle()
        return self.waiting.popleft() if self.waiting else None

    def drain(self, wait_s: float) -> Iterator[Arrived]:
        if not self.waiting:
            self.idle()
            time.sleep(min(wait_s, 0.002))
        while self.waiting:
            yield self.waiting.popleft()

    def _arrived(self, message: Incoming) -> None:
        if message.topic in self.deaf and not message.retained:
            return
        self.waiting.append(Arrived(message.topic, message.payload, message.retained, time.time()))
