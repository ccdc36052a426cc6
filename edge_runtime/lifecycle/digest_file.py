"""One small file that carries its own digest: whole and as it was written, or known to be damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.files import Files

T = TypeVar("T")


class DigestFile(Generic[T]):
    """`{"format": …, "sha256": …, <body>: …}`. Holds nothing: every `load` reads the disk."""

    def __init__(self, path: Path, kind: type[T], form: str, body: str, max_bytes: int, files: Files) -> None:
        """`kind`: what stands under `body`. `form`: the one format that is read."""
        self.path = path
        self._kind, self._form, self._body = kind, form, body
        self._max_bytes = max_bytes
        self._files = files

    def load(self) -> T | None:
        """None if there is no file. Raises Refused if it is not whole, OSError if it can not be read."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            return None
        try:
            found = {key: bytes(part) for key, part in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()}
            body = found.get(self._body, b"")
            if found.get("format") != msgspec.json.encode(self._form):
                raise Refused(f"{self.path} is damaged: it is not of the format {self._form}")
            if found.get("sha256") != msgspec.json.encode(hashlib.sha256(body).hexdigest()):
                raise Refused(f"{self.path} is damaged: its digest does not fit")
            return msgspec.json.decode(body, type=self._kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise Refused(f"{self.path} is damaged: {fault}") from None

    def save(self, value: T) -> None:
        """Put it in the place of the file, whole or not at all; it survives a power cut. Raises OSError."""
        body = msgspec.json.encode(value)
        digest = hashlib.sha256(body).hexdigest()
        file = {"format": self._form, "sha256": digest, self._body: msgspec.Raw(body)}
        beside = self.path.with_suffix(f"{self.path.suffix}.new")
        self._files.write(beside, [msgspec.json.encode(file), b"\n"])
        self._files.rename(beside, self.path)
        self._files.sync_folder(self.path.parent)

    def set_aside(self) -> None:
        """Keep a damaged file for whoever asks, under another name. Raises OSError."""
        self._files.rename(self.path, self.path.with_suffix(f"{self.path.suffix}.corrupt"))
