"""Tells as events what happens to the spool: that it went into memory, came back to the disk, or was found damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.telemetry.spool import QUARANTINED_FILE, SpoolCounts

Report = Callable[[str, str, str, dict[str, str | float]], None]
"""(kind, was, now, detail), as `Daemon.report`."""


@dataclass(slots=True)
class SpoolNotices:
    """Owned by the inference loop, which shows it the counts on every turn. As old as the line: a reload tells nothing
    again."""

    _degraded: bool = False
    _damage: tuple[str, float] = ("", 0.0)
    """Told last, and how many files had been set aside by then."""

    def attend(self, counts: SpoolCounts, report: Report) -> None:
        if bool(counts.degraded) is not self._degraded:
            self._degraded = bool(counts.degraded)
            was, now = ("disk", "memory") if self._degraded else ("memory", "disk")
            report("spool", was, now, {"reason": counts.degraded} if self._degraded else {})
        damage = (counts.damage, float(counts.dropped.get(QUARANTINED_FILE, 0)))
        if counts.damage and damage != self._damage:
            self._damage = damage
            detail: dict[str, str | float] = {
                "reason": counts.damage,
                "salvaged": float(counts.salvaged),
                "files": damage[1],
            }
            report("spool", "damaged", "afresh", detail)
