"""Zips written by hand, field by field: what a general zip library would not write, and a hostile hand would."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

PLAIN_FILE = 0o100644 << 16
NAMES = (
    b"../model.onnx",
    b"../../../../etc/cron.d/x",
    b"/etc/passwd",
    b"//server/share/x",
    b"C:\\Windows\\x",
    b"..\\..\\x",
    b"model.onnx/",
    b"sub/model.onnx",
    b"./model.onnx",
    b"model.onnx\0.txt",
    b"model.onnx ",
    b"model.onnx.",
    b"MODEL.ONNX",
    b"Manifest.json",
    b"License",
    "model․onnx".encode(),
    "ｍodel.onnx".encode(),
    "mo\u0301del.onnx".encode(),
    "\u202egpj.onnx".encode(),
    b"",
    b".",
    b"..",
    b"~/x",
    b"$HOME/x",
    b"CON",
    b"model.onnx:stream",
    b"\xff\xfe\xfd",
    b"a" * 65_535,
    b"a/" * 30_000,
    b"\x1b[2Jx",
    b"model.onnx\n",
)
MODES = (0o120777, 0o040755, 0o020666, 0o060666, 0o010666, 0o140777, 0o100755, 0o104755, 0o100000, 0o000000)


@dataclass(frozen=True, slots=True)
class Entry:
    """One member; a field that is None follows from the others."""

    name: bytes
    body: bytes
    method: int = 0
    flags: int = 0
    made: int = 3 << 8 | 20
    needs: int = 20
    clock: int = 0
    day: int = 0x21
    internal: int = 0
    external: int = PLAIN_FILE
    extra: bytes = b""
    comment: bytes = b""
    disk: int = 0
    crc: int | None = None
    packed: int | None = None
    size: int | None = None
    stream: bytes | None = None
    """What lies in the zip in the place of `body`."""
    at: int | None = None
    """Where the directory says that it lies."""
    local: dict[str, int | bytes] = field(default_factory=dict)
    """Fields of the local header that say something else."""
    after: bytes = b""
    """Bytes between this member and the next."""


def zip_of(entries: list[Entry], before: bytes = b"", after: bytes = b"", **end: int) -> bytes:
    """The zip's bytes; `end` replaces fields of the end record: disk, first, here, count, size, at, comment."""
    body, directory = before, b""
    for entry in entries:
        stream = entry.body if entry.stream is None else entry.stream
        crc = zlib.crc32(entry.body) if entry.crc is None else entry.crc
        packed = len(stream) if entry.packed is None else entry.packed
        size = len(entry.body) if entry.size is None else entry.size
        at = len(body) if entry.at is None else entry.at
        what = (entry.needs, entry.flags, entry.method, entry.clock, entry.day, crc, packed, size)
        lengths = (len(entry.name), len(entry.extra), len(entry.comment))
        marks = (entry.disk, entry.internal, entry.external, at)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", entry.made, *what, *lengths, *marks)
        directory += entry.name + entry.extra + entry.comment
        body += _local(entry, what) + stream + entry.after
    record = {"disk": 0, "first": 0, "here": len(entries), "count": len(entries)}
    record |= {"size": len(directory), "at": len(body), "comment": 0} | end
    return body + directory + struct.pack("<4sHHHHIIH", b"PK\x05\x06", *record.values()) + after


def _local(entry: Entry, what: tuple[int, ...]) -> bytes:
    keys = ("needs", "flags", "method", "clock", "day", "crc", "packed", "size")
    said = {**dict(zip(keys, what, strict=True)), "name": entry.name, "extra": b"", **entry.local}
    name, extra = said.pop("name"), said.pop("extra")
    assert isinstance(name, bytes) and isinstance(extra, bytes)
    return struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *said.values(), len(name), len(extra)) + name + extra


def deflated(raw: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(raw) + squeeze.flush()


@lru_cache(maxsize=8)
def zeros(count: int) -> bytes:
    """So many zeros, deflated."""
    return deflated(bytes(count))


def _with(entries: list[Entry], draw: random.Random, **fields: object) -> list[Entry]:
    """One entry, drawn, with other fields."""
    place = draw.randrange(len(entries))
    return [replace(entry, **fields) if k == place else entry for k, entry in enumerate(entries)]  # type: ignore[arg-type]


def names(entries: list[Entry], draw: random.Random) -> bytes:
    name = draw.choice(NAMES)
    if draw.random() < 0.5:
        return zip_of([*entries, Entry(name, b"x")])
    return zip_of(_with(entries, draw, name=name))


def two_names(entries: list[Entry], draw: random.Random) -> bytes:
    """The directory and the local header name it differently."""
    return zip_of(_with(entries, draw, local={"name": draw.choice(NAMES)}))


def links_and_devices(entries: list[Entry], draw: random.Random) -> bytes:
    return zip_of(
        _with(
            entries,
            draw,
            external=draw.choice(MODES) << 16 | draw.choice((0, 0x10, 0x20)),
            made=draw.choice((0, 3, 7, 11, 19)) << 8 | 20,
        )
    )


def doubled(entries: list[Entry], draw: random.Random) -> bytes:
    again = draw.choice(entries)
    body = draw.choice((again.body, b"another", again.body[::-1]))
    return zip_of(
        [*entries, replace(again, body=body)] if draw.random() < 0.5 else [replace(again, body=body), *entries]
    )


def lying_sizes(entries: list[Entry], draw: random.Random) -> bytes:
    place = draw.randrange(len(entries))
    size = len(entries[place].body)
    lie = draw.choice((0, size - 1, size + 1, 2**31, 2**32 - 1, 2**32 - 2, size * 2, draw.randrange(2**32)))
    lie = max(0, lie) + (lie == size)
    which = draw.choice(("packed", "size", "both", "local packed", "local size", "crc", "local crc"))
    fields: dict[str, object] = {"packed": lie} if which == "packed" else {"size": lie}
    if which == "both":
        fields = {"packed": lie, "size": lie}
    elif which == "crc":
        fields = {"crc": lie}
    elif which.startswith("local"):
        fields = {"local": {which.split()[1]: lie}}
    return zip_of([replace(e, **fields) if k == place else e for k, e in enumerate(entries)])  # type: ignore[arg-type]


def bombs(entries: list[Entry], draw: random.Random) -> bytes:
    """Deflated zeros: as large as a member may be, far larger, or larger than stated; or deflate within deflate."""
    true = draw.choice((1 << 20, 20 << 20, 40 << 20))
    stream = zeros(true)
    if draw.random() < 0.3:
        stream = deflated(stream * 20)
    stated = draw.choice((true, 300_000, 2**32 - 1, 64 << 20))
    return zip_of(_with(entries, draw, method=8, stream=stream, size=stated, packed=len(stream)))


def methods(entries: list[Entry], draw: random.Random) -> bytes:
    return zip_of(_with(entries, draw, method=draw.choice((1, 6, 8, 9, 12, 14, 93, 95, 97, 98, 99, 65_535))))


def flags(entries: list[Entry], draw: random.Random) -> bytes:
    """Encryption, streamed sizes, UTF-8 names, patches, and what is reserved."""
    bits = draw.choice([1 << bit for bit in range(16)])
    descriptor = struct.pack("<4sIII", b"PK\x07\x08", 1, 2, 3) if bits == 8 else b""
    if draw.random() < 0.3:
        return zip_of(_with(entries, draw, local={"flags": bits}))
    return zip_of(_with(entries, draw, flags=bits, after=descriptor))


def extras(entries: list[Entry], draw: random.Random) -> bytes:
    """Extra fields, zip64 among them, and comments."""
    zip64 = struct.pack("<HHQQQ", 1, 24, 2**40, 2**40, 0)
    extra = draw.choice((zip64, b"\x75\x70\x04\x00abcd", b"\0" * 4, draw.randbytes(40), b"\0" * 65_000))
    how = draw.randrange(4)
    if how == 0:
        return zip_of(_with(entries, draw, extra=extra))
    if how == 1:
        return zip_of(_with(entries, draw, local={"extra": extra}))
    if how == 2:
        return zip_of(_with(entries, draw, comment=extra))
    return zip_of(_with(entries, draw, extra=zip64, size=2**32 - 1, packed=2**32 - 1))


def places(entries: list[Entry], draw: random.Random) -> bytes:
    """Members that overlap, share bytes, lie outside, or stand in another order than the directory's."""
    how = draw.randrange(4)
    if how == 0:
        return zip_of([entries[0], *(replace(entry, at=0) for entry in entries[1:])])
    if how == 1:
        return zip_of(_with(entries, draw, at=draw.choice((0, 1, 2**31, 2**32 - 1, 2**32 - 31))))
    if how == 2:
        return zip_of(_with(entries, draw, after=draw.randbytes(draw.choice((1, 30, 5000)))))
    ends = [0]
    for entry in entries:
        ends.append(ends[-1] + 30 + len(entry.name) + len(entry.body))
    shuffled = [replace(entry, at=ends[len(entries) - 1 - k]) for k, entry in enumerate(entries)]
    return zip_of(shuffled)


def around(entries: list[Entry], draw: random.Random) -> bytes:
    """Bytes before, after, a second archive, a second end."""
    whole = zip_of(entries)
    junk = draw.choice((b"\0", b"#!/bin/sh\nrm -rf /\n", draw.randbytes(100), whole, b"MZ" + bytes(60)))
    return draw.choice(
        (
            junk + whole,
            whole + junk,
            zip_of(entries, before=junk),
            whole + whole[-22:],
            zip_of(entries, after=junk, comment=min(len(junk), 65_535)),
        )
    )


def end_records(entries: list[Entry], draw: random.Random) -> bytes:
    key = draw.choice(("disk", "first", "here", "count", "size", "at", "comment"))
    most = 2**32 if key in ("size", "at") else 2**16
    plain = {"disk": 0, "first": 0, "here": len(entries), "count": len(entries), "comment": 0}
    value = draw.choice((0, 1, 2, len(entries) - 1, len(entries) + 1, most - 1, draw.randrange(most)))
    return zip_of(entries, **{key: value + (value == plain.get(key)) if value + 1 < most else value})


def zip64_ends(entries: list[Entry], draw: random.Random) -> bytes:
    """A zip64 end record and its locator, with huge numbers, before the plain end."""
    whole = zip_of(entries)
    big = draw.choice((2**40, 2**63, 2**64 - 1, len(entries)))
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, big, big, big, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(whole) - 22, 1)
    end = (
        whole[-22:]
        if draw.random() < 0.5
        else struct.pack("<4sHHHHIIH", b"PK\x05\x06", *[65_535] * 4, 2**32 - 1, 2**32 - 1, 0)
    )
    return whole[:-22] + record + locator + end


def crowds(entries: list[Entry], draw: random.Random) -> bytes:
    """Very many members, or one directory of megabytes."""
    count = draw.choice((7, 100, 20_000))
    return zip_of(
        [*entries, *(Entry(f"x{k}".encode(), b"") for k in range(count))],
        count=min(65_535, count),
        here=min(65_535, count),
    )


def missing(entries: list[Entry], draw: random.Random) -> bytes:
    gone = draw.choice([entry for entry in entries if entry.name != b"model.fp32.onnx"])
    return zip_of([entry for entry in entries if entry is not gone])


def versions(entries: list[Entry], draw: random.Random) -> bytes:
    """Fields that say nothing of the content, and in which bytes could hide."""
    key, values = draw.choice(
        (
            ("made", (0, 20, 3 << 8, 63 | 3 << 8)),
            ("needs", (0, 10, 45, 65_535)),
            ("clock", (1, 65_535)),
            ("day", (0, 22_000)),
            ("internal", (1, 2, 65_535)),
            ("disk", (1, 65_535)),
        )
    )
    return zip_of(_with(entries, draw, **{key: draw.choice(values)}))


FORGERIES: dict[str, Callable[[list[Entry], random.Random], bytes]] = {
    "names": names,
    "two names": two_names,
    "links and devices": links_and_devices,
    "duplicates": doubled,
    "lying sizes": lying_sizes,
    "bombs": bombs,
    "methods": methods,
    "flags and descriptors": flags,
    "extra fields and comments": extras,
    "overlaps and gaps": places,
    "bytes around": around,
    "end records": end_records,
    "zip64": zip64_ends,
    "crowds": crowds,
    "missing members": missing,
    "header fields": versions,
}
