"""Tells Home Assistant of this device, and takes that back when it is switched off.

What was announced is noted in `<state>/announced.json` before it is said: a device that was renamed, or whose
configuration says `home_assistant = false` today, takes away what it announced under its old name, once, and only then.
It is not the announcement itself (`telemetry.home_assistant`).
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Protocol

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.session import Incoming
from edge_runtime.telemetry.durable import replace_durably
from edge_runtime.telemetry.home_assistant import announcement, config_topic
from edge_runtime.telemetry.publisher import Delivery, Publisher, Receipt
from edge_runtime.telemetry.topics import Topics

log = logging.getLogger(__name__)

FILE = "announced.json"
MAX_NOTED = 16


class Retainer(Protocol):
    """What is needed of the uplink."""

    def retain(self, topic: str, payload: bytes, first: bool = ...) -> None: ...


class Announcer:
    """Owned by the inference loop; `arrived` may be called from the link's thread."""

    def __init__(self, state_dir: Path, topics: Topics, cameras: tuple[str, ...], wanted: bool) -> None:
        """`wanted`: whether the configuration says home_assistant = true."""
        self._file = state_dir / FILE
        self._topic, self._payload = config_topic(topics), b""
        if wanted:
            self._payload = _announcement(topics, cameras)
        self._leaving = [topic for topic in self._noted() if topic != self._topic or not self._payload]
        self._receipts: dict[str, Receipt] = {}
        self._asked = threading.Event()

    def start(self, retainer: Retainer) -> None:
        """Say it at every connect from here on."""
        if self._payload:
            self._note([self._topic, *self._leaving])
            retainer.retain(self._topic, self._payload)

    def arrived(self, message: Incoming) -> None:
        """Home Assistant said `online` or `offline`; a retained word is from before."""
        if message.payload == b"online" and not message.retained:
            self._asked.set()

    def attend(self, retainer: Retainer, publisher: Publisher) -> None:
        """Once in a while: say it again if asked for, and take away what is to go."""
        if self._asked.is_set():
            self._asked.clear()
            if self._payload:
                retainer.retain(self._topic, self._payload)
        if self._leaving and publisher.connected:
            self._take_away(publisher)

    def _take_away(self, publisher: Publisher) -> None:
        for topic in tuple(self._leaving):
            receipt = self._receipts.get(topic)
            outcome = receipt.delivery() if receipt is not None else Delivery.FAILED
            if outcome is Delivery.FAILED:
                self._receipts[topic] = publisher.publish(topic, b"", 1, True)
            elif outcome is Delivery.ACKNOWLEDGED:  # what is refused stays noted: the next start tries again
                self._leaving.remove(topic)
                self._note([*([self._topic] if self._payload else []), *self._leaving])

    def _noted(self) -> list[str]:
        """What was announced and not taken away; nothing if there is no usable file."""
        try:
            found = msgspec.json.decode(self._file.read_bytes(), type=list[str])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return []
        return found[:MAX_NOTED]

    def _note(self, topics: list[str]) -> None:
        if topics == self._noted():
            return
        try:
            replace_durably(self._file, msgspec.json.encode(topics[:MAX_NOTED]))
        except OSError as fault:
            log.warning("what Home Assistant was told can not be noted in %s: %s", self._file, fault.strerror)


def _announcement(topics: Topics, cameras: tuple[str, ...]) -> bytes:
    try:
        return announcement(topics, cameras)
    except Refused as fault:
        log.warning("%s", fault)
        return b""
