"""The spool in memory: the same laws as on the disk, but gone with the process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from edge_runtime.telemetry.spool import Clock, Entry, Grade, Lane, SpoolCounts, SpoolLimits, check_out, reason_of


@dataclass(frozen=True, slots=True)
class _Held:
    entry: Entry
    number: int
    born_s: float


class MemorySpool:
    """The spool of a device whose disk is read-only or full."""

    def __init__(
        self, limits: SpoolLimits | None = None, clock: Clock = time.monotonic, degraded: str = "kept in memory"
    ) -> None:
        self._limits = limits or SpoolLimits(max_bytes=8_000_000)
        self._clock = clock
        self._held: dict[Grade, dict[str, _Held]] = {grade: {} for grade in Grade}
        self._bytes = dict.fromkeys(Grade, 0)
        self._out: dict[str, Grade] = {}
        self._number = self._marked = 0
        self._dropped: Counter[str] = Counter()
        self._accepted = 0
        self._degraded = degraded
        self._lock = threading.Lock()

    def add(self, entries: Iterable[Entry]) -> int:
        with self._lock:
            return sum(self._keep(entry) for entry in entries)

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        with self._lock:
            self._expire()
            waiting = (
                held.entry
                for kind in (Grade if grade is None else (grade,))
                for held in self._held[kind].values()
                if held.entry.id not in self._out
                and held.entry.topic not in without
                and (lane is None or lane is self._lane(held))
            )
            taken = tuple(islice(waiting, max(0, limit)))
            self._out |= {entry.id: entry.grade for entry in taken}
            return taken

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        done, refused, back = tuple(accepted), tuple(rejected), tuple(kept)
        with self._lock:
            check_out(self._out, done, refused, back)
            for key in (*done, *refused):
                self._remove(self._out[key], key)
            for key in (*done, *refused, *back):
                del self._out[key]
            self._accepted += len(done)
            self._dropped[reason_of(why)] += len(refused)

    def mark(self) -> None:
        with self._lock:
            self._marked = self._number

    def note(self, dropped: Mapping[str, int]) -> None:
        with self._lock:
            self._dropped.update(dropped)

    def counts(self) -> SpoolCounts:
        with self._lock:
            return SpoolCounts(
                len(self._held[Grade.EVENT]),
                len(self._held[Grade.TELEMETRY]),
                sum(self._bytes.values()),
                self._accepted,
                {reason: n for reason, n in sorted(self._dropped.items()) if n},
                self._degraded,
            )

    def close(self) -> None:
        with self._lock:
            self._out.clear()

    # For a spool that moves elsewhere what it keeps here

    def waiting(self) -> tuple[Entry, ...]:
        """What is held and not out, events first, each oldest first."""
        with self._lock:
            held = (held.entry for kind in Grade for held in self._held[kind].values())
            return tuple(entry for entry in held if entry.id not in self._out)

    def hand_over(self, ids: Iterable[str]) -> Mapping[str, int]:
        """Forget entries that are kept elsewhere now, and the counts of drops, which are the answer."""
        with self._lock:
            for key in ids:
                for grade in Grade:
                    self._remove(grade, key)
            dropped, self._dropped = self._dropped, Counter()
            return {reason: n for reason, n in dropped.items() if n}

    def _lane(self, held: _Held) -> Lane:
        return Lane.LIVE if held.number > self._marked else Lane.BACKLOG

    def _keep(self, entry: Entry) -> bool:
        if any(entry.id in held for held in self._held.values()):
            return True
        if entry.cost > self._limits.of(entry.grade):
            self._dropped["too_large"] += 1
            return False
        while not self._limits.fits(entry, self._bytes):
            victim = self._oldest_evictable(entry.grade)
            if victim is None:
                self._dropped[f"{entry.grade.label}_full"] += 1
                return False
            self._remove(victim.grade, victim.id)
            self._dropped[f"{victim.grade.label}_full"] += 1
        self._number += 1
        self._held[entry.grade][entry.id] = _Held(entry, self._number, self._clock())
        self._bytes[entry.grade] += entry.cost
        return True

    def _oldest_evictable(self, for_grade: Grade) -> Entry | None:
        grades = (Grade.TELEMETRY, Grade.EVENT) if for_grade is Grade.EVENT else (Grade.TELEMETRY,)
        waiting = (held.entry for grade in grades for held in self._held[grade].values())
        return next((entry for entry in waiting if entry.id not in self._out), None)

    def _expire(self) -> None:
        now = self._clock()
        for grade in Grade:
            oldest = now - self._limits.age_s(grade)
            for held in [h for h in self._held[grade].values() if h.born_s < oldest and h.entry.id not in self._out]:
                self._remove(grade, held.entry.id)
                self._dropped[f"{grade.label}_age"] += 1

    def _remove(self, grade: Grade, key: str) -> None:
        held = self._held[grade].pop(key, None)
        if held is not None:
            self._bytes[grade] -= held.entry.cost
