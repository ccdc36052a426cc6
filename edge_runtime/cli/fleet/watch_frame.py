"""What `fleet watch` shows at one moment: a line about all, the devices, and the newest events. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import rows, screen
from edge_runtime.cli.output import paint

if TYPE_CHECKING:
    from edge_runtime.fleet.operator.directory import Device

EVENTS_SHARE = 0.3
"""Of the lines, for events."""
_STEPS = {"up": -1, "down": 1}


@dataclass(slots=True)
class Frame:
    """Where the reader is."""

    only_problems: bool = False
    first: int = 0
    """The first device that is shown."""
    page: int = 10

    def press(self, key: str) -> None:
        if key == "p":
            self.only_problems, self.first = not self.only_problems, 0
        elif key in _STEPS:
            self.first += _STEPS[key]
        elif key in ("page up", "page down"):
            self.first += self.page * (1 if key == "page down" else -1)
        elif key in ("home", "end"):
            self.first = 0 if key == "home" else 10**9

    def lines(
        self,
        devices: Sequence[Device],
        bad: set[str],
        events: Sequence[str],
        trouble: str,
        now: float,
        width: int,
        height: int,
    ) -> list[str]:
        """At most `height` lines, none wider than `width`."""
        shown = [device for device in devices if device.id in bad] if self.only_problems else list(devices)
        room = min(max(1, int(EVENTS_SHARE * height)), len(events)) if height >= 10 else 0
        self.page = max(1, height - room - (3 if room else 2))
        self.first = max(0, min(self.first, len(shown) - self.page))
        part = shown[self.first : self.first + self.page]
        found = [_summary(devices, bad, trouble, width)]
        found += screen.grid(rows.HEADER, [rows.row(device, now) for device in part], width, rows.COLOURS)
        found += [""] * (1 + 1 + self.page - len(found))
        if room:
            found.append(paint(screen.cut(_foot(self.first, len(part), len(shown), self.only_problems), width), "grey"))
            found += [screen.cut(event, width) for event in list(events)[-room:]]
        return found[:height]


def _summary(devices: Sequence[Device], bad: set[str], trouble: str, width: int) -> str:
    online = sum(device.online for device in devices)
    versions = Counter(d.model.version for d in devices if d.model is not None)
    models = ", ".join(f"{version} {count}" for version, count in versions.most_common(4))
    told = f"{len(devices)} devices, {online} online, {len(bad)} with a problem" + (
        f"; models {models}" if models else ""
    )
    line = screen.cut(f"{trouble}; {told}" if trouble else told, width)
    return paint(line, "red" if trouble else "bold")


def _foot(first: int, shown: int, total: int, only_problems: bool) -> str:
    where = f"{first + 1}-{first + shown} of {total}" if shown else "no devices"
    what = " with a problem" if only_problems else ""
    return f"--- {where}{what} --- arrows scroll, p {'all' if only_problems else 'problems'}, q ends --- events:"
