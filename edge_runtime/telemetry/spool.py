"""Where messages wait until the broker has acknowledged them: the contract.

A spool is a transaction, after telegraf's buffer: `begin` hands entries out, `end` says which of them were accepted,
which are refused for good, and which are kept for the next time. What is out is neither handed out again nor dropped.
Two grades: events are durable, figures may be dropped. Two lanes: what comes while there is a connection does not wait
behind three days of backlog. Bounded in bytes and age; what is dropped is counted by reason.
It is not a queue between threads (uplink has one), and not an archive: what is accepted is gone. It promises no order
over lanes: readers order by session and sequence, and know by its id what came twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

ENTRY_OVERHEAD_BYTES = 128
"""What one entry costs beside its topic, id and payload: row header, index, page slack."""
QUARANTINED_FILE = "quarantined_file"
DAMAGED_ENTRY = "damaged_entry"


class Grade(IntEnum):
    """The lower goes out first and is dropped last."""

    EVENT = 0
    TELEMETRY = 1

    @property
    def label(self) -> str:
        return self.name.lower()


class Lane(IntEnum):
    """The lower goes out first."""

    LIVE = 0
    """Added since the last `mark`."""
    BACKLOG = 1
    """What waited already."""


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

    def fits(self, entry: Entry, held: Mapping[Grade, int]) -> bool:
        """Whether there is room for an entry beside so many bytes of each grade."""
        if sum(held.values()) + entry.cost > self.max_bytes:
            return False
        return entry.grade is Grade.EVENT or held[entry.grade] + entry.cost <= self.of(entry.grade)


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What waits, and what became of the rest since the spool was made."""

    events: int = 0
    telemetry: int = 0
    bytes: int = 0
    accepted: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> entries: `event_full`, `telemetry_full`, `event_age`, `telemetry_age`, `too_large`, `rejected` or
    `rejected_<reason>`, `inbox_full`, `damaged_entry`; and `quarantined_file` -> files, with what no one could read."""
    degraded: str = ""
    """Why the spool is not on the disk; empty if it is where it should be."""
    salvaged: int = 0
    """Entries that were read out of damaged files."""
    damage: str = ""
    """What was found to be damaged, and set aside, since this process opened the spool."""


class Spool(Protocol):
    """Every method may be called from any thread. `errors.TryAgain` means that the storage failed; nothing was changed."""

    def add(self, entries: Iterable[Entry]) -> int:
        """Keep entries, in one step; events durably when this returns. How many are kept: the others are counted.

        A full spool drops its oldest figures first, then its oldest events; never one that is out.
        """
        ...

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        """Drop what is too old, then hand out up to `limit` entries of that grade and lane (None: of any) that are not out.

        Events before figures, each oldest first; none of the topics in `without`.
        """
        ...

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        """Close the case of entries that are out: forget the accepted, drop and count the rejected under the reason
        `why` (a word), and let the kept be handed out again, in their old place. What is not named stays out.

        RuntimeError for an id that is not out, or that is named twice.
        """
        ...

    def mark(self) -> None:
        """All that is held now is backlog; what is added from now on is live. A spool that is opened holds backlog only."""
        ...

    def note(self, dropped: Mapping[str, int]) -> None:
        """Count drops that happened on the way to the spool, by reason, among its own.

        Durably, also if there are none: after it, the storage is known to take what is written.
        """
        ...

    def counts(self) -> SpoolCounts: ...

    def close(self) -> None:
        """Give the storage back; what is out is kept."""
        ...


Clock = Callable[[], float]


def check_out(out: Collection[str], *named: Collection[str]) -> None:
    """RuntimeError unless the ids of all `named` are out, each in one place."""
    ids = [key for keys in named for key in keys]
    if len(set(ids)) != len(ids) or not set(ids) <= set(out):
        raise RuntimeError("end() names entries that are not out, or names one twice")


def reason_of(why: str) -> str:
    """Under which name a rejection is counted."""
    return f"rejected_{why}" if why else "rejected"
