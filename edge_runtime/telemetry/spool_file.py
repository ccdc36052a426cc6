"""The file of a spool: its schema, how it is opened, and when it counts as damaged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.spool_rows import Row, Tally, figure_seal, tally_of

VERSION = 2
BUSY_S = 2.0
"""How long another process that looks into the file is waited for."""
PAGE_BYTES = 4_096
TABLES = {
    "held": "CREATE TABLE held(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, "
    "payload BLOB NOT NULL, cost INTEGER NOT NULL, born_s REAL NOT NULL, seal INTEGER NOT NULL)",
    "figure": "CREATE TABLE figure(name TEXT PRIMARY KEY, value REAL NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID",
}
JOURNALS = ("-wal", "-shm")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Damaged(sqlite3.DatabaseError):
    """The file is there and is no sound spool."""


def is_damage(fault: sqlite3.Error) -> bool:
    """True if the file is at fault, False if the disk or its rights are."""
    return isinstance(fault, Damaged) or (getattr(fault, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def is_io_error(fault: sqlite3.Error) -> bool:
    """True if the disk answered a read or a write with an error."""
    return (getattr(fault, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_IOERR


def open_spool(path: Path) -> tuple[sqlite3.Connection, Tally]:
    """The file, made if there is none. Raises sqlite3.DatabaseError (see `is_damage`) or OSError."""
    _make_folder(path.parent)
    for name in (path, *(path.with_name(path.name + tail) for tail in JOURNALS)):
        if name.exists() and not name.is_file():
            raise Damaged(f"{name.name} is not a file")
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = _text
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA journal_size_limit=4194304")
        db.execute("PRAGMA secure_delete=ON")  # what a salvage finds in a page is what the spool still held
        db.execute("PRAGMA synchronous=FULL")
        _make_sound(db)
        return db, _tally(db)
    except UnicodeDecodeError as fault:  # SQLite quotes a damaged schema in its message, and Python can not
        db.close()
        raise Damaged("its schema is no text") from fault
    except BaseException:
        db.close()
        raise


def _make_folder(folder: Path) -> None:
    """With its name on the disk: a power cut must not take the folder away from under the file."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    above = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _make_sound(db: sqlite3.Connection) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if verdict != "ok" or version not in (0, 1, VERSION):
        raise Damaged(f"quick_check says {verdict!r}, version {version}")
    tables = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    if version == VERSION and tables != TABLES:
        raise Damaged("its tables are not those of a spool")
    if version == 0 and tables:
        raise Damaged("it is no spool of this runtime")
    if version == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    for statement in TABLES.values() if version == 0 else ():
        db.execute(statement)
    if version == 1:
        _upgrade(db)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _upgrade(db: sqlite3.Connection) -> None:
    """From version 1, which had no seals and an index of its own for the grades."""
    figures = db.execute("SELECT name, value FROM figure").fetchall()
    db.execute("DROP TABLE figure")
    for statement in TABLES.values():
        db.execute(statement)
    rows = (
        Row(grade << 48 | seq, Entry(name, Grade(grade), topic, payload), float(born_s)).columns()
        for seq, name, grade, topic, payload, born_s in db.execute(
            "SELECT seq, id, grade, topic, payload, born_s FROM entry ORDER BY seq"
        )
    )
    db.executemany("INSERT INTO held VALUES(?,?,?,?,?,?,?)", rows)
    sealed = [(name, float(value), figure_seal(name, float(value))) for name, value in figures]
    db.executemany("INSERT INTO figure VALUES(?,?,?)", sealed)
    db.execute("DROP TABLE entry")


def _tally(db: sqlite3.Connection) -> Tally:
    try:
        return tally_of(db)
    except (ValueError, TypeError) as fault:
        raise Damaged(str(fault)) from fault


def _text(raw: bytes) -> str:
    """Text of a damaged row may be no UTF-8: it then does not keep its seal, and nothing else happens."""
    return raw.decode("utf-8", "surrogateescape")
