"""Members that are sound as bytes of a zip and hostile inside: manifests and files of arrays."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.faults.forged_zips import zeros

LIMIT = 32 * 1024 * 1024
BAD_FIELDS: tuple[tuple[str, object], ...] = (
    ("format", "edge-bundle/2"),
    ("format", None),
    ("name", "../../etc/x"),
    ("name", "A" * 63),
    ("name", ""),
    ("name", "shelf test"),
    ("name", "shelf\n"),
    ("version", "1.0"),
    ("version", "1.0.0\n"),
    ("version", "9999999.0.0"),
    ("version", "../1.0.0"),
    ("task", "run-shell"),
    ("input", {}),
    ("input", []),
    ("input.size", [1_000_000_000, 1_000_000_000]),
    ("input.size", [0, 64]),
    ("input.size", [64]),
    ("input.size", "64x64"),
    ("input.std", [0.0, 1.0, 1.0]),
    ("input.dtype", "object"),
    ("input.current", ""),
    ("input.current", "x" * 5000),
    ("output.labels", ["stocked"] * 4),
    ("output.labels", ["x"] * 20_000),
    ("output.labels", ["stocked", "low"]),
    ("thresholds.answer", 1e300),
    ("thresholds.answer", -1),
    ("runtime", ["zero", "one"]),
    ("runtime", ["99.0.0", "100.0.0"]),
    ("runtime", ["0.1.0"]),
    ("files", {}),
    ("files", []),
    ("receipt", {"x": "a lot"}),
    ("provenance", {"x": {"y": {}}}),
    ("provenance", None),
    ("extra_field", 1),
    ("__class__", "os.system"),
)
RAW_MANIFESTS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    b"[" * 60_000 + b"]" * 60_000,
    b"1" * 200_000,
    b'{"format":' + b"9" * 100_000 + b"}",
    b'{"format":1e99999}',
    b'{"format":-0}',
    b'"' + b"a" * 200_000,
    b'{"\\ud800":1}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"\x00" * 1000,
    b"\x80abc",
    b"{}" * 1000,
    b"{" + b'"a":1,' * 30_000 + b'"a":1}',
)


def manifest(raw: bytes, draw: random.Random) -> bytes:
    """A manifest that is none: nonsense, bombs of depth and length, numbers that are none, keys that stand twice."""
    how = draw.randrange(6)
    if how == 0:
        return draw.choice(RAW_MANIFESTS)
    if how == 1:
        return raw[: draw.randrange(len(raw) - 2)]
    if how == 2:
        return _number(raw, draw)
    if how == 3:
        return _twice(raw, draw)
    if how == 4:
        return _digest(json.loads(raw), draw)
    key, value = draw.choice(BAD_FIELDS)
    found = json.loads(raw)
    _set(found, key, value)
    return json.dumps(found).encode()


def _number(raw: bytes, draw: random.Random) -> bytes:
    found = json.loads(raw)
    found["receipt"] = {"x": 12_345_678.5}
    odd = draw.choice((b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b"0x10", b"01", b"+1", b".5", b"1_000"))
    return json.dumps(found).encode().replace(b"12345678.5", odd)


def _twice(raw: bytes, draw: random.Random) -> bytes:
    """A key of the top level, or of one below it, given again at the end."""
    key = draw.choice(sorted(json.loads(raw)))
    again = json.dumps(key).encode() + b":" + json.dumps(json.loads(raw)[key]).encode()
    if draw.random() < 0.5:
        return raw.rstrip()[:-1] + b"," + again + b"}"
    return raw.replace(b'"receipt"', b'"provenance":{"a":1,"a":2},"receipt"', 1)


def _digest(found: dict[str, Any], draw: random.Random) -> bytes:
    files = found["files"]
    name = draw.choice(sorted(files))
    odd = draw.choice(
        ("0" * 64, "", "g" * 64, files[name]["sha256"].upper().replace("0", "A"), files[name]["sha256"] + "\n")
    )
    how = draw.randrange(5)
    if how == 0:
        files[name]["sha256"] = odd
    elif how == 1:
        files[name]["bytes"] = draw.choice((-1, files[name]["bytes"] + 1, 2**63, 2**70, 1.5, "1"))
    elif how == 2:
        del files[name]
    elif how == 3:
        files[draw.choice(("../x", "/etc/passwd", "notes.txt", "", "manifest.json", "x" * 10_000))] = files[name]
    else:
        files[name] = draw.choice((None, [], {}, "x", {"sha256": odd}, {**files[name], "mode": 0o777}))
    return json.dumps(found).encode()


def _set(found: dict[str, Any], key: str, value: object) -> None:
    *outer, last = key.split(".")
    for part in outer:
        found = found[part]
    found[last] = value


def npy(header: bytes, body: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An array's bytes by hand."""
    width = "<H" if version == b"\x01\x00" else "<I"
    return (
        b"\x93NUMPY"
        + version
        + struct.pack(width, len(header) & (0xFFFF if width == "<H" else 0xFFFFFFFF))
        + header
        + body
    )


HEADERS: tuple[bytes, ...] = (
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 0), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,), }\n",
    b"{'descr': '<f4', 'fortran_order': __import__('os').system('x'), 'shape': (1,), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': " + b"(" * 2000 + b"}\n",
    b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '|V4', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }\n",
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (9999999,), }\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1, " * 65 + b"), }\n",
    b"{'descr': '<f4', 'shape': (1,), }\n",
    b"",
    b"\xff" * 64,
    b" " * 60_000 + b"\n",
)


def arrays(raw: bytes, draw: random.Random) -> bytes:
    """A file of arrays that is none, runs code, or becomes far more than it is."""
    how = draw.randrange(9)
    if how == 0:
        return _pickled()
    if how in (1, 2):
        version = draw.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
        return zipped({"current.npy": npy(draw.choice(HEADERS), bytes(4), version)}, draw)
    if how == 3:
        return _zeros(draw.choice((LIMIT - 200, LIMIT + 1, 3 * LIMIT)))
    if how == 4:
        names = draw.choice((["../x.npy"], ["/x.npy"], ["x"], ["x.npy/"], ["a" * 300 + ".npy"], ["é.npy"], [".npy"]))
        return zipped(dict.fromkeys(names, b"x"), draw)
    if how == 5:
        return _crowd(draw.choice((65, 300, 30_000)))
    if how == 6:
        return _lying(draw)
    if how == 7:
        return draw.choice(
            (b"", b"PK\x05\x06", bytes(1000), raw[: draw.randrange(len(raw))], raw + b"\0", b"x" + raw[:-1])
        )
    return _patched(raw, draw)


def zipped(parts: dict[str, bytes], draw: random.Random, method: int | None = None) -> bytes:
    buffer = io.BytesIO()
    chosen = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)) if method is None else method
    with zipfile.ZipFile(buffer, "w", chosen) as archive:
        for name, raw in parts.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


@lru_cache(maxsize=4)
def _zeros(count: int) -> bytes:
    return zipped({"current.npy": bytes(count)}, random.Random(), zipfile.ZIP_DEFLATED)


@lru_cache(maxsize=4)
def _crowd(count: int) -> bytes:
    return zipped({f"{number}.npy": b"" for number in range(count)}, random.Random(), zipfile.ZIP_STORED)


def _pickled() -> bytes:
    """An array of objects, which numpy would unpickle: code of the sender's choice."""
    buffer = io.BytesIO()
    np.savez(buffer, current=np.array([{"a": 1}], dtype=object))
    return buffer.getvalue()


def _lying(draw: random.Random) -> bytes:
    """A member that states few bytes, or a fitting shape, and inflates to gigabytes' worth of zeros."""
    stream = zeros(draw.choice((1 << 20, 50 << 20)))
    stated = draw.choice((10, 5000, 2**32 - 1, LIMIT))
    name = b"current.npy"
    what = (20, 0, 8, 0, 0x21, draw.randrange(2**32), len(stream), stated, len(name), 0)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *what) + name
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, *what, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(stream), 0)
    return local + stream + entry + end


def _patched(raw: bytes, draw: random.Random) -> bytes:
    """A zip64 locator before the end, an encrypted flag, or another method, in a sound file of arrays."""
    how = draw.randrange(3)
    if how == 0:
        return raw[:-22] + struct.pack("<4sIQI", b"PK\x06\x07", 0, draw.choice((0, len(raw), 2**63)), 1) + raw[-22:]
    place = raw.rindex(b"PK\x01\x02")
    changed = bytearray(raw)
    if how == 1:
        struct.pack_into("<H", changed, place + 8, 1)
    else:
        struct.pack_into("<H", changed, place + 10, draw.choice((1, 9, 12, 14, 99)))
    return bytes(changed)


FORGERIES: dict[str, tuple[str, Callable[[bytes, random.Random], bytes]]] = {
    "manifests": ("manifest.json", manifest),
    "golden arrays": ("golden.npz", arrays),
    "reference arrays": ("reference.npz", arrays),
}
"""Name -> the member that is replaced, and its forger. Digests of the others are put right."""
