"""Reads what is still whole in a damaged spool file, page by page, without SQLite.

Method: the file format of SQLite 3 (sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4.1). A page is the newest that
the journal or the file has of it; every leaf page is read cell by cell, and a row counts only if it keeps its seal.
So a damaged byte costs the row that it is in, wherever else the damage is: head, inner pages, journal. A row that had
been deleted can come back only if the journal is damaged too (deleted rows are overwritten with zeros): it is then sent
once more under its id.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.telemetry.spool_file import PAGE_BYTES
from edge_runtime.telemetry.spool_rows import Row, figure_of, row_of

MAX_READ_BYTES = 256_000_000
"""Of file and journal, each: what a spool can not have is not read."""
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_WAL_HEAD, _FRAME_HEAD = 32, 24
_INTEGERS = (0, 1, 2, 3, 4, 6, 8)
_LOCAL = PAGE_BYTES - 35
_MIN_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
Value = int | float | str | bytes | None


@dataclass(slots=True)
class Salvaged:
    """What could be read: rows by key, so that each is there once, in their order."""

    rows: dict[int, Row] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def oldest_first(self) -> list[Row]:
        return [self.rows[key] for key in sorted(self.rows)]


def salvage(path: Path) -> Salvaged:
    """All that is whole in the file and in its journal. Raises OSError if one of them can not be opened."""
    return _rows_of(_pages_of(path) | dict(_frames(read_journal(path))))


def _rows_of(pages: dict[int, bytes]) -> Salvaged:
    found = Salvaged()
    for number, page in pages.items():
        for values in _records(page, 100 if number == 1 else 0, pages):
            if len(values) == 7:
                row = row_of(*values[:4], *values[5:])
                if row is not None:
                    found.rows[row.key] = row
            elif len(values) == 3 and (figure := figure_of(*values)) is not None:
                found.figures[figure[0]] = figure[1]
    return found


def partly_unreadable(path: Path) -> bool:
    """Whether the disk gives back some pages of the file or its journal and, asked twice, not others. Raises OSError.

    A disk that gives back nothing is no reason to begin a file afresh: it may be away for a moment.
    """
    pages = [page for file in (path, _journal(path)) for page in _pages(file)]
    return any(pages) and None in pages


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _pages_of(path: Path) -> dict[int, bytes]:
    return {number: page for number, page in enumerate(_pages(path), start=1) if page is not None}


def read_journal(path: Path) -> bytes:
    """The journal of a spool file, as it is before SQLite opens it. Raises OSError."""
    return b"".join(page if page is not None else bytes(PAGE_BYTES) for page in _pages(_journal(path)))


def rows_behind(journal: bytes, taken: int) -> list[Row]:
    """Rows in frames of the journal that SQLite did not take, oldest first: it stops at the first that is damaged.

    `taken`: how many it took. A process that was killed in a transaction leaves such frames too.
    """
    frames = _frames(journal)
    if len(frames) <= taken:
        return []
    return _rows_of(dict(frames[taken:])).oldest_first()


def _frames(journal: bytes) -> list[tuple[int, bytes]]:
    """(page number, page) of the journal's present round, which the salt tells that head and frames share."""
    size = _FRAME_HEAD + PAGE_BYTES
    starts = range(_WAL_HEAD, len(journal) - size + 1, size)
    salts = {journal[16:24], journal[_WAL_HEAD + 8 : _WAL_HEAD + 16]}  # one of the two may be what is damaged
    return [
        (int.from_bytes(journal[at : at + 4], "big"), journal[at + _FRAME_HEAD : at + size])
        for at in starts
        if journal[at + 8 : at + 16] in salts
    ]


def _pages(path: Path) -> Iterator[bytes | None]:
    """None for a page that the disk does not give back. Raises OSError if the file can not be opened."""
    if not path.is_file():
        return
    with path.open("rb", buffering=0) as file:
        size = min(os.fstat(file.fileno()).st_size, MAX_READ_BYTES)
        for at in range(0, size, PAGE_BYTES):
            yield _page(file.fileno(), at)


def _page(descriptor: int, at: int) -> bytes | None:
    for _ in "12":
        try:
            return os.pread(descriptor, PAGE_BYTES, at)
        except OSError:
            continue
    return None


def _records(page: bytes, start: int, pages: dict[int, bytes]) -> Iterator[tuple[Value, ...]]:
    """The records of a leaf page; nothing of any other."""
    if len(page) < start + 8 or page[start] not in (_TABLE_LEAF, _INDEX_LEAF):
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for place in range(min(cells, PAGE_BYTES // 4)):
        at = int.from_bytes(page[start + 8 + 2 * place : start + 10 + 2 * place], "big")
        try:
            if page[start] == _TABLE_LEAF:
                yield _table_record(page, at, pages)
            else:
                length, at = _varint(page, at)
                yield _values(page[at : at + length], None)
        except (IndexError, ValueError, struct.error):
            continue


def _table_record(page: bytes, at: int, pages: dict[int, bytes]) -> tuple[Value, ...]:
    length, at = _varint(page, at)
    key, at = _varint(page, at)
    if length <= _LOCAL:
        return _values(page[at : at + length], key)
    local = _MIN_LOCAL + (length - _MIN_LOCAL) % (PAGE_BYTES - 4)
    local = local if local <= _LOCAL else _MIN_LOCAL
    payload, following = page[at : at + local], page[at + local : at + local + 4]
    for _ in range(length // (PAGE_BYTES - 4) + 1):
        overflow = pages.get(int.from_bytes(following, "big"), b"")
        payload, following = payload + overflow[4:], overflow[:4]
        if len(payload) >= length:
            break
    return _values(payload[:length], key)


def _values(record: bytes, key: int | None) -> tuple[Value, ...]:
    """The columns of a record; the row's own key stands where the record has NULL in its first."""
    head, at = _varint(record, 0)
    if head > len(record):
        raise ValueError("a head longer than its record")
    kinds = []
    while at < head:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        size = _INTEGERS[kind] if kind <= 6 else 8 if kind == 7 else 0 if kind < 12 else (kind - 12) // 2
        if at + size > len(record):
            raise ValueError("a record cut short")
        values.append(_value(kind, record[at : at + size]))
        at += size
    if key is not None and values and values[0] is None:
        values[0] = key
    return tuple(values)


def _value(kind: int, raw: bytes) -> Value:
    if kind in (8, 9):
        return kind - 8
    if 1 <= kind <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", raw)[0])
    if kind >= 12:
        return raw if kind % 2 == 0 else raw.decode("utf-8", "surrogateescape")
    return None


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer, and where it ends."""
    value = 0
    for length in range(8):
        byte = raw[at + length]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + length + 1
    return value << 8 | raw[at + 8], at + 9
