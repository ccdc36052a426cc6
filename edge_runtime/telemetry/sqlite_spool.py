"""The spool on the disk: one SQLite file in WAL mode, one transaction for each call that changes it.

Events are committed with `synchronous=FULL` (they survive a power cut once `add` has returned), figures and
acknowledgements with NORMAL: what they lose in a power cut is droppable, or is sent once more under the same id.
`spool_file` opens it, `spool_rows` knows its rows, `spool_afresh` and `spool_salvage` what to do when it is damaged.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.spool import (
    Clock,
    Entry,
    Grade,
    Lane,
    SpoolCounts,
    SpoolLimits,
    check_out,
    reason_of,
)
from edge_runtime.telemetry.spool_afresh import SALVAGED, begin_afresh, finish, open_whole
from edge_runtime.telemetry.spool_file import is_damage, is_io_error
from edge_runtime.telemetry.spool_rows import Rows
from edge_runtime.telemetry.spool_salvage import partly_unreadable

T = TypeVar("T")

LIVED_S = 60.0
"""How exactly the file knows how long the spool has lived: a page that is not written for each figure."""
_OWN_FIGURES = ("accepted", "lived_s", SALVAGED)


class SqliteSpool:
    """A spool in the file `path`. Raises errors.TryAgain where the storage fails (full, read-only, I/O error).

    A file that is damaged is renamed to `<name>.corrupt-<n>`, counted as `quarantined_file`, and a new one begun with
    the entries that could still be read.
    """

    def __init__(self, path: Path, limits: SpoolLimits | None = None, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._limits = limits or SpoolLimits()
        self._clock = clock
        self._lock = threading.RLock()
        self._out: set[str] = set()
        self._marked: int | None = None
        """The youngest number of the backlog."""
        self._lost = False
        """True while a damaged file was closed and no new one could be begun yet."""
        self._closed = False
        self._damage = ""
        self._db: sqlite3.Connection
        self._rows: Rows
        with self._lock:
            self._open()

    def add(self, entries: Iterable[Entry]) -> int:
        wanted = tuple(entries)
        durable = any(entry.grade is Grade.EVENT for entry in wanted)
        return self._step(lambda: sum(self._rows.keep(entry, self._lived_s()) for entry in wanted), durable)

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        def hand_out() -> tuple[Entry, ...]:
            self._rows.expire(self._lived_s())
            return tuple(self._rows.oldest(limit, grade, (lane, self._marked or 0), without))

        with self._lock:
            taken = self._step(hand_out, durable=False)
            self._out |= {entry.id for entry in taken}
            return taken

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        done, refused, back = tuple(accepted), tuple(rejected), tuple(kept)

        def forget() -> None:
            self._rows.delete((*done, *refused))
            self._rows.counted.update({"accepted": len(done), reason_of(why): len(refused)})

        with self._lock:
            check_out(self._out, done, refused, back)
            if done or refused:
                self._step(forget, durable=False)
            self._out.difference_update(done, refused, back)

    def mark(self) -> None:
        with self._lock:
            self._marked = self._rows.tally.next - 1

    def note(self, dropped: Mapping[str, int]) -> None:
        def write() -> None:
            self._rows.counted.update(dropped)
            self._rows.write_figures(self._lived_s())
            self._rows.counted.clear()

        self._step(write, durable=True)

    def counts(self) -> SpoolCounts:
        """Kept along in memory: asks nothing of the disk."""
        with self._lock:
            tally = self._rows.tally
            dropped = {name: int(n) for name, n in sorted(tally.figures.items()) if name not in _OWN_FIGURES}
            return SpoolCounts(
                tally.entries[Grade.EVENT],
                tally.entries[Grade.TELEMETRY],
                sum(tally.bytes.values()),
                int(tally.figures.get("accepted", 0)),
                dropped,
                salvaged=int(tally.figures.get(SALVAGED, 0)),
                damage=self._damage,
            )

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            with suppress(TryAgain):
                self._step(lambda: self._rows.write_figures(self._lived_s()), durable=False)
            self._closed = True
            self._out.clear()
            self._db.close()

    # One step is one SQLite transaction, tried once more on a fresh file if the old one is damaged.

    def _step(self, work: Callable[[], T], durable: bool) -> T:
        with self._lock:
            if self._lost:
                self._reopen()
            try:
                return self._transact(work, durable)
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as fault:
                if not is_damage(fault):
                    raise self._storage_fault(fault) from fault
                found = str(fault)
            except UnicodeDecodeError as fault:
                found = str(fault)
            self._reopen(found)
            try:
                return self._transact(work, durable)
            except sqlite3.DatabaseError as fault:
                raise self._storage_fault(fault) from fault

    def _transact(self, work: Callable[[], T], durable: bool) -> T:
        db, rows, before = self._db, self._rows, self._rows.tally.copy()
        rows.counted.clear()
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        db.execute("BEGIN")
        try:
            changes = db.total_changes
            result = work()
            if db.total_changes > changes or any(rows.counted.values()):
                lived_s = self._lived_s()
                late = lived_s - rows.tally.figures.get("lived_s", 0.0) >= LIVED_S
                rows.write_figures(lived_s if late else None)
            db.execute("COMMIT")
        except BaseException:
            rows.tally = before
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return result

    def _storage_fault(self, fault: sqlite3.DatabaseError) -> TryAgain:
        return TryAgain(f"the spool {self._path} can not be used: {fault}", "Free the disk, or make it writable")

    # Opening

    def _reopen(self, damaged: str = "") -> None:
        """Raises TryAgain if that fails; the next step then tries it again."""
        self._lost = True
        self._db.close()
        self._open(damaged)
        self._lost = False

    def _open(self, damaged: str = "") -> None:
        """The file, or a new one if it is damaged: known to be, or found to be."""
        try:
            finish(self._path)
            if damaged:
                self._begin_afresh(damaged)
            try:
                self._db, tally = open_whole(self._path)
            except sqlite3.DatabaseError as fault:
                if not (is_damage(fault) or (is_io_error(fault) and partly_unreadable(self._path))):
                    raise
                self._begin_afresh(str(fault))
                self._db, tally = open_whole(self._path)
        except sqlite3.DatabaseError as fault:
            raise self._storage_fault(fault) from fault
        except OSError as fault:
            raise TryAgain(
                f"the spool {self._path} can not be made: {fault.strerror}", "Make its folder writable"
            ) from None
        self._rows = Rows(self._db, tally, self._limits, self._out)
        self._lived_before_s = tally.figures.get("lived_s", 0.0)
        self._opened_s = self._clock()
        if self._marked is None:
            self._marked = tally.next - 1

    def _begin_afresh(self, damage: str) -> None:
        begin_afresh(self._path, damage)
        self._damage = damage

    def _lived_s(self) -> float:
        return self._lived_before_s + self._clock() - self._opened_s
