"""Where messages wait until the broker has acknowledged them: the contract, and the spool in memory.

A spool is a transaction, after telegraf's buffer: `begin` hands out the oldest entries, `end` says which of them were
accepted, which are refused for good, and keeps the others for the next time. Two grades: events are durable, figures
may be dropped. Bounded in bytes and age; what is dropped is counted by reason.
It is not a queue between threads (uplink has one), and not an archive: what is accepted is gone.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Protocol

ENTRY_OVERHEAD_BYTES = 128
"""What one entry costs beside its topic, id and payload: row header, index, page slack."""


class Grade(IntEnum):
    """The lower goes out first and is dropped last."""

    EVENT = 0
    TELEMETRY = 1

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that waits. `id` is stable: adding it again changes nothing."""

    id: str
    grade: Grade
    topic: str
    payload: bytes

    @property
    def cost(self) -> int:
        """Bytes it counts for against the bound."""
        return len(self.id) + len(self.topic) + len(self.payload) + ENTRY_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much may wait, and for how long."""

    max_bytes: int = 64_000_000
    telemetry_share: float = 0.5
    """Of max_bytes: what figures may take at most, so that events always find room."""
    event_age_s: float = 30 * 86_400.0
    telemetry_age_s: float = 7 * 86_400.0
    """Ages count the time the daemon was running: the wall clock may jump, and the device may have been off."""

    def of(self, grade: Grade) -> int:
        """Bytes that entries of a grade may take."""
        return self.max_bytes if grade is Grade.EVENT else int(self.max_bytes * self.telemetry_share)

    def age_s(self, grade: Grade) -> float:
        return self.event_age_s if grade is Grade.EVENT else self.telemetry_age_s


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What waits, and what became of the rest since the spool was made."""

    events: int = 0
    telemetry: int = 0
    bytes: int = 0
    accepted: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> entries: `event_full`, `telemetry_full`, `event_age`, `telemetry_age`, `too_large`, `rejected`, `quarantined_file`."""
    degraded: str = ""
    """Why the spool is not on the disk; empty if it is where it should be."""


class Spool(Protocol):
    """Every method may be called from any thread. `errors.TryAgain` means that the storage failed; nothing was changed."""

    def add(self, entries: Iterable[Entry]) -> int:
        """Keep entries, in one step; events durably when this returns. How many are kept: the others are counted.

        A full spool drops its oldest figures first, then its oldest events; never one that is out in a batch.
        """
        ...

    def begin(self, limit: int) -> tuple[Entry, ...]:
        """Drop what is too old, then hand out up to `limit` entries: events before figures, each oldest first.

        RuntimeError if a batch is out already.
        """
        ...

    def end(self, accepted: Iterable[str], rejected: Iterable[str] = ()) -> None:
        """Close the batch: forget the accepted, drop and count the rejected, keep the others.

        RuntimeError if no batch is out, or for an id that is not in it.
        """
        ...

    def counts(self) -> SpoolCounts: ...

    def close(self) -> None:
        """Give the storage back; the entries of an open batch are kept."""
        ...


def check_batch(out: Collection[str] | None, accepted: Collection[str], rejected: Collection[str]) -> None:
    """RuntimeError unless a batch is out and both sets are disjoint parts of it."""
    if out is None:
        raise RuntimeError("end() without begin()")
    if not (set(accepted) | set(rejected)) <= set(out) or set(accepted) & set(rejected):
        raise RuntimeError("end() names entries that are not in the batch, or names one twice")


@dataclass(frozen=True, slots=True)
class _Held:
    entry: Entry
    born_s: float


class MemorySpool:
    """The spool of a device whose disk is read-only or full: the same laws, but gone with the process."""

    def __init__(
        self,
        limits: SpoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        degraded: str = "kept in memory",
    ) -> None:
        self._limits = limits or SpoolLimits(max_bytes=8_000_000)
        self._clock = clock
        self._held: dict[Grade, dict[str, _Held]] = {grade: {} for grade in Grade}
        self._bytes = dict.fromkeys(Grade, 0)
        self._out: tuple[Entry, ...] | None = None
        self._dropped: Counter[str] = Counter()
        self._accepted = 0
        self._degraded = degraded
        self._lock = threading.Lock()

    def add(self, entries: Iterable[Entry]) -> int:
        with self._lock:
            return sum(self._keep(entry) for entry in entries)

    def begin(self, limit: int) -> tuple[Entry, ...]:
        with self._lock:
            if self._out is not None:
                raise RuntimeError("begin() while a batch is out")
            self._expire()
            waiting = (held.entry for grade in Grade for held in self._held[grade].values())
            self._out = tuple(islice(waiting, limit))
            return self._out

    def end(self, accepted: Iterable[str], rejected: Iterable[str] = ()) -> None:
        done, refused = tuple(accepted), tuple(rejected)
        with self._lock:
            out = None if self._out is None else {entry.id: entry.grade for entry in self._out}
            check_batch(out, done, refused)
            assert out is not None
            for key in (*done, *refused):
                self._remove(out[key], key)
            self._accepted += len(done)
            self._dropped["rejected"] += len(refused)
            self._out = None

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
            self._out = None

    def _keep(self, entry: Entry) -> bool:
        if any(entry.id in held for held in self._held.values()):
            return True
        if entry.cost > self._limits.of(entry.grade):
            self._dropped["too_large"] += 1
            return False
        while not self._fits(entry):
            victim = self._oldest_evictable(entry.grade)
            if victim is None:
                self._dropped[f"{entry.grade.label}_full"] += 1
                return False
            self._remove(victim.grade, victim.id)
            self._dropped[f"{victim.grade.label}_full"] += 1
        self._held[entry.grade][entry.id] = _Held(entry, self._clock())
        self._bytes[entry.grade] += entry.cost
        return True

    def _fits(self, entry: Entry) -> bool:
        if sum(self._bytes.values()) + entry.cost > self._limits.max_bytes:
            return False
        return entry.grade is Grade.EVENT or self._bytes[entry.grade] + entry.cost <= self._limits.of(entry.grade)

    def _oldest_evictable(self, for_grade: Grade) -> Entry | None:
        out = {entry.id for entry in self._out or ()}
        grades = (Grade.TELEMETRY, Grade.EVENT) if for_grade is Grade.EVENT else (Grade.TELEMETRY,)
        waiting = (held.entry for grade in grades for held in self._held[grade].values())
        return next((entry for entry in waiting if entry.id not in out), None)

    def _expire(self) -> None:
        now = self._clock()
        for grade in Grade:
            oldest = now - self._limits.age_s(grade)
            for held in [h for h in self._held[grade].values() if h.born_s < oldest]:
                self._remove(grade, held.entry.id)
                self._dropped[f"{grade.label}_age"] += 1

    def _remove(self, grade: Grade, key: str) -> None:
        held = self._held[grade].pop(key, None)
        if held is not None:
            self._bytes[grade] -= held.entry.cost
