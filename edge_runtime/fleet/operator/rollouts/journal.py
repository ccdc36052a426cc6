"""The local journal of a rollout: every record as it was signed, a line each, fsynced before the broker gets it."""

from __future__ import annotations

import base64
import os
import zlib
from pathlib import Path

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.fleet.operator.rollouts.ledger import Known
from edge_runtime.fleet.operator.views import peek

SUFFIX = ".jsonl"


class Journal:
    """One file. Appends are whole lines with a checksum; a line that a power cut tore counts as not written."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "rollouts" / f"{name}{SUFFIX}"
        self._name = name

    def append(self, envelope: bytes) -> None:
        """On the disk when this returns. Raises Unavailable if it can not be."""
        line = b"%08x %b\n" % (zlib.crc32(envelope), base64.b64encode(envelope))
        try:
            created = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, (b"" if _ends_whole(handle) else b"\n") + line)
                os.fsync(handle)
            finally:
                os.close(handle)
            if created:
                _sync_folder(self.path.parent)
        except OSError as fault:
            raise Unavailable(
                f"the journal {self.path} can not be written: {fault.strerror}", "Make room; nothing was sent"
            ) from None

    def read(self) -> Known:
        """What it holds. Damaged lines are passed over and counted; the newest record of each kind counts."""
        known = Known(self._name)
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return known
        except OSError as fault:
            raise Unavailable(f"the journal {self.path} can not be read: {fault.strerror}") from None
        for line in lines:
            envelope = _whole(line)
            if envelope is None:
                known.damaged += bool(line)
                continue
            try:
                known.take(envelope, peek(envelope))
            except Refused:
                known.damaged += 1
        return known


def _whole(line: bytes) -> bytes | None:
    check, _, text = line.partition(b" ")
    try:
        envelope = base64.b64decode(text, validate=True)
        return envelope if envelope and int(check, 16) == zlib.crc32(envelope) else None
    except ValueError:
        return None


def _ends_whole(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
