"""What became of one publish, as a session knows it."""

from __future__ import annotations

import threading
from typing import Protocol

import paho.mqtt.client as paho

from edge_runtime.fleet.faults import NEVER, NOT_AUTHORIZED
from edge_runtime.telemetry.publisher import Delivery


class Carried(Protocol):
    """What a session says about one publish."""

    @property
    def denied(self) -> bool:
        """The broker said that this device may not publish there (MQTT 5)."""
        ...

    def delivery(self) -> Delivery: ...


class Settled:
    """A receipt whose end is known at once."""

    denied = False

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def delivery(self) -> Delivery:
        return self._delivery


class Sent:
    """The receipt of one publish in one session."""

    def __init__(self, info: paho.MQTTMessageInfo, over: threading.Event, codes: dict[int, int] | None = None) -> None:
        """`codes`: what the broker refused, by number of the message, known before paho calls it published."""
        self._info = info
        self._over = over
        self._codes = codes if codes is not None else {}
        self.code = 0

    @property
    def denied(self) -> bool:
        return self.code == NOT_AUTHORIZED

    def delivery(self) -> Delivery:
        gone = self._over.is_set()
        try:
            published = self._info.is_published()
        except (ValueError, RuntimeError):
            return Delivery.FAILED
        if not published:
            return Delivery.FAILED if gone else Delivery.PENDING
        self.code = self.code or self._codes.pop(self._info.mid, 0)
        if not self.code:
            return Delivery.ACKNOWLEDGED
        return Delivery.REFUSED if self.code in NEVER else Delivery.FAILED
