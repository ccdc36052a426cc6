"""The metadata that this device has verified, in one file: a whole old set or a whole new one, never a mixture.

Losing it costs a download, and the floors still forbid going back: so a damaged file is set aside, not mourned.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.digest_file import DigestFile
from edge_runtime.lifecycle.files import Files

_FORMAT = "trusted-metadata/1"


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


class KeptFile:
    """`<state>/trust/metadata.json`."""

    def __init__(self, path: Path, files: Files, max_bytes: int) -> None:
        self.path = path
        self.problem = ""
        self._file = DigestFile(path, Kept, _FORMAT, "kept", 2 * max_bytes, files)
        self._max_bytes = max_bytes

    def load(self) -> Kept:
        """What was kept; nothing if there is no file or it is damaged: `problem` then says so.

        Raises TryAgain if the disk does not give it: to go on without it would forget what it forbids.
        """
        self.problem = ""
        try:
            return self._file.load() or Kept()
        except OSError as fault:
            raise TryAgain(
                f"{self.path} can not be read: {fault.strerror}", "Look at the disk and its rights"
            ) from None
        except Refused as fault:
            self.problem = f"{fault.found}; it is fetched again"
        return Kept()

    def save(self, kept: Kept) -> None:
        """Replace the set. Raises TryAgain if the disk does not take it; the file then holds the old or the new set."""
        if len(msgspec.json.encode(kept)) > self._max_bytes:
            top = {role: text for role, text in kept.roles.items() if role in ("timestamp", "snapshot", "targets")}
            kept = Kept(kept.roots, top)
        try:
            if self.problem and self.path.exists():
                self._file.set_aside()
            self._file.save(kept)
        except OSError as fault:
            raise TryAgain(
                f"the verified metadata can not be kept in {self.path.parent}: {fault.strerror}",
                "Free the disk, or make it writable: without it this device could be led back to old releases",
            ) from None
        self.problem = ""
