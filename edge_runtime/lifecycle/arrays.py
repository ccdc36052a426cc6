"""`.npz` members of a bundle: named arrays, bounded, and never a pickle.

numpy's own reader trusts sizes that the file states; here a file may not become more than it was allowed to.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused

MAX_ARRAYS = 64
MAX_ARRAY_BYTES = 32 * 1024 * 1024
"""All arrays of one file together."""
_MAX_HEADER = 4096
_END_BYTES, _LOCATOR_BYTES = 22, 20
_MAX_ENTRY_BYTES = 256
"""Of the directory, for one array; numpy's own need about 80."""
_HEADER = re.compile(
    rb"\{'descr': '([<|](?:b1|[iu][1248]|f[248]|[SU][0-9]{1,3}))', 'fortran_order': (False|True), 'shape': \(([0-9, ]{0,200})\), \} *\n"
)
_MEND = "Write it with numpy.savez and pack the bundle again"


def read_arrays(raw: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz by name (numbers, booleans, short text; no objects). Raises Refused naming the file `name`."""
    _check_end(raw, name)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _check_entries(entries, name)
            return {entry.filename[:-4]: _read_array(archive, entry, name) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as fault:
        raise Refused(f"{name} is not a file of arrays: {fault}", _MEND) from None


def _check_end(raw: bytes, name: str) -> None:
    """The directory must be short before Python's reader makes an object of each of its entries."""
    end = raw[-_END_BYTES:]
    plain = len(end) == _END_BYTES and end[:4] == b"PK\x05\x06" and end[20:] == b"\0\0"
    if not plain or raw[-_END_BYTES - _LOCATOR_BYTES : -_END_BYTES].startswith(b"PK\x06\x07"):
        raise Refused(f"{name} is not a file of arrays: it has no plain end", _MEND)
    if int.from_bytes(end[12:16], "little") > MAX_ARRAYS * _MAX_ENTRY_BYTES:
        raise Refused(f"{name} lists more than {MAX_ARRAYS} arrays", _MEND)


def _check_entries(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > MAX_ARRAYS or len({entry.filename for entry in entries}) != len(entries):
        raise Refused(f"{name} holds {len(entries)} arrays; at most {MAX_ARRAYS}, each once, were expected", _MEND)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_ARRAY_BYTES:
        raise Refused(f"{name} becomes {total} bytes, at most {MAX_ARRAY_BYTES} were expected", _MEND)
    odd = [entry.filename[:80] for entry in entries if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}\.npy", entry.filename)]
    odd += [
        entry.filename for entry in entries if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]
    if odd:
        raise Refused(f"{name} holds {odd[0]!r}, deflated arrays (.npy) were expected", _MEND)


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    what = f"{name}: {entry.filename}"
    with archive.open(entry) as member:
        head = member.read(min(entry.file_size, _MAX_HEADER))
        dtype, shape, in_columns, header_end = _header(head, what)
        count = math.prod(shape)
        if max(shape, default=0) > MAX_ARRAY_BYTES or count * dtype.itemsize != entry.file_size - header_end:
            raise Refused(f"{what} has other bytes than its shape {shape} needs", _MEND)
        raw = head + member.read(entry.file_size - len(head))
    flat = np.frombuffer(raw, dtype, count=count, offset=header_end)
    return flat.reshape(shape, order="F" if in_columns else "C")


def _header(head: bytes, what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type, shape, whether columns come first, and where the numbers begin: from an array's first bytes."""
    if head[:6] != b"\x93NUMPY" or head[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise Refused(f"{what} is not an array", _MEND)
    width = 2 if head[6] == 1 else 4
    header_end = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    header = _HEADER.fullmatch(head[8 + width : header_end]) if header_end <= _MAX_HEADER else None
    if header is None:
        raise Refused(f"{what} is not an array of plain numbers", _MEND)
    shape = tuple(int(side) for side in header[3].replace(b" ", b"").split(b",") if side)
    return np.dtype(header[1].decode()), shape, header[2] == b"True", header_end
