"""The rows of a spool's file: their form, their seal, and what may be asked of them inside a transaction.

A row's key is its grade and a running number in one, so that the order of keys is the order in which entries go out and
a lane is a range of keys: no index but that of the ids is written. The seal (CRC-32 over the whole row) is there because
SQLite does not notice a changed byte inside a payload: a row that does not keep its seal is dropped and counted.
"""

from __future__ import annotations

import math
import sqlite3
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from edge_runtime.telemetry.spool import DAMAGED_ENTRY, Entry, Grade, Lane, SpoolLimits

_BITS = 48
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as the file keeps it."""

    key: int
    entry: Entry
    born_s: float
    """Of the time that the spool has lived through."""

    def columns(self) -> tuple[int, str, str, bytes, int, float, int]:
        """As the table `held` has them."""
        entry = self.entry
        seal = seal_of(self.key, entry.id, entry.topic, entry.payload, self.born_s)
        return self.key, entry.id, entry.topic, entry.payload, entry.cost, self.born_s, seal


COLUMNS = "key, id, topic, payload, born_s, seal"


def seal_of(key: int, name: str, topic: str, payload: bytes, born_s: float) -> int:
    head = f"{key}\0{born_s!r}\0{name}\0{topic}\0".encode("utf-8", "surrogatepass")
    return zlib.crc32(payload, zlib.crc32(head))


def row_of(key: object, name: object, topic: object, payload: object, born_s: object, seal: object) -> Row | None:
    """A row that was read; None if it is not what was written."""
    if not (isinstance(key, int) and isinstance(name, str) and isinstance(topic, str) and isinstance(payload, bytes)):
        return None
    if not isinstance(born_s, float) or seal != seal_of(key, name, topic, payload, born_s):
        return None
    return Row(key, Entry(name, Grade(key >> _BITS), topic, payload), born_s)


def figure_seal(name: str, value: float) -> int:
    return zlib.crc32(f"{name}={value!r}".encode())


def figure_of(name: object, value: object, seal: object) -> tuple[str, float] | None:
    """A figure that was read; None if it is not what was written."""
    if not (isinstance(name, str) and isinstance(value, float) and math.isfinite(value)):
        return None
    return (name, value) if seal == figure_seal(name, value) else None


@dataclass(slots=True)
class Tally:
    """What a spool holds and what became of the rest, kept along: counting it anew would read the whole file."""

    entries: dict[Grade, int] = field(default_factory=lambda: dict.fromkeys(Grade, 0))
    bytes: dict[Grade, int] = field(default_factory=lambda: dict.fromkeys(Grade, 0))
    figures: dict[str, float] = field(default_factory=dict)
    next: int = 1
    """The number of the next entry."""

    def copy(self) -> Tally:
        return Tally(dict(self.entries), dict(self.bytes), dict(self.figures), self.next)

    def add(self, grade: Grade, entries: int, size: int) -> None:
        self.entries[grade] += entries
        self.bytes[grade] += size


class Rows:
    """What may be done with the rows of one open file, inside a transaction. `out`: ids that are neither handed out nor dropped."""

    def __init__(self, db: sqlite3.Connection, tally: Tally, limits: SpoolLimits, out: Collection[str]) -> None:
        self._db = db
        self._limits = limits
        self._out = out
        self.tally = tally
        self.counted: Counter[str] = Counter()
        """In the step under way, by figure."""

    def keep(self, entry: Entry, lived_s: float) -> bool:
        """Insert an entry, after what has to go for it; False if there is no room."""
        if self._db.execute("SELECT 1 FROM held WHERE id=?", (entry.id,)).fetchone():
            return True
        if entry.cost > self._limits.of(entry.grade):
            self.counted["too_large"] += 1
            return False
        while not self._limits.fits(entry, self.tally.bytes):
            if not self._evict_for(entry.grade):
                self.counted[f"{entry.grade.label}_full"] += 1
                return False
        row = Row(int(entry.grade) << _BITS | self.tally.next, entry, float(lived_s))
        self._db.execute("INSERT INTO held VALUES(?,?,?,?,?,?,?)", row.columns())
        self.tally.next += 1
        self.tally.add(entry.grade, 1, entry.cost)
        return True

    def oldest(
        self, limit: int, grade: Grade | None, lane: tuple[Lane | None, int], without: Collection[str]
    ) -> list[Entry]:
        """Up to `limit` entries that are not out; rows that do not keep their seal go. `lane`: and where it is marked."""
        found: list[Entry] = []
        for kind in Grade if grade is None else (grade,):
            found += self._oldest_of(kind, limit - len(found), lane, tuple(without))
        return found

    def expire(self, lived_s: float) -> None:
        for grade in Grade:
            oldest_s = lived_s - self._limits.age_s(grade)
            while (row := self._first(grade)) is not None and row[3] < oldest_s:
                self._forget(row[0], row[2])
                self.counted[f"{grade.label}_age"] += 1

    def delete(self, ids: Iterable[str]) -> None:
        for name in ids:
            row = self._db.execute("SELECT key, cost FROM held WHERE id=?", (name,)).fetchone()
            if row is not None:
                self._forget(*row)

    def write_figures(self, lived_s: float | None) -> None:
        """Add what was counted in this step to the file's figures, and with it how long the spool has lived."""
        fresh = {name: self.tally.figures.get(name, 0.0) + n for name, n in self.counted.items() if n}
        if lived_s is not None:
            fresh["lived_s"] = lived_s
        rows = [(name, value, figure_seal(name, value)) for name, value in fresh.items()]
        self._db.executemany("INSERT OR REPLACE INTO figure VALUES(?,?,?)", rows)
        self.tally.figures |= fresh

    def _oldest_of(
        self, grade: Grade, limit: int, lane: tuple[Lane | None, int], without: tuple[str, ...]
    ) -> list[Entry]:
        first = lane[1] + 1 if lane[0] is Lane.LIVE else 0
        last = lane[1] if lane[0] is Lane.BACKLOG else _MASK
        most = limit + len(self._out)
        found: list[Entry] = []
        while len(found) < limit and first <= last:
            span = (int(grade) << _BITS | first, int(grade) << _BITS | last)
            rows = self._db.execute(
                f"SELECT {COLUMNS}, cost FROM held WHERE key BETWEEN ? AND ? "
                f"AND topic NOT IN ({','.join('?' * len(without))}) ORDER BY key LIMIT ?",
                (*span, *without, most),
            ).fetchall()
            found += [entry for entry in map(self._whole, rows) if entry is not None][: limit - len(found)]
            if len(rows) < most:
                break
            first = (rows[-1][0] & _MASK) + 1
        return found

    def _whole(self, raw: tuple[int, object, object, object, object, object, int]) -> Entry | None:
        """The entry of a row, unless it is out, or does not keep its seal: it is then dropped."""
        row = row_of(*raw[:6])
        if row is None:
            self._forget(raw[0], raw[6])
            self.counted[DAMAGED_ENTRY] += 1
            return None
        return None if row.entry.id in self._out else row.entry

    def _evict_for(self, grade: Grade) -> bool:
        """Drop the oldest entry that may go for one of `grade`."""
        for kind in (Grade.TELEMETRY, Grade.EVENT) if grade is Grade.EVENT else (Grade.TELEMETRY,):
            row = self._first(kind)
            if row is not None:
                self._forget(row[0], row[2])
                self.counted[f"{kind.label}_full"] += 1
                return True
        return False

    def _first(self, grade: Grade) -> tuple[int, str, int, float] | None:
        """(key, id, cost, born_s) of the oldest entry of a grade that is not out."""
        low = int(grade) << _BITS
        rows = self._db.execute(
            "SELECT key, id, cost, born_s FROM held WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            (low, low | _MASK, len(self._out) + 1),
        )
        return next((row for row in rows if row[1] not in self._out), None)

    def _forget(self, key: int, cost: int) -> None:
        self._db.execute("DELETE FROM held WHERE key=?", (key,))
        self.tally.add(Grade(key >> _BITS), -1, -cost)


def tally_of(db: sqlite3.Connection) -> Tally:
    """Counted from the file; ValueError if a figure is not what was written."""
    tally = Tally()
    for raw in db.execute("SELECT name, value, seal FROM figure"):
        figure = figure_of(*raw)
        if figure is None:
            raise ValueError("a figure does not keep its seal")
        tally.figures[figure[0]] = figure[1]
    for grade in Grade:
        low = int(grade) << _BITS
        n, size, last = db.execute(
            "SELECT COUNT(*), TOTAL(cost), MAX(key) FROM held WHERE key BETWEEN ? AND ?", (low, low | _MASK)
        ).fetchone()
        tally.add(grade, n, int(size))
        tally.next = max(tally.next, ((last or 0) & _MASK) + 1)
    return tally
