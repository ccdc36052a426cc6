"""The store's state between the disk and this process: read when asked, replaced under a lock, held in memory at need."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.files import Files
from edge_runtime.lifecycle.state_file import StateFile, StoreState

_LOCK_WAIT_S = 5.0
Change = Callable[[StoreState], StoreState]


class Ledger:
    """Owns the state file of one folder. Another process may change it between two calls."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._file = StateFile(folder, files)
        self._memory: StoreState | None = None
        self.degraded = ""
        """Why changes are held in memory only, or why the last one failed; empty while the disk takes them."""
        self._reading = self._set_aside = ""

    @property
    def problem(self) -> str:
        """What is wrong with the state file, or was when this process set it aside; empty if it is well."""
        return self._set_aside or self._reading

    def load(self) -> StoreState:
        """The state as it is now. Never raises: a file that is damaged or can not be read counts as none."""
        if self._memory is not None:
            return self._memory
        self._reading = ""
        try:
            return self._file.load()
        except Refused as fault:
            self._reading = f"{fault.found}; the model store starts afresh"
        except OSError as fault:
            self._reading = f"{self._file.path} can not be read: {fault.strerror}"
        return StoreState()

    def change(self, change: Change, insist: bool) -> StoreState:
        """Replace the state by `change` of it and return the new one.

        If the disk fails: with `insist` raise Unavailable or TryAgain, and nothing has changed for this process;
        without, go on with the new state in memory until the disk takes a later one.
        """
        try:
            self._files.make_folder(self._folder)
            with self._files.lock(self._folder / "state.lock", _LOCK_WAIT_S):
                return self._replace(change)
        except OSError as fault:
            told = disk_fault(fault, self._folder)
            self.degraded = told.found
            if insist:
                raise told from None
            self._memory = change(self.load())
            return self._memory

    def _replace(self, change: Change) -> StoreState:
        before = self.load()
        state = change(before)
        if self._file.is_damaged():
            self._file.set_aside()
            self._set_aside = self._reading
        try:
            self._file.save(state)
        except OSError:
            self._memory = before  # what is on the disk now is not known for sure; this process goes on as it was
            raise
        self._memory, self.degraded = None, ""
        return state


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
