"""The way to the broker, as the uplink sees it; `fleet.link` is the real one."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol


class Delivery(StrEnum):
    """What became of one publish."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    """The connection went first, or there was none: send it again."""
    REFUSED = "refused"
    """It can never be sent (too large, bad topic): do not send it again."""


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
