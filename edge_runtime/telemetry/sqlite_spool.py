"""The spool on the disk: one SQLite file in WAL mode. The only file that knows sqlite3.

Events are committed with `synchronous=FULL` (they survive a power cut once `add` has returned), figures and
acknowledgements with NORMAL: what they lose in a power cut is droppable, or is sent once more under the same id.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.quarantine import set_aside
from edge_runtime.telemetry.spool import Entry, Grade, SpoolCounts, SpoolLimits, check_batch

log = logging.getLogger(__name__)
T = TypeVar("T")

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, grade INTEGER NOT NULL,
  topic TEXT NOT NULL, payload BLOB NOT NULL, cost INTEGER NOT NULL, born_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS entry_by_grade ON entry(grade, seq);
CREATE TABLE IF NOT EXISTS figure(name TEXT PRIMARY KEY, value REAL NOT NULL);
PRAGMA user_version=1;
"""


@dataclass(slots=True)
class _Load:
    """Entries of one grade, and what they cost."""

    entries: int = 0
    bytes: int = 0

    def add(self, entries: int, size: int) -> None:
        self.entries += entries
        self.bytes += size


class SqliteSpool:
    """A spool in the file `path`. Raises errors.TryAgain where the storage fails (full, read-only, I/O error).

    A file that is damaged is renamed to `<name>.corrupt-<n>`, counted as `quarantined_file`, and a new one begun.
    """

    def __init__(
        self, path: Path, limits: SpoolLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._limits = limits or SpoolLimits()
        self._clock = clock
        self._lock = threading.RLock()
        self._out: frozenset[str] | None = None
        self._out_last: dict[Grade, int] = {}
        """The youngest entry of each grade that is out."""
        self._changes = 0
        self._load: dict[Grade, _Load] = {}
        """What the file holds, kept along: counting it anew reads the whole file. Empty: not known."""
        self._tally: Counter[str] = Counter()
        """Counted in the step under way; becomes part of `figure` with its commit."""
        self._lost = False
        """True while a damaged file was closed and no new one could be begun yet."""
        with self._lock:
            self._db = self._open_sound()

    def add(self, entries: Iterable[Entry]) -> int:
        wanted = tuple(entries)
        durable = any(entry.grade is Grade.EVENT for entry in wanted)
        return self._step(lambda: sum(self._keep(entry) for entry in wanted), durable)

    def begin(self, limit: int) -> tuple[Entry, ...]:
        with self._lock:
            if self._out is not None:
                raise RuntimeError("begin() while a batch is out")
            rows = self._step(lambda: self._oldest(limit), durable=False)
            self._out = frozenset(entry.id for _, entry in rows)
            self._out_last = {entry.grade: seq for seq, entry in rows}
            return tuple(entry for _, entry in rows)

    def end(self, accepted: Iterable[str], rejected: Iterable[str] = ()) -> None:
        done, refused = tuple(accepted), tuple(rejected)
        with self._lock:
            check_batch(self._out, done, refused)

            def forget() -> None:
                self._delete((*done, *refused))
                self._tally["accepted"] += len(done)
                self._tally["rejected"] += len(refused)

            self._step(forget, durable=False)
            self._out, self._out_last = None, {}

    def counts(self) -> SpoolCounts:
        with self._lock:
            return self._step(self._counts, durable=False)

    def close(self) -> None:
        with self._lock:
            self._out, self._out_last = None, {}
            self._db.close()

    # One step is one SQLite transaction, tried once more on a fresh file if the old one is damaged.

    def _step(self, work: Callable[[], T], durable: bool) -> T:
        with self._lock:
            if self._lost:
                self._reopen(damaged=False)
            try:
                return self._transact(work, durable)
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.DatabaseError as fault:
                if not _is_damage(fault):
                    raise self._storage_fault(fault) from fault
                log.warning("spool %s is damaged (%s); it is set aside and a new one begun", self._path, fault)
            self._reopen(damaged=True)
            try:
                return self._transact(work, durable)
            except sqlite3.DatabaseError as fault:
                raise self._storage_fault(fault) from fault

    def _transact(self, work: Callable[[], T], durable: bool) -> T:
        db = self._db
        self._tally.clear()
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        db.execute("BEGIN")
        try:
            result = work()
            self._write_tally()
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            self._load.clear()
            raise
        return result

    def _storage_fault(self, fault: sqlite3.DatabaseError) -> TryAgain:
        return TryAgain(f"the spool {self._path} can not be used: {fault}", "Free the disk, or make it writable")

    # Opening

    def _reopen(self, damaged: bool) -> None:
        """Raises TryAgain if that fails; the next step then tries it again."""
        self._lost = True
        self._db.close()
        self._db = self._open_sound(damaged)
        self._lost = False

    def _open_sound(self, damaged: bool = False) -> sqlite3.Connection:
        """The file, or a new one if it is damaged: known to be, or found to be."""
        try:
            if not damaged:
                try:
                    return self._open()
                except sqlite3.DatabaseError as fault:
                    if not _is_damage(fault):
                        raise
                    log.warning("spool %s is damaged (%s); it is set aside and a new one begun", self._path, fault)
            return self._begin_afresh()
        except sqlite3.DatabaseError as fault:
            raise self._storage_fault(fault) from fault
        except OSError as fault:
            raise TryAgain(
                f"the spool {self._path} can not be made: {fault.strerror}", "Make its folder writable"
            ) from None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA journal_size_limit=4194304")
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if verdict != "ok" or version not in (0, 1):
                raise _damage(f"quick_check says {verdict!r}, version {version}")
            db.executescript(_SCHEMA)
            lived = db.execute("SELECT value FROM figure WHERE name='lived_s'").fetchone()
        except BaseException:
            db.close()
            raise
        self._lived_before_s = float(lived[0]) if lived else 0.0
        self._opened_s = self._clock()
        self._load.clear()
        return db

    def _begin_afresh(self) -> sqlite3.Connection:
        set_aside(self._path)
        db = self._open()
        db.execute("INSERT INTO figure VALUES('quarantined_file', 1)")
        return db

    # Inside a step

    def _lived_s(self) -> float:
        return self._lived_before_s + self._clock() - self._opened_s

    def _loads(self) -> dict[Grade, _Load]:
        if not self._load:
            self._load = {grade: _Load() for grade in Grade}
            for grade, entries, size in self._db.execute("SELECT grade, COUNT(*), SUM(cost) FROM entry GROUP BY grade"):
                self._load[Grade(grade)] = _Load(entries, size)
        return self._load

    def _keep(self, entry: Entry) -> bool:
        if self._db.execute("SELECT 1 FROM entry WHERE id=?", (entry.id,)).fetchone():
            return True
        if entry.cost > self._limits.of(entry.grade):
            self._tally["too_large"] += 1
            return False
        while not self._fits(entry):
            if not self._evict_for(entry.grade):
                self._tally[f"{entry.grade.label}_full"] += 1
                return False
        self._db.execute(
            "INSERT INTO entry(id, grade, topic, payload, cost, born_s) VALUES(?,?,?,?,?,?)",
            (entry.id, int(entry.grade), entry.topic, entry.payload, entry.cost, self._lived_s()),
        )
        self._loads()[entry.grade].add(1, entry.cost)
        return True

    def _fits(self, entry: Entry) -> bool:
        loads = self._loads()
        if sum(load.bytes for load in loads.values()) + entry.cost > self._limits.max_bytes:
            return False
        return entry.grade is Grade.EVENT or loads[entry.grade].bytes + entry.cost <= self._limits.of(entry.grade)

    def _evict_for(self, grade: Grade) -> bool:
        """Drop the oldest entry that may go for one of `grade`. A batch that is out always holds the oldest of its grade."""
        for kind in (Grade.TELEMETRY, Grade.EVENT) if grade is Grade.EVENT else (Grade.TELEMETRY,):
            row = self._oldest_of(kind, after=self._out_last.get(kind, 0))
            if row is not None:
                self._forget(kind, row[0], row[1])
                self._tally[f"{kind.label}_full"] += 1
                return True
        return False

    def _oldest_of(self, grade: Grade, after: int = 0) -> tuple[int, int, float] | None:
        """(seq, cost, born_s) of the oldest entry of a grade behind `after`."""
        row: tuple[int, int, float] | None = self._db.execute(
            "SELECT seq, cost, born_s FROM entry WHERE grade=? AND seq>? ORDER BY seq LIMIT 1", (int(grade), after)
        ).fetchone()
        return row

    def _forget(self, grade: Grade, seq: int, cost: int) -> None:
        self._db.execute("DELETE FROM entry WHERE seq=?", (seq,))
        self._loads()[grade].add(-1, -cost)

    def _oldest(self, limit: int) -> list[tuple[int, Entry]]:
        for grade in Grade:
            oldest_s = self._lived_s() - self._limits.age_s(grade)
            while (row := self._oldest_of(grade)) is not None and row[2] < oldest_s:
                self._forget(grade, row[0], row[1])
                self._tally[f"{grade.label}_age"] += 1
        rows = self._db.execute(
            "SELECT seq, id, grade, topic, payload FROM entry ORDER BY grade, seq LIMIT ?", (limit,)
        ).fetchall()
        return [(seq, Entry(key, Grade(grade), topic, payload)) for seq, key, grade, topic, payload in rows]

    def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            row = self._db.execute("SELECT seq, grade, cost FROM entry WHERE id=?", (key,)).fetchone()
            if row is not None:
                self._forget(Grade(row[1]), row[0], row[2])

    def _counts(self) -> SpoolCounts:
        figures = dict(self._db.execute("SELECT name, value FROM figure ORDER BY name").fetchall())
        figures.pop("lived_s", None)
        accepted = int(figures.pop("accepted", 0))
        events, telemetry = self._loads()[Grade.EVENT], self._loads()[Grade.TELEMETRY]
        dropped = {reason: int(n) for reason, n in figures.items()}
        return SpoolCounts(events.entries, telemetry.entries, events.bytes + telemetry.bytes, accepted, dropped)

    def _write_tally(self) -> None:
        if not self._db.total_changes > self._changes and not self._tally:
            return
        rows = [(name, float(n)) for name, n in self._tally.items() if n]
        self._db.executemany(
            "INSERT INTO figure VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=value+excluded.value", rows
        )
        self._db.execute("INSERT OR REPLACE INTO figure VALUES('lived_s', ?)", (self._lived_s(),))
        self._changes = self._db.total_changes


def _is_damage(fault: sqlite3.DatabaseError) -> bool:
    return (getattr(fault, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def _damage(text: str) -> sqlite3.DatabaseError:
    fault = sqlite3.DatabaseError(text)
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return fault
