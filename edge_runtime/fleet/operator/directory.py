"""The directory: what is known of every device, from its newest messages. Pure: messages and their times in, rows out."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.desired import Desired
from edge_runtime.fleet.operator import views as v
from edge_runtime.fleet.operator.connection import Arrived
from edge_runtime.telemetry.topics import ROOT

MAX_DEVICES = 200_000
MAX_CAMERAS = 64
SKEW_S = 5.0
"""A clock that is off by less is not worth a word: messages wait in queues."""
STATE_FILTERS = tuple((f"{ROOT}/+/+/{kind}", 0) for kind in ("availability", "info", "status", "reported", "desired"))
SHELF_FILTER = (f"{ROOT}/+/+/shelf/+", 0)


@dataclass(slots=True)
class Device:
    """What is known of one device. What was never heard is None."""

    site: str
    name: str
    availability: v.AvailabilityView | None = None
    info: v.InfoView | None = None
    status: v.StatusView | None = None
    reported: v.ReportedView | None = None
    desired: Desired | None = None
    """As retained on its topic; unverified."""
    shelves: dict[str, v.ShelfView] = field(default_factory=dict)
    said_at: float = 0.0
    """By the device's clock: the newest time in any of its messages."""
    heard_at: float = 0.0
    """By our clock: its newest message that was not retained; 0 if there was none."""
    skew_s: float | None = None
    """How far the device's clock is ahead of ours; None where it can not be known."""

    @property
    def id(self) -> str:
        return f"{self.site}/{self.name}"

    @property
    def online(self) -> bool:
        return self.availability is not None and self.availability.state == "online"

    @property
    def groups(self) -> tuple[str, ...]:
        return self.info.groups if self.info else ()

    @property
    def model(self) -> v.ModelView | None:
        """What it runs, by whichever of its status and its reported state is newer; None in safe mode, or if unknown."""
        status, reported = self.status, self.reported
        if reported is not None and (status is None or (reported.session, reported.at) > (status.session, status.at)):
            return reported.model
        return status.model if status is not None else None

    def count(self, state: str) -> int:
        """Slots in a state, over all cameras."""
        return sum(shelf.counts.get(state, 0) for shelf in self.shelves.values())

    @property
    def slots(self) -> int:
        return sum(sum(shelf.counts.values()) for shelf in self.shelves.values())

    @property
    def unknown_share(self) -> float | None:
        """Of its slots as they are now."""
        return self.count("unknown") / self.slots if self.slots else None

    def last_seen(self, now: float) -> float | None:
        """Seconds since it was last heard of; by its own clock where only retained messages tell. None if never."""
        if self.heard_at:
            return max(0.0, now - self.heard_at)
        return max(0.0, now - self.said_at) if self.said_at else None


@dataclass(frozen=True, slots=True)
class Address:
    """A topic below `edge/v1/<site>/<device>/`."""

    site: str
    device: str
    kind: str
    rest: str


def address(topic: str) -> Address | None:
    """Which device a topic belongs to; None if to none."""
    parts = topic.split("/", 5)
    if len(parts) < 5 or f"{parts[0]}/{parts[1]}" != ROOT or parts[2][:1] == "_" or parts[3][:1] == "_":
        return None
    return Address(parts[2], parts[3], parts[4], parts[5] if len(parts) > 5 else "")


def matches(pattern: str, site: str, name: str) -> bool:
    """Whether a device is meant: `lyon/*`, `*/till-?`, or without a slash a site or a device's name; empty: all."""
    if not pattern:
        return True
    if "/" in pattern:
        return fnmatch.fnmatchcase(f"{site}/{name}", pattern)
    return fnmatch.fnmatchcase(site, pattern) or fnmatch.fnmatchcase(name, pattern)


class Directory:
    """All devices that were heard of. Bounded: devices beyond MAX_DEVICES and cameras beyond MAX_CAMERAS are left out."""

    def __init__(self) -> None:
        self._devices: dict[tuple[str, str], Device] = {}
        self.unreadable = 0
        """Messages under a device's topics that are none."""
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def get(self, device: str) -> Device | None:
        """By `site/device`."""
        site, _, name = device.partition("/")
        return self._devices.get((site, name))

    def chosen(self, pattern: str = "", group: str = "") -> list[Device]:
        """Those that are meant, by site and name."""
        return sorted(
            (d for d in self if matches(pattern, d.site, d.name) and (not group or group in d.groups)),
            key=lambda d: (d.site, d.name),
        )

    def take(self, topic: str, payload: bytes, retained: bool, at: float) -> Device | None:
        """A message that came at `at` by our clock. The device that it changed, if any."""
        where = address(topic)
        if where is None or where.kind not in _KINDS:
            return None
        device = self._device(where)
        if device is None:
            return None
        try:
            said = _learn(device, where, payload, retained)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refused):
            self.unreadable += 1
            return None
        if not retained:
            device.heard_at = max(device.heard_at, at)
        if said:
            _tell_time(device, said, retained, at)
        return device

    def hear(self, message: Arrived) -> Device | None:
        """`take`, of a message as a connection brings it."""
        return self.take(message.topic, message.payload, message.retained, message.at)

    def _device(self, where: Address) -> Device | None:
        known = self._devices.get((where.site, where.device))
        if known is None:
            if len(self._devices) >= MAX_DEVICES:
                self.left_out += 1
                return None
            known = self._devices[where.site, where.device] = Device(where.site, where.device)
        return known


def _learn(device: Device, where: Address, payload: bytes, retained: bool) -> float:
    """Put what the message says in its place; the time it names, 0 if it tells nothing of the device's clock."""
    if where.kind == "desired":
        device.desired = v.peek_desired(payload) if payload else None
        return 0.0
    if where.kind == "shelf":
        return _learn_shelf(device, where.rest, payload)
    if not payload:
        setattr(device, where.kind, None)
        return 0.0
    view = msgspec.json.decode(payload, type=_VIEWS[where.kind])
    known = getattr(device, where.kind)
    # what the broker has kept may come after what was said meanwhile; a last will has an old time and is right all the same
    stale = retained and where.kind != "availability" and known is not None and view.at < known.at
    if known is None or view.session > known.session or (view.session == known.session and not stale):
        setattr(device, where.kind, view)
    lost = isinstance(view, v.AvailabilityView) and view.state == "offline"
    return 0.0 if lost else view.at  # a last will names the time of its connection


def _learn_shelf(device: Device, camera: str, payload: bytes) -> float:
    if not payload:
        device.shelves.pop(camera, None)
        return 0.0
    view = msgspec.json.decode(payload, type=v.ShelfView)
    if camera in device.shelves or len(device.shelves) < MAX_CAMERAS:
        device.shelves[camera] = view
    return 0.0  # the time of a frame, not of the message


def _tell_time(device: Device, said: float, retained: bool, at: float) -> None:
    device.said_at = max(device.said_at, said)
    if not retained:
        device.skew_s = said - at
    elif said > at + SKEW_S:
        device.skew_s = max(device.skew_s or 0.0, said - at)


_VIEWS: dict[str, type[v.View]] = {
    "availability": v.AvailabilityView,
    "info": v.InfoView,
    "status": v.StatusView,
    "reported": v.ReportedView,
}
_KINDS = frozenset(_VIEWS) | {"shelf", "desired"}
