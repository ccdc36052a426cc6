"""The metadata that this device has verified, in one file: a whole old set or a whole new one, never a mixture.

Losing it costs a download, and the floors still forbid going back: so a damaged file is set aside, not mourned.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.files import Files

_FORMAT: Literal["trusted-metadata/1"] = "trusted-metadata/1"


class Kept(msgspec.Struct, frozen=True):
    """Metadata as it came, by role; TUF metadata is UTF-8 text."""

    roots: dict[str, str] = {}
    """Version -> root, without the first, which the configuration holds."""
    roles: dict[str, str] = {}

    def with_root(self, version: int, raw: bytes) -> Kept:
        return msgspec.structs.replace(self, roots=self.roots | {str(version): raw.decode()})

    def with_role(self, role: str, raw: bytes) -> Kept:
        return msgspec.structs.replace(self, roles=self.roles | {role: raw.decode()})

    def root(self, version: int) -> bytes | None:
        return self.roots[str(version)].encode() if str(version) in self.roots else None

    def role(self, name: str) -> bytes | None:
        return self.roles[name].encode() if name in self.roles else None


class _File(msgspec.Struct, frozen=True):
    format: Literal["trusted-metadata/1"]
    sha256: str
    kept: msgspec.Raw


class KeptFile:
    """`<state>/trust/metadata.json`."""

    def __init__(self, path: Path, files: Files, max_bytes: int) -> None:
        self.path = path
        self.problem = ""
        self._files, self._max_bytes = files, max_bytes

    def load(self) -> Kept:
        """What was kept; nothing if there is no file or it is damaged: `problem` then says so.

        Raises TryAgain if the disk does not give it: to go on without it would forget what it forbids.
        """
        self.problem = ""
        try:
            with self.path.open("rb") as file:
                raw = file.read(2 * self._max_bytes + 1)
            return _decode(raw)
        except FileNotFoundError:
            return Kept()
        except OSError as fault:
            raise TryAgain(
                f"{self.path} can not be read: {fault.strerror}", "Look at the disk and its rights"
            ) from None
        except Refused as fault:
            self.problem = f"{self.path} is damaged ({fault.found}); it is fetched again"
        return Kept()

    def save(self, kept: Kept) -> None:
        """Replace the set. Raises TryAgain if the disk does not take it; the file then holds the old or the new set."""
        raw = msgspec.json.encode(kept)
        if len(raw) > self._max_bytes:
            top = {role: text for role, text in kept.roles.items() if role in ("timestamp", "snapshot", "targets")}
            raw = msgspec.json.encode(Kept(kept.roots, top))
        file = _File(_FORMAT, hashlib.sha256(raw).hexdigest(), msgspec.Raw(raw))
        beside = self.path.with_suffix(".json.new")
        try:
            if self.problem and self.path.exists():
                self._files.rename(self.path, self.path.with_suffix(".json.corrupt"))
            self._files.write(beside, [msgspec.json.encode(file), b"\n"])
            self._files.rename(beside, self.path)
            self._files.sync_folder(self.path.parent)
        except OSError as fault:
            raise TryAgain(
                f"the verified metadata can not be kept in {self.path.parent}: {fault.strerror}",
                "Free the disk, or make it writable: without it this device could be led back to old releases",
            ) from None
        self.problem = ""


def _decode(raw: bytes) -> Kept:
    try:
        file = msgspec.json.decode(raw, type=_File)
        if hashlib.sha256(bytes(file.kept)).hexdigest() != file.sha256:
            raise Refused("its digest does not fit")
        return msgspec.json.decode(file.kept, type=Kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(str(fault)) from None
