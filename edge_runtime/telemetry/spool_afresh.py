"""Begins a spool afresh beside a damaged one, with what could be read of it, so that no moment of a power cut loses either.

The new file is made whole under another name, renamed to `<name>.new`, and only then is the damaged one set aside and
the new one put in its place. Whoever finds a `.new` finishes that.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edge_runtime.telemetry.quarantine import set_aside
from edge_runtime.telemetry.spool import QUARANTINED_FILE
from edge_runtime.telemetry.spool_file import JOURNALS, open_spool
from edge_runtime.telemetry.spool_rows import Row, Tally, figure_seal, tally_of
from edge_runtime.telemetry.spool_salvage import Salvaged, read_journal, rows_behind, salvage

log = logging.getLogger(__name__)

SALVAGED = "salvaged"


def begin_afresh(path: Path, why: str) -> None:
    """Put a sound file in the place of the damaged one. Raises sqlite3.DatabaseError or OSError; call it again then."""
    found = salvage(path) if path.is_file() else Salvaged()
    half = _half(path)
    db, _ = open_spool(half)
    try:
        _fill(db, found)
    finally:
        db.close()
    half.replace(_ready(path))
    sync_folder(path.parent)
    finish(path)
    log.warning(
        "spool %s is damaged (%s); it is set aside and a new one begun, with %d entries that could be read",
        path, why, len(found.rows),
    )  # fmt: skip


def finish(path: Path) -> None:
    """What `begin_afresh` left to do when it was cut short."""
    ready = _ready(path)
    if not ready.is_file():
        return
    set_aside(path)
    ready.replace(path)
    sync_folder(path.parent)
    _half(path)


def _half(path: Path) -> Path:
    """Where the new file is made: nothing is there now."""
    half = path.with_name(f"{path.name}.half")
    for tail in ("", *JOURNALS):
        half.with_name(half.name + tail).unlink(missing_ok=True)
    return half


def open_whole(path: Path) -> tuple[sqlite3.Connection, Tally]:
    """As `open_spool`, and with what is behind a damaged frame of the journal: SQLite would pass over it in silence."""
    journal = read_journal(path)
    db, tally = open_spool(path)
    if not journal:
        return db, tally
    try:
        _, taken, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        rows = rows_behind(journal, max(0, taken))
        if rows and (found := _take_in(db, rows, tally)):
            log.warning("the journal of spool %s breaks off; %d entries were read from behind the break", path, found)
            tally = tally_of(db)
        return db, tally
    except BaseException:
        db.close()
        raise


def _take_in(db: sqlite3.Connection, rows: list[Row], tally: Tally) -> int:
    """How many of the rows were not there."""
    before = db.total_changes
    db.execute("BEGIN IMMEDIATE")
    try:
        db.executemany("INSERT OR IGNORE INTO held VALUES(?,?,?,?,?,?,?)", (row.columns() for row in rows))
        found = db.total_changes - before
        value = tally.figures.get(SALVAGED, 0.0) + found
        if found:
            db.execute("INSERT OR REPLACE INTO figure VALUES(?,?,?)", (SALVAGED, value, figure_seal(SALVAGED, value)))
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return found


def sync_folder(folder: Path) -> None:
    """Its names are on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ready(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _fill(db: sqlite3.Connection, found: Salvaged) -> None:
    """Rows keep their keys and, where the file still knows how long it has lived, their ages."""
    ages = "lived_s" in found.figures
    rows = [row if ages else replace(row, born_s=0.0) for row in found.oldest_first()]
    figures = dict(found.figures)
    figures[QUARANTINED_FILE] = figures.get(QUARANTINED_FILE, 0.0) + 1.0
    if rows:
        figures[SALVAGED] = figures.get(SALVAGED, 0.0) + len(rows)
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT OR IGNORE INTO held VALUES(?,?,?,?,?,?,?)", (row.columns() for row in rows))
    sealed = [(name, value, figure_seal(name, value)) for name, value in figures.items()]
    db.executemany("INSERT INTO figure VALUES(?,?,?)", sealed)
    db.execute("COMMIT")
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # closing would not tell that it failed
    if busy:
        raise sqlite3.OperationalError("the new spool could not be written whole")
