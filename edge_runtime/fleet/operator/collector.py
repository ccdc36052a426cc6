"""A durable reader of events: to the disk first, then the device is told that it may forget them.

The counterpart of `receipts = "collector"` on devices. An event may come twice, for a device sends again what nobody has
acknowledged; it is written once, and acknowledged each time.
"""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.fleet.operator.connection import Arrived
from edge_runtime.fleet.operator.directory import address, matches
from edge_runtime.fleet.operator.views import EventView
from edge_runtime.telemetry.messages import MAX_EVENT_BYTES, Ack, encode
from edge_runtime.telemetry.topics import ROOT

FILTERS = ((f"{ROOT}/+/+/event/#", 1), (f"{ROOT}/+/+/ack", 0))
"""Its own acknowledgements too: a broker that drops them would not say so."""
REMEMBERED = 200_000
"""Events whose ids are known: what comes again later than so many others is written twice."""
PER_ACK = 64


class _Event(msgspec.Struct, frozen=True):
    schema: str
    site: str
    device: str
    id: str


class EventFile:
    """`with EventFile(path) as events`: one event a line. A line that a power cut tore is taken off at the next start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    def __enter__(self) -> EventFile:
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or it took the other's last line for a torn one
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BlockingIOError:
            os.close(self._handle)
            raise Refused(f"another collector writes {self.path}", "End it, or name another --to and --name") from None
        except OSError as fault:
            raise Unavailable(f"{self.path} can not be written: {fault.strerror}", "Choose another file") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def recover(self) -> list[tuple[str, str, str]]:
        """Take a torn end off; (site, device, id) of the newest lines. Raises Unavailable if it can not be read."""
        kept: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        end = 0
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    end += len(line)
                    _remember(kept, _key(line))
            os.ftruncate(self._handle, end)
        except OSError as fault:
            raise Unavailable(f"{self.path} can not be read: {fault.strerror}") from None
        return list(kept)

    def add(self, lines: Iterable[bytes]) -> None:
        """On the disk when this returns. Raises Unavailable if it can not be."""
        raw = b"".join(line + b"\n" for line in lines)
        try:
            while raw:
                raw = raw[os.write(self._handle, raw) :]
            os.fsync(self._handle)
        except OSError as fault:
            raise Unavailable(
                f"{self.path} can not be written: {fault.strerror}", "Make room: devices keep what is not acknowledged"
            ) from None


class Collector:
    """Which messages are new, and whom to tell. Pure."""

    def __init__(self, known: Iterable[tuple[str, str, str]] = (), pattern: str = "", name: str = "") -> None:
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict.fromkeys(known)
        self._pattern, self._name = pattern, name[:64]
        self.written = self.repeated = self.refused = 0
        self.heard_back = False
        """Whether one of its own acknowledgements has come back."""

    def take(self, messages: Iterable[Arrived]) -> tuple[list[bytes], Mapping[str, tuple[str, ...]]]:
        """Lines to write, and `site/device` -> ids to acknowledge once they are written."""
        lines: list[bytes] = []
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for message in messages:
            where = address(message.topic)
            if where is not None and where.kind == "ack":
                self.heard_back = self.heard_back or self._mine(message.payload)
                continue
            if where is None or where.kind != "event" or not matches(self._pattern, where.site, where.device):
                continue
            try:
                event = self._read(message.payload)
                if (event.site, event.device) != (where.site, where.device):
                    raise Refused(f"an event of {event.site}/{event.device} under another device's topic")
            except Refused:
                self.refused += 1
                continue
            key = (event.site, event.device, event.id)
            if key in self._known:
                self.repeated += 1
            else:
                lines.append(msgspec.json.format(message.payload, indent=-1))
                self.written += 1
            _remember(self._known, key)
            ids[f"{where.site}/{where.device}"].append(event.id)
        return lines, {device: tuple(found) for device, found in ids.items()}

    def acks(self, ids: Mapping[str, tuple[str, ...]], at: float) -> Iterable[tuple[str, bytes]]:
        """(topic, message) for the devices whose events are on the disk."""
        for device, found in ids.items():
            for first in range(0, len(found), PER_ACK):
                ack = Ack(ids=found[first : first + PER_ACK], collector=self._name, at=round(at, 3))
                yield f"{ROOT}/{device}/ack", encode(ack)

    def _mine(self, payload: bytes) -> bool:
        try:
            return msgspec.json.decode(payload, type=Ack).collector == self._name
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def _read(self, payload: bytes) -> _Event:
        if len(payload) > MAX_EVENT_BYTES:
            raise Refused(f"an event of {len(payload)} bytes")
        try:
            payload.decode()  # fields that are not looked at too: one bad line would spoil the file for its readers
            event = msgspec.json.decode(payload, type=_Event)
            msgspec.json.decode(payload, type=EventView)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise Refused(f"no event: {fault}") from None
        if event.schema != "edge/event/1" or not 0 < len(event.id) <= 160:
            raise Refused("no event of edge/v1")
        return event


def _remember(kept: OrderedDict[tuple[str, str, str], None], key: tuple[str, str, str] | None) -> None:
    if key is None:
        return
    kept[key] = None
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


def _key(line: bytes) -> tuple[str, str, str] | None:
    try:
        event = msgspec.json.decode(line, type=_Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return event.site, event.device, event.id
