"""The store's state between the disk and this process: read when asked, replaced under a lock, held in memory at need.

There are two copies in two folders. The first is the truth; the second is written after it and is read only if the
first is damaged, gone or can not be read, so that what runs and what may never run again outlives a bad sector. A disk
that can not say what stands in them is not a disk on which nothing stands: nothing is then written over either.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.files import Files
from edge_runtime.lifecycle.state_file import StateFile, StoreState

_LOCK_WAIT_S = 5.0
_READS = 3
"""A read that fails is tried again at once, this often in all."""
Change = Callable[[StoreState], StoreState]
Stamp = tuple[int, int, int]


class Ledger:
    """Owns both state files of one device. Another process may change them between two calls."""

    def __init__(self, state_dir: Path, files: Files) -> None:
        self._folder = state_dir / "models"
        self._files = files
        self._file = StateFile(self._folder / "state.json", files)
        self._copy = StateFile(state_dir / "model-state.json", files)
        self._memory: StoreState | None = None
        self._until: Stamp | None = None
        """The memory is only of a change that failed: it ends when the file is no longer the one of then."""
        self._blind = False
        """Whether the disk could not say what the state is; what is in memory then is of this process alone."""
        self.degraded = ""
        """Why changes are held in memory only, or why the last one failed; empty while the disk takes them."""
        self._reading = self._set_aside = ""

    @property
    def problem(self) -> str:
        """What is wrong with the state file, or was when this process set it aside; empty if it is well."""
        return self._set_aside or self._reading

    def stamp(self) -> Stamp | None:
        """Tells one version of the state file from the next without reading it; None if it can not be looked at."""
        try:
            seen = self._file.path.stat()
        except OSError:
            return None
        return seen.st_ino, seen.st_mtime_ns, seen.st_size

    def load(self) -> StoreState:
        """The state as it is now. Never raises: if neither copy can be read the store starts afresh."""
        if self._memory is not None and not self._blind and self._until in (None, self.stamp()):
            return self._memory
        state = self._read()
        if self._blind and self._memory is not None:
            return self._memory
        self._memory = self._until = None
        return state

    def _read(self) -> StoreState:
        self._reading, self._blind = "", False
        try:
            state = _again(self._file.load)
        except Refused as fault:
            return self._second(fault.found)
        except OSError as fault:
            self._blind = True
            return self._second(f"{self._file.path} can not be read: {fault.strerror}")
        return state if state is not None else self._second("")

    def change(self, change: Change, insist: bool) -> StoreState:
        """Replace the state by `change` of it and return the new one; the same state back means nothing to write.

        If the disk fails: with `insist` raise Unavailable or TryAgain, and nothing has changed for this process;
        without, try once more, then go on with the new state in memory until the disk takes a later one.
        """
        try:
            try:
                return self._locked(change)
            except OSError:
                if insist:
                    raise
                return self._locked(change)
        except OSError as fault:
            told = disk_fault(fault, self._folder)
            self.degraded = told.found
            if insist:
                raise told from None
            self._memory, self._until = change(self.load()), None
            return self._memory

    def mend(self) -> None:
        """Make both copies the same again after a kill between the two, or damage to one. As far as the disk lets."""
        with suppress(OSError):
            if not self._folder.is_dir():
                return
            with self._files.lock(self._folder / "state.lock", _LOCK_WAIT_S):
                self._mend()

    def _mend(self) -> None:
        state = self.load()
        if self._reading or self._memory is not None:
            self._replace(lambda state: state)
        elif state != StoreState():
            self._write_copy(state)

    def _second(self, trouble: str) -> StoreState:
        """What the second copy says; `trouble` is what was wrong with the first, empty if it is not there."""
        state = None
        try:
            state = _again(self._copy.load)
        except Refused as fault:
            trouble = trouble or fault.found
        except OSError as fault:
            trouble = trouble or f"{self._copy.path} can not be read: {fault.strerror}"
            self._blind = True
        if state is not None:
            self._blind = False
            self._reading = f"{trouble or f'{self._file.path} is gone'}; its second copy is used"
            return state
        self._reading = f"{trouble}; the model store starts afresh" if trouble else ""
        return StoreState()

    def _locked(self, change: Change) -> StoreState:
        self._files.make_folder(self._folder)
        with self._files.lock(self._folder / "state.lock", _LOCK_WAIT_S):
            return self._replace(change)

    def _replace(self, change: Change) -> StoreState:
        before = self.load()
        if self._blind:
            raise OSError(errno.EIO, self._reading)
        state = change(before)
        if state is before and self._memory is None and not self._reading:
            return state
        told = self._reading
        if self._file.set_aside_if_damaged():
            self._set_aside = told
        try:
            self._file.save(state)
        except OSError:
            if self._memory is None:  # what is on the disk now is not known for sure; this process goes on as it was
                self._memory, self._until = before, self.stamp()
            raise
        self._memory, self._until, self.degraded = None, None, ""
        self._write_copy(state)
        return state

    def _write_copy(self, state: StoreState) -> None:
        """A second copy that can not be written does not undo the first."""
        try:
            if self._copy.set_aside_if_damaged() or self._copy.load() != state:
                self._copy.save(state)
        except OSError as fault:
            self.degraded = f"{self._copy.path} can not be written: {fault.strerror or fault}"


def _again(load: Callable[[], StoreState | None]) -> StoreState | None:
    for _ in range(_READS - 1):
        with suppress(OSError):
            return load()
    return load()


def disk_fault(fault: OSError, folder: Path) -> EdgeError:
    """What a failure of the store's disk means to whoever asked for the change."""
    if isinstance(fault, BlockingIOError):
        return TryAgain("another process is changing the model store", "Try again when it is done")
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryAgain(f"the disk of {folder} is full", "Make room and try again; the running model is untouched")
    return Unavailable(
        f"{folder} can not be written: {fault.strerror or fault}",
        "Check the disk and the owner of the folder; the running model is untouched",
    )
