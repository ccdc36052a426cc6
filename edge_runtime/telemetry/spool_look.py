"""A look into a spool from outside: beside a running daemon, after it has stopped, or in a file that was set aside.

Nothing is changed. A sound file is read through SQLite, in short transactions that hold up nobody; of a damaged one the
pages are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.telemetry.quarantine import quarantined
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.spool_afresh import SALVAGED
from edge_runtime.telemetry.spool_file import TABLES, Damaged, is_damage
from edge_runtime.telemetry.spool_rows import COLUMNS, Row, figure_of, row_of
from edge_runtime.telemetry.spool_salvage import salvage

AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Held:
    """An entry, and for how long the daemon has run since it came, as far as the file knows."""

    entry: Entry
    age_s: float


@dataclass(frozen=True, slots=True)
class SpoolLook:
    """What a spool holds and what became of the rest since it was made."""

    path: Path
    size_bytes: int
    """Of the file and its journal."""
    damage: str = ""
    """Why it counts as damaged; the other figures are then of what could still be read."""
    entries: Mapping[Grade, int] = field(default_factory=dict)
    bytes: int = 0
    """As they count against the bound."""
    oldest_s: Mapping[Grade, float] = field(default_factory=dict)
    accepted: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    salvaged: int = 0
    set_aside: tuple[Path, ...] = ()
    """Damaged files beside it."""


def look(path: Path) -> SpoolLook:
    """Raises Unavailable if there is no spool to read, Refused if it is something else."""
    source = _open(path)
    entries, oldest_s, size = dict.fromkeys(Grade, 0), dict[Grade, float](), 0
    for held in source.held():
        grade = held.entry.grade
        entries[grade] += 1
        size += held.entry.cost
        oldest_s[grade] = max(held.age_s, oldest_s.get(grade, 0.0))
    figures = {name: int(value) for name, value in sorted(source.figures.items()) if name != "lived_s"}
    accepted, salvaged = figures.pop("accepted", 0), figures.pop(SALVAGED, 0)
    files = (path, path.with_name(f"{path.name}-wal"))
    return SpoolLook(
        path,
        sum(file.stat().st_size for file in files if file.is_file()),
        source.damage,
        entries,
        size,
        oldest_s,
        accepted,
        figures,
        salvaged,
        tuple(quarantined(path)),
    )


def entries_of(path: Path) -> Iterator[Held]:
    """Events first, each grade oldest first. Raises as `look` does, before the first."""
    return _open(path).held()


@dataclass(slots=True)
class _Sound:
    db: sqlite3.Connection
    figures: dict[str, float]
    damage: str = ""

    def held(self) -> Iterator[Held]:
        last = -1
        while rows := self._after(last):
            last = rows[-1][0]
            for row in (row_of(*raw) for raw in rows):
                if row is not None:
                    yield _held(row, self.figures)
        self.db.close()

    def _after(self, key: int) -> list[tuple[int, object, object, object, object, object]]:
        try:
            return self.db.execute(
                f"SELECT {COLUMNS} FROM held WHERE key>? ORDER BY key LIMIT {AT_ONCE}", (key,)
            ).fetchall()
        except sqlite3.DatabaseError as fault:
            raise TryAgain(
                f"the spool can not be read on: {fault}", "Look again; the daemon may be mending it"
            ) from None


@dataclass(slots=True)
class _Damaged:
    rows: list[Row]
    figures: dict[str, float]
    damage: str

    def held(self) -> Iterator[Held]:
        return (_held(row, self.figures) for row in self.rows)


def _held(row: Row, figures: Mapping[str, float]) -> Held:
    return Held(row.entry, max(0.0, figures.get("lived_s", row.born_s) - row.born_s))


def _open(path: Path) -> _Sound | _Damaged:
    if not path.is_file():
        raise Unavailable(
            f"there is no spool at {path}",
            "Name a device's spool.db, or a file beside it that was set aside (spool.db.corrupt-1)",
        )
    try:
        return _open_sound(path)
    except sqlite3.DatabaseError as fault:
        damage = str(fault) if is_damage(fault) else ""
    try:
        found = salvage(path)
    except OSError as fault:
        raise Unavailable(
            f"{path} can not be read: {fault.strerror}", "Run it as the daemon's user, or as root"
        ) from None
    if not found.rows and not found.figures:
        raise Refused(f"{path} holds nothing that could be read as a spool", "Is it the file that you mean?")
    return _Damaged(found.oldest_first(), found.figures, damage)


def _open_sound(path: Path) -> _Sound:
    """Raises sqlite3.DatabaseError if SQLite can not read it here, or it is damaged."""
    db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=2.0, isolation_level=None)
    try:
        db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        tables = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        figures = [figure_of(*raw) for raw in db.execute("SELECT name, value, seal FROM figure")]
        if tables != TABLES or verdict != "ok" or None in figures:
            raise Damaged(f"quick_check says {verdict!r}")
        return _Sound(db, dict(figure for figure in figures if figure is not None))
    except UnicodeDecodeError as fault:
        db.close()
        raise Damaged("its schema is no text") from fault
    except BaseException:
        db.close()
        raise
