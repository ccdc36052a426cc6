"""A zip reader that accepts one shape of zip only: what the packer writes.

The local headers, the central directory and the end record must lie one after the other from the first byte to the
last, say the same thing twice, and say it plainly: no comments, no extra fields, no encryption, no links, no gaps.
All sizes are known and bounded before a byte is inflated. (Format: PKWARE APPNOTE.TXT 6.3; a general reader accepts
far more than one file means, and different readers then see different files.)
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from edge_runtime.errors import Refused

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_STORED, _DEFLATED = 0, 8
_CHUNK = 65_536
_FREE_RATIO_BYTES = 65_536
MAX_RATIO = 200
"""Inflated over packed size of a member above 64 KiB; weights reach 1.1 to 4, drawn pictures 50."""
_MEND = "Pack it again with `edge-runtime build pack`, or fetch it again"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a checked zip: where its packed bytes lie and what they must become."""

    name: str
    deflated: bool
    crc: int
    packed: int
    """Bytes in the zip."""
    size: int
    """Bytes when inflated."""
    at: int
    """Offset of the packed bytes."""


def list_members(file: BinaryIO, file_bytes: int, limits: dict[str, int]) -> dict[str, Member]:
    """Check the whole structure of a zip and name its members; nothing is inflated.

    `limits` maps every allowed name to the most bytes that it may inflate to. Raises Refused for a zip that is
    anything but a plain one of these names.
    """
    count, directory_at, directory_bytes = _end_record(file, file_bytes, len(limits))
    file.seek(directory_at)
    directory = file.read(directory_bytes)
    members: dict[str, Member] = {}
    at = read = 0
    for _ in range(count):
        if read + _CENTRAL.size > len(directory):
            raise Refused("the zip's directory ends within an entry", _MEND)
        fields = _CENTRAL.unpack_from(directory, read)
        name = directory[read + _CENTRAL.size : read + _CENTRAL.size + fields[10]]
        read += _CENTRAL.size + fields[10]
        member = _member(file, fields, name, at, limits)
        if member.name in members:
            raise Refused(f"{member.name} is in the zip twice", _MEND)
        members[member.name] = member
        at = member.at + member.packed
    if read != len(directory) or at != directory_at:
        raise Refused("the zip holds bytes that belong to no member", _MEND)
    return members


def read_member(file: BinaryIO, member: Member) -> bytes:
    """All bytes of one member, at most `member.size`; checked against length and CRC."""
    return b"".join(chunks_of(file, member))


def chunks_of(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of one member, piece by piece. Raises Refused at the end if length or CRC are not as stated."""
    crc = got = 0
    for chunk in _inflated(file, member):
        crc = zlib.crc32(chunk, crc)
        got += len(chunk)
        yield chunk
    if got != member.size or crc != member.crc:
        raise Refused(f"{member.name} is damaged: its bytes are not the ones that were packed", _MEND)


def _inflated(file: BinaryIO, member: Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    file.seek(member.at)
    packed, left = member.packed, member.size
    while packed:
        raw = file.read(min(_CHUNK, packed))
        if not raw:
            raise Refused(f"{member.name} is cut short", _MEND)
        packed -= len(raw)
        if not member.deflated:
            yield raw
            continue
        while raw:
            try:
                chunk = inflater.decompress(raw, min(_CHUNK, left + 1))
            except zlib.error as fault:
                raise Refused(f"{member.name} is damaged: {fault}", _MEND) from None
            raw = inflater.unconsumed_tail
            left -= len(chunk)
            if left < 0 or inflater.unused_data or (inflater.eof and packed):
                raise Refused(f"{member.name} has other sizes than the zip states", _MEND)
            yield chunk
    if member.deflated and not inflater.eof:
        raise Refused(f"{member.name} is cut short", _MEND)


def _end_record(file: BinaryIO, file_bytes: int, most: int) -> tuple[int, int, int]:
    if file_bytes < _END.size:
        raise Refused(f"not a zip: {file_bytes} bytes", _MEND)
    file.seek(file_bytes - _END.size)
    magic, disk, first, here, count, size, at, comment = _END.unpack(file.read(_END.size))
    if magic != b"PK\x05\x06":
        raise Refused("not a zip, or one that is cut short or has bytes after its end", _MEND)
    if disk or first or here != count or comment:
        raise Refused("the zip's end record is not a plain one", _MEND)
    if count > most:
        raise Refused(f"the zip has {count} members, at most {most} were expected", _MEND)
    if at + size + _END.size != file_bytes:
        raise Refused("the zip has bytes before its start or after its directory", _MEND)
    return count, at, size


def _member(file: BinaryIO, fields: tuple[Any, ...], raw_name: bytes, at: int, limits: dict[str, int]) -> Member:
    """Check one directory entry, and that the local header at `at` says the same."""
    (magic, made, _, flags, method, clock, day, crc, packed, size) = fields[:10]
    (_, extra, comment, disk, internal, external, offset) = fields[10:]
    name = _allowed_name(raw_name, limits)
    if magic != b"PK\x01\x02" or extra or comment or disk or internal & ~1 or offset != at:
        raise Refused(f"the zip's entry of {name} is not a plain one", _MEND)
    if flags:
        raise Refused(f"{name} is encrypted, streamed or oddly named (flags {flags:#x})", _MEND)
    if method not in (_STORED, _DEFLATED):
        raise Refused(f"{name} is packed with method {method}, deflate was expected", _MEND)
    if made >> 8 not in (0, 3) or external & 0x10 or stat.S_IFMT(external >> 16) not in (0, stat.S_IFREG):
        raise Refused(f"{name} is a link, a folder or a device; a plain file was expected", _MEND)
    if size > limits[name]:
        raise Refused(f"{name} inflates to {size} bytes, at most {limits[name]} were expected", _MEND)
    if (method == _STORED and packed != size) or (size > _FREE_RATIO_BYTES and size > packed * MAX_RATIO):
        raise Refused(f"{name} has {packed} bytes and states to become {size}", _MEND)
    file.seek(at)
    local = file.read(_LOCAL.size + len(raw_name))
    stated = (b"PK\x03\x04", fields[2], flags, method, clock, day, crc, packed, size, len(raw_name), 0)
    if (
        len(local) != _LOCAL.size + len(raw_name)
        or _LOCAL.unpack_from(local) != stated
        or local[_LOCAL.size :] != raw_name
    ):
        raise Refused(f"the zip says two different things about {name}", _MEND)
    return Member(name, method == _DEFLATED, crc, packed, size, at + len(local))


def _allowed_name(raw: bytes, limits: dict[str, int]) -> str:
    name = raw.decode("ascii", "backslashreplace")
    if name not in limits:
        raise Refused(f"the zip holds {name[:80]!r}; only {', '.join(limits)} were expected", _MEND)
    return name
