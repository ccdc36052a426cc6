"""The command keys that count on this device now: those that the repository vouches for, or those that were pinned.

The repository wins once its keys have been seen: a pinned file may name a key that was revoked since. Expired metadata,
a repository that is away or that lists no keys change nothing: what was verified last holds until a newer file says
otherwise. To take every key out, publish an empty list.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.lifecycle.digest_file import DigestFile
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust.command_keys import (
    MAX_KEYS_BYTES,
    TARGET,
    CommandKeys,
    KeyList,
    decode_key_list,
    read_command_keys,
)

if TYPE_CHECKING:
    from edge_runtime.lifecycle.trust.updater import Updater

log = logging.getLogger(__name__)

_FORMAT = "trusted-command-keys/1"


def fetch_command_keys(updater: Updater, state_dir: Path, files: Files | None = None) -> bool:
    """Ask the repository for the keys and keep them; True if they changed. For a process beside the daemon: it loads TUF.

    Raises what `Updater.read_target` raises (NotThere if the repository lists none), Refused for a list that is wrong
    or older than one that was seen, TryAgain if the disk does not take it; the keys that were kept then hold on.
    """
    files = files or DiskFiles()
    updater.refresh()
    found = decode_key_list(updater.read_target(TARGET, MAX_KEYS_BYTES))
    floors = Floors(state_dir, files)
    if found.serial < (floor := floors.release(TARGET)):
        raise Refused(
            f"the repository's {TARGET} has the serial {found.serial}; this device has seen {floor}",
            "Publish it with a higher serial; it is an old copy, or somebody withholds the newer one",
        )
    kept = _kept_file(state_dir, files)
    before = _outcome(kept)
    if before == found:
        floors.raise_release(TARGET, found.serial)  # a kill may have come between the list and its floor
        return False
    try:
        files.make_folder(kept.path.parent)
        if isinstance(before, Refused):
            kept.set_aside()
        kept.save(found)
    except OSError as fault:
        raise TryAgain(f"{kept.path} can not be written: {fault.strerror}", "Free the disk") from None
    floors.raise_release(TARGET, found.serial)
    return True


class KeyRing:
    """`keys` for an EnvelopeVerifier. Looks at the kept file each time (a stat), and reads it when it has changed.

    `wanting` says that a look at the repository would help: the kept file is damaged or lost, or nothing is there yet.
    """

    def __init__(self, state_dir: Path, pinned: Path | None = None, files: Files | None = None) -> None:
        self._kept = _kept_file(state_dir, files or DiskFiles())
        self._floors = Floors(state_dir)
        self._pinned = pinned
        self._seen: tuple[tuple[int, int, int] | None, ...] | None = None
        self._keys: CommandKeys | None = None
        self.problem = ""
        """Why there are no keys, or not those there should be; empty if all is well."""
        self.wanting = False

    def keys(self) -> CommandKeys:
        """Never raises: without keys nobody may command, and `problem` says why."""
        found = self._stamp()
        if self._keys is None or found != self._seen:
            self._seen, self._keys = found, self._read()
            if self.problem:
                log.warning("command keys: %s", self.problem)
        return self._keys

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Changes whenever one of the two files does: keys that come late count at once."""
        return _stamp_of(self._kept.path), _stamp_of(self._pinned)

    def _read(self) -> CommandKeys:
        self.problem, self.wanting = "", False
        kept = _outcome(self._kept)
        if isinstance(kept, KeyList):
            if kept.serial >= self._floors.release(TARGET):
                return CommandKeys(kept.keys)
            return self._without(f"{self._kept.path} is older than the keys that were seen before")
        if isinstance(kept, Refused | OSError):
            return self._without(str(kept))
        if self._floors.release(TARGET):
            return self._without(f"{self._kept.path} is lost")
        return self._of_pinned()

    def _of_pinned(self) -> CommandKeys:
        self.wanting = True
        if self._pinned is None:
            self.problem = "the repository's keys have not been fetched yet"
            return CommandKeys()
        try:
            return read_command_keys(self._pinned)
        except EdgeError as fault:
            self.problem = str(fault)
            return CommandKeys()

    def _without(self, why: str) -> CommandKeys:
        """Not those of the pinned file: they may have been revoked since."""
        self.wanting = True
        self.problem = f"{why}; nobody can command until the repository has been asked"
        return CommandKeys()


def _stamp_of(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found is not None else None


def _kept_file(state_dir: Path, files: Files) -> DigestFile[KeyList]:
    return DigestFile(state_dir / "trust" / TARGET, KeyList, _FORMAT, "keys", 2 * MAX_KEYS_BYTES, files)


def _outcome(kept: DigestFile[KeyList]) -> KeyList | Refused | OSError | None:
    try:
        found = kept.load()
        if found is not None:
            CommandKeys(found.keys)  # raises Refused for keys that are none
        return found
    except (Refused, OSError) as fault:
        return fault
