"""What became of the last commands: so that one that comes again gets the same answer, also after a restart."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.command_form import Command
from edge_runtime.lifecycle.digest_file import DigestFile
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.telemetry.messages import Response

log = logging.getLogger(__name__)

REMEMBERED = 256
"""Commands whose receipts are kept in memory ..."""
KEPT = 64
"""... and on the disk."""
MAX_JOURNAL_BYTES = 2_097_152
_FORMAT = "edge-command-journal/1"
_ENDED = ("succeeded", "failed", "refused")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One command that was taken."""

    digest: str
    """SHA-256 of its payload: the same message again needs no signature check."""
    signer: str
    audience: str
    seq: int
    reply_to: str
    response: Response
    """Its newest receipt."""
    command: Command | None = None
    """Until it has ended."""

    @property
    def ended(self) -> bool:
        return self.response.state in _ENDED


class CommandJournal:
    """The records, newest last, by command id; any thread may use it. Only commands that were taken get in, so that
    strangers can not fill it."""

    def __init__(self, path: Path | None = None, files: Files | None = None) -> None:
        """Reads the file; one that is damaged is set aside. None: in memory only."""
        self._files = files or DiskFiles()
        self._file = (
            DigestFile(path, list[Record], _FORMAT, "records", MAX_JOURNAL_BYTES, self._files) if path else None
        )
        self._lock = threading.Lock()
        self._write = threading.Lock()
        self.problem = ""
        """Why it is not on the disk."""
        self._records: OrderedDict[str, Record] = OrderedDict(
            (record.response.id, record) for record in self._load()[-KEPT:]
        )

    def get(self, name: str) -> Record | None:
        with self._lock:
            return self._records.get(name)

    def records(self) -> tuple[Record, ...]:
        with self._lock:
            return tuple(self._records.values())

    def note(self, record: Record) -> None:
        """In memory; `keep` makes it last. Of too many, the oldest that has ended is forgotten."""
        with self._lock:
            self._records[record.response.id] = record
            self._records.move_to_end(record.response.id)
            while len(self._records) > REMEMBERED:
                oldest = next((name for name, each in self._records.items() if each.ended), None)
                del self._records[oldest or next(iter(self._records))]

    def keep(self) -> bool:
        """Bring the newest KEPT records to the disk. Waits for the disk; False if it does not take them."""
        if self._file is None:
            return True
        with self._write:
            newest = list(self.records())[-KEPT:]
            try:
                self._files.make_folder(self._file.path.parent)
                self._file.save(newest)
            except OSError as fault:
                if not self.problem:
                    log.warning("receipts of commands can not be kept: %s", fault)
                self.problem = f"receipts of commands can not be kept: {fault.strerror}"
                return False
            self.problem = ""
            return True

    def _load(self) -> list[Record]:
        if self._file is None:
            return []
        try:
            return self._file.load() or []
        except Refused as fault:
            log.warning("%s; it is set aside, and commands of before are answered as replays", fault.found)
            try:
                self._file.set_aside()
            except OSError as trouble:
                log.warning("%s can not be set aside: %s", self._file.path, trouble.strerror)
        except OSError as fault:
            log.warning("%s can not be read: %s", self._file.path, fault.strerror)
        return []
