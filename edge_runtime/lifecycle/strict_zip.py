"""A zip reader that accepts one shape of zip only: what the packer writes, byte for byte.

Members are stored, not deflated, one after the other from the first byte to the last, each with the header that follows
from its name, length and CRC; then the directory and the end record, which follow from the members. So every byte is
either a member's own or can have one value only, nothing is ever inflated, and no two readers can see different files.
(Format: PKWARE APPNOTE.TXT 6.3; a general reader accepts far more than one file means.)
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edge_runtime.errors import Refused

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_CHUNK = 65_536
_VERSION = 20
_UNIX = 3 << 8
_MIDNIGHT, _FIRST_OF_1980 = 0, 0x21
_PLAIN_FILE = (stat.S_IFREG | 0o644) << 16
_MEND = "Pack it again with `edge-runtime build pack`, or fetch it again"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a checked zip: where its bytes lie."""

    name: str
    crc: int
    size: int
    """Bytes."""
    at: int
    """Offset of its first byte."""


def list_members(file: BinaryIO, file_bytes: int, limits: dict[str, int]) -> dict[str, Member]:
    """Check the whole structure of a zip and name its members, in their order; their own bytes are not read.

    `limits` maps every allowed name to the most bytes that it may have. Raises Refused for a zip that is anything but
    a plain one of these names; the message names the member or the part of the zip at fault.
    """
    count, directory_at, directory_bytes = _end_record(file, file_bytes, limits)
    file.seek(directory_at)
    directory = file.read(directory_bytes)
    members: dict[str, Member] = {}
    at = read = 0
    for _ in range(count):
        member, entry_bytes = _entry(directory, read, at, limits)
        if member.name in members:
            raise Refused(f"{member.name} is in the zip twice", _MEND)
        _check_local(file, member, at)
        members[member.name] = member
        read += entry_bytes
        at = member.at + member.size
    if read != directory_bytes or at != directory_at:
        raise Refused("the zip holds bytes that belong to no member", _MEND)
    return members


def read_member(file: BinaryIO, member: Member) -> bytes:
    """All bytes of one member; checked against length and CRC."""
    return b"".join(chunks_of(file, member))


def chunks_of(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of one member, piece by piece. Raises Refused at the end if length or CRC are not as stated."""
    crc, left = 0, member.size
    file.seek(member.at)
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise Refused(f"{member.name} is cut short", _MEND)
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
        yield chunk
    if crc != member.crc:
        raise Refused(f"{member.name} is damaged: its bytes are not the ones that were packed", _MEND)


def _end_record(file: BinaryIO, file_bytes: int, limits: dict[str, int]) -> tuple[int, int, int]:
    """(members, offset of the directory, its bytes)."""
    if file_bytes < _END.size:
        raise Refused(f"not a zip: {file_bytes} bytes", _MEND)
    file.seek(file_bytes - _END.size)
    magic, disk, first, here, count, size, at, comment = _END.unpack(file.read(_END.size))
    if magic != b"PK\x05\x06":
        raise Refused("not a zip, or one that is cut short or has bytes after its end", _MEND)
    if disk or first or here != count or comment:
        raise Refused("the zip's end record is not a plain one", _MEND)
    if count > len(limits):
        raise Refused(f"the zip has {count} members, at most {len(limits)} were expected", _MEND)
    if at + size + _END.size != file_bytes:
        raise Refused("the zip has bytes before its start or after its directory", _MEND)
    if size > sum(_CENTRAL.size + len(name) for name in limits):
        raise Refused(f"the zip's directory has {size} bytes, more than the names of a bundle need", _MEND)
    return count, at, size


def _entry(directory: bytes, read: int, at: int, limits: dict[str, int]) -> tuple[Member, int]:
    """One entry of the directory, whose member must begin at `at`; and the entry's bytes."""
    if read + _CENTRAL.size > len(directory):
        raise Refused("the zip's directory ends within an entry", _MEND)
    fields = _CENTRAL.unpack_from(directory, read)
    (magic, made, _, flags, method, _, _, crc, packed, size, name_bytes, *_, external, _) = fields
    raw_name = directory[read + _CENTRAL.size : read + _CENTRAL.size + name_bytes]
    name = _allowed_name(raw_name, limits)
    if magic != b"PK\x01\x02":
        raise Refused(f"the zip's entry of {name} is not a plain one", _MEND)
    if flags:
        raise Refused(f"{name} is encrypted, streamed or oddly named (flags {flags:#x})", _MEND)
    if method:
        raise Refused(f"{name} is packed with method {method}; members are stored as they are (method 0)", _MEND)
    if made >> 8 not in (0, 3) or external & 0x10 or stat.S_IFMT(external >> 16) not in (0, stat.S_IFREG):
        raise Refused(f"{name} is a link, a folder or a device; a plain file was expected", _MEND)
    if size > limits[name]:
        raise Refused(f"{name} has {size} bytes, at most {limits[name]} were expected", _MEND)
    if packed != size:
        raise Refused(f"{name} has {packed} bytes and states to become {size}", _MEND)
    if fields != _entry_fields(crc, size, len(raw_name), at):
        raise Refused(f"the zip's entry of {name} is not a plain one", _MEND)
    return Member(name, crc, size, at + _LOCAL.size + len(raw_name)), _CENTRAL.size + len(raw_name)


def _entry_fields(crc: int, size: int, name_bytes: int, at: int) -> tuple[object, ...]:
    """The one entry that the packer writes for a member."""
    what = (_VERSION, 0, 0, _MIDNIGHT, _FIRST_OF_1980, crc, size, size, name_bytes, 0)
    return (b"PK\x01\x02", _UNIX | _VERSION, *what, 0, 0, 0, _PLAIN_FILE, at)


def _check_local(file: BinaryIO, member: Member, at: int) -> None:
    """The header before a member's bytes must say what the directory says of it."""
    name = member.name.encode("ascii")
    what = (_VERSION, 0, 0, _MIDNIGHT, _FIRST_OF_1980, member.crc, member.size, member.size, len(name), 0)
    expected = _LOCAL.pack(b"PK\x03\x04", *what) + name
    file.seek(at)
    if file.read(len(expected)) != expected:
        raise Refused(f"the zip says two different things about {member.name}", _MEND)


def _allowed_name(raw: bytes, limits: dict[str, int]) -> str:
    name = raw.decode("ascii", "backslashreplace")
    if name not in limits:
        raise Refused(f"the zip holds {name[:80]!r}; only {', '.join(limits)} were expected", _MEND)
    return name
