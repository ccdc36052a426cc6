"""A broker in memory, and the link to it: the same promises as `fleet.link.MqttLink`, without a network.

Tests change its behaviour by plain assignment: `broker.open`, `broker.acknowledges`, `broker.denied`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.publisher import Delivery


def matches(pattern: str, topic: str) -> bool:
    wanted, given = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)


@dataclass
class Published:
    """One publish that reached the broker."""

    topic: str
    payload: bytes
    retain: bool


class MemoryReceipt:
    def __init__(self, state: Delivery) -> None:
        self.state = state

    def delivery(self) -> Delivery:
        return self.state


class MemoryBroker:
    def __init__(self) -> None:
        self.open = True
        self.acknowledges = True
        self.denied: set[str] = set()
        """Topics whose publishes are acknowledged and dropped, as an access list does."""
        self.published: list[Published] = []
        self.retained: dict[str, bytes] = {}
        self.links: list[MemoryLink] = []

    def topics(self) -> list[str]:
        return [message.topic for message in self.published]

    def take(self, message: Published) -> None:
        if message.topic in self.denied:
            return
        self.published.append(message)
        if message.retain:
            self.retained[message.topic] = message.payload
        for link in self.links:
            link.hear(Incoming(message.topic, message.payload, retained=False))

    def cut(self) -> None:
        """Every connection is gone; what was not acknowledged is lost."""
        for link in self.links:
            link.lose()


class MemoryLink:
    """Obeys `telemetry.publisher.Publisher`, and has `listen` as MqttLink has."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._callbacks: list[Callable[[], None]] = []
        self._listener: Callable[[Incoming], None] | None = None
        self._filters: tuple[str, ...] = ()
        self._pending: list[MemoryReceipt] = []
        self.connected = False
        broker.links.append(self)

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def listen(self, filters: tuple[str, ...], listener: Callable[[Incoming], None]) -> None:
        self._filters, self._listener = filters, listener

    def connect(self) -> None:
        if not self._broker.open:
            return
        self.connected = True
        for topic, payload in self._broker.retained.items():
            self.hear(Incoming(topic, payload, retained=True))
        for callback in self._callbacks:
            callback()

    def lose(self) -> None:
        self.connected = False
        for receipt in self._pending:
            receipt.state = Delivery.FAILED
        self._pending.clear()

    def acknowledge_all(self) -> None:
        """What was not acknowledged is now."""
        for receipt in self._pending:
            receipt.state = Delivery.ACKNOWLEDGED
        self._pending.clear()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> MemoryReceipt:
        if not self.connected:
            return MemoryReceipt(Delivery.FAILED)
        if "#" in topic or "+" in topic:
            return MemoryReceipt(Delivery.REFUSED)
        self._broker.take(Published(topic, payload, retain))
        if self._broker.acknowledges:
            return MemoryReceipt(Delivery.ACKNOWLEDGED)
        self._pending.append(MemoryReceipt(Delivery.PENDING))
        return self._pending[-1]

    def hear(self, message: Incoming) -> None:
        if self.connected and self._listener and any(matches(f, message.topic) for f in self._filters):
            self._listener(message)
