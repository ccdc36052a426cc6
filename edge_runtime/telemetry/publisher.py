"""The way to the broker, as the uplink sees it; `fleet.link` is the real one."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol


class Delivery(StrEnum):
    """What became of one publish."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    """It has arrived. Of a durable record: by the proof that is configured, which is more than the broker's word."""
    FAILED = "failed"
    """The connection went first, there was none, or no proof came: send it again."""
    REFUSED = "refused"
    """It can not be sent (too large, bad topic, not allowed there): do not send it again. Never said of a durable record
    for want of permission."""


class Receipt(Protocol):
    def delivery(self) -> Delivery:
        """Where the message is now. Never blocks; once not PENDING it stays as it is."""
        ...


class Publisher(Protocol):
    """The way to the broker. Every method returns at once and may be called from any thread."""

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Receipt: ...

    def on_connect(self, callback: Callable[[], None]) -> None:
        """`callback` is called, in the link's thread, after every connect."""
        ...
