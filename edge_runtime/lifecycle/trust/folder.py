"""A repository in a folder: a disk, a USB stick, a mounted share."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.transport import Moved, NotThere, Stream

_BLOCK = 262_144


class FolderTransport:
    """Reads plain files; whatever else lies there under their names is refused, never waited for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(self, path: str, within_s: float, first_byte: int = 0) -> Iterator[Stream]:
        handle = self._opened(path)
        try:
            size = _placed(handle, path, first_byte)
            yield Stream(first_byte, _pieces(handle, path, time.monotonic() + within_s), size - first_byte)
        finally:
            with suppress(OSError):
                os.close(handle)

    def _opened(self, path: str) -> int:
        try:
            return os.open(self._folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise self._absent(path) from None
        except OSError as fault:
            raise _told(path, fault) from None

    def _absent(self, path: str) -> EdgeError:
        try:
            there = self._folder.is_dir()
        except OSError as fault:
            return _told(path, fault)
        if there:
            return NotThere(f"{self._folder} has no {path}", "Is this the folder that `repo init` made?")
        return Unavailable(
            f"there is no repository in {self._folder}", "Plug in the stick, mount the share, or mend the path"
        )


def _placed(handle: int, path: str, first_byte: int) -> int:
    """Stand at a byte of a plain file; its size."""
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} of the repository is not a file", "Copy the repository again")
        if first_byte > status.st_size:
            raise Moved(f"{path} ends before byte {first_byte}", "Try again")
        os.lseek(handle, first_byte, os.SEEK_SET)
    except OSError as fault:
        raise _told(path, fault) from None
    return status.st_size


def _pieces(handle: int, path: str, deadline: float) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(handle, _BLOCK)
        except OSError as fault:
            raise _told(path, fault) from None
        if not piece:
            return
        yield piece
        if time.monotonic() > deadline:
            raise TryAgain(f"{path} comes too slowly", "Try again, or use another disk")


def _told(path: str, fault: OSError) -> TryAgain | Unavailable:
    words = f"{path} of the repository can not be read: {fault.strerror}"
    if fault.errno in (errno.EACCES, errno.EPERM):
        return Unavailable(words, "Let the runtime's user read it")
    return TryAgain(words, "Look at the disk, or copy the repository again")
