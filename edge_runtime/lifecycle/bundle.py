"""One model version in one file: a zip of fixed members, each of which its manifest vouches for.

What is verified here is that a bundle is whole and says what it is. Who made it is the trust layer's question, whether
it works on this device the probe's.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from edge_runtime import __version__
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.arrays import read_arrays
from edge_runtime.lifecycle.strict_zip import Member, chunks_of, list_members, read_member
from edge_runtime.manifest import MAX_MANIFEST_BYTES, Manifest, decode_manifest
from edge_runtime.records import ModelId

MEBIBYTE = 1024 * 1024
LIMITS = {
    "manifest.json": MAX_MANIFEST_BYTES,
    "model.onnx": 64 * MEBIBYTE,
    "model.fp32.onnx": 192 * MEBIBYTE,
    "golden.npz": 32 * MEBIBYTE,
    "reference.npz": 32 * MEBIBYTE,
    "LICENSE": MEBIBYTE,
}
"""Every member that a bundle may hold and the most bytes that it may have."""
OPTIONAL = frozenset({"model.fp32.onnx"})
MAX_BUNDLE_BYTES = sum(LIMITS.values())
_BLOCK = MEBIBYTE
_STREAM_FIRST_BYTES = 4 * MEBIBYTE
"""A member above this is verified in passing before it is held in memory."""
_MEND = "Pack it again with `edge-runtime build pack`, or fetch it again"


class Variant(StrEnum):
    """The files of one model that a device may choose from; the value is the member's name."""

    PACKED = "model.onnx"
    """What every bundle has: int8 where the bundle also has a float file."""
    FLOAT = "model.fp32.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A whole bundle whose every member has the digest that its manifest states."""

    manifest: Manifest
    sha256: str
    """Of the bundle file."""
    path: Path
    model: bytes
    fp32: bytes | None
    golden: bytes
    reference: bytes
    licence: bytes

    @property
    def id(self) -> ModelId:
        return ModelId(self.manifest.name, self.manifest.version, self.sha256)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Those that this bundle has, the packed one first."""
        return (Variant.PACKED,) if self.fp32 is None else (Variant.PACKED, Variant.FLOAT)

    def bytes_of(self, variant: Variant) -> bytes:
        """The ONNX file of one variant. Raises Refused if this bundle has no such file."""
        raw = self.model if variant is Variant.PACKED else self.fp32
        if raw is None:
            raise Refused(f"{self.manifest.name} {self.manifest.version} has no {variant}", _MEND)
        return raw

    def golden_arrays(self) -> dict[str, NDArray[Any]]:
        """Crops with the answers that they must get. Raises Refused if the member is malformed."""
        return read_arrays(self.golden, "golden.npz")

    def reference_arrays(self) -> dict[str, NDArray[Any]]:
        """What the model's outputs looked like on the data it was checked with. Raises Refused if malformed."""
        return read_arrays(self.reference, "reference.npz")


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `model verify` tells about a bundle that passed."""

    id: ModelId
    path: Path
    bytes: int
    members: dict[str, int]
    """Name -> bytes when unpacked."""
    receipt: dict[str, float]


def read_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises Unavailable if the file can not be read, Refused if it is anything but a whole bundle for this runtime; the
    message names the member at fault.
    """
    with _opened(path) as (file, file_bytes):
        members, manifest = _checked_members(file, file_bytes)
        raw = {name: _verified(file, members[name], manifest) for name in members if name != "manifest.json"}
        sha256 = _sha256_of(_blocks(file))
    return Bundle(
        manifest,
        sha256,
        path,
        raw["model.onnx"],
        raw.get("model.fp32.onnx"),
        raw["golden.npz"],
        raw["reference.npz"],
        raw["LICENSE"],
    )


def read_manifest(path: Path) -> Manifest:
    """Only the manifest of a bundle, for lists: quick, and nothing else of the bundle is verified."""
    with _opened(path) as (file, file_bytes):
        return _checked_members(file, file_bytes)[1]


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file. Raises Unavailable if it can not be read."""
    with _opened(path) as (file, _):
        return _sha256_of(_blocks(file))


def verify_bundle(path: Path) -> VerifyReport:
    """Read a bundle and look into its arrays too. Raises as `read_bundle`."""
    bundle = read_bundle(path)
    bundle.golden_arrays()
    bundle.reference_arrays()
    sizes = {name: digest.bytes for name, digest in sorted(bundle.manifest.files.items())}
    return VerifyReport(bundle.id, path, path.stat().st_size, sizes, dict(bundle.manifest.receipt))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refused(f"{path} is not a file; a bundle (<name>-<version>.zip) was expected", _MEND)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size > MAX_BUNDLE_BYTES:
                raise Refused(f"{path} has {size} bytes, a bundle has at most {MAX_BUNDLE_BYTES}", _MEND)
            yield file, size
    except OSError as fault:
        raise Unavailable(f"bundle {path} can not be read: {fault.strerror}", "See `edge-runtime model list`") from None
    except Refused as fault:
        prefix = "" if fault.found.startswith(str(path)) else f"{path}: "
        raise Refused(f"{prefix}{fault.found}", fault.mend) from None


def _checked_members(file: BinaryIO, file_bytes: int) -> tuple[dict[str, Member], Manifest]:
    members = list_members(file, file_bytes, LIMITS)
    missing = sorted(set(LIMITS) - OPTIONAL - set(members))
    if missing:
        raise Refused(f"the bundle lacks {', '.join(missing)}", _MEND)
    raw = read_member(file, members["manifest.json"])
    _check_keys(raw)
    manifest = decode_manifest(raw)
    stated, held = set(manifest.files), set(members) - {"manifest.json"}
    if stated != held:
        raise Refused(f"the manifest vouches for {sorted(stated)}, the bundle holds {sorted(held)}", _MEND)
    for name, digest in manifest.files.items():
        if members[name].size != digest.bytes:
            raise Refused(f"{name} has {members[name].size} bytes, the manifest says {digest.bytes}", _MEND)
    _check_runtime(manifest)
    return members, manifest


def _check_keys(raw: bytes) -> None:
    """A key that stands twice means one thing to one reader and another to the next."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise Refused(f"manifest.json names {twice[:80]!r} twice", _MEND)
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise Refused(f"manifest.json is not JSON: {fault}", _MEND) from None


def _verified(file: BinaryIO, member: Member, manifest: Manifest) -> bytes:
    """One member's bytes. A big one is digested in passing first, so that a false one never fills the memory."""
    if member.size > _STREAM_FIRST_BYTES:
        _require_digest(member.name, _sha256_of(chunks_of(file, member)), manifest)
    raw = read_member(file, member)
    _require_digest(member.name, hashlib.sha256(raw).hexdigest(), manifest)
    return raw


def _require_digest(name: str, found: str, manifest: Manifest) -> None:
    expected = manifest.files[name].sha256
    if found != expected:
        raise Refused(f"{name} is not what the manifest vouches for: sha256 {found[:12]}, not {expected[:12]}", _MEND)


def _check_runtime(manifest: Manifest) -> None:
    first, beyond = (_version(text, manifest) for text in manifest.runtime)
    here = _version(__version__, manifest)
    if not first <= here < beyond:
        raise Refused(
            f"{manifest.name} {manifest.version} needs runtime {manifest.runtime[0]} up to, not including,"
            f" {manifest.runtime[1]}; this is {__version__}",
            "Update the runtime, or choose another version of the model",
        )


def _version(text: str, manifest: Manifest) -> tuple[int, ...]:
    """Leading numbers of a version, three of them: 1.2 is (1, 2, 0), 0.1.0.dev3 is (0, 1, 0)."""
    numbers = re.match(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?(?:\.([0-9]{1,6}))?", text)
    if numbers is None:
        raise Refused(f"the manifest's runtime range {manifest.runtime} holds {text!r}, not a version", _MEND)
    return tuple(int(number or 0) for number in numbers.groups())


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    read: Callable[[], bytes] = lambda: file.read(_BLOCK)  # noqa: E731
    return iter(read, b"")


def _sha256_of(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
