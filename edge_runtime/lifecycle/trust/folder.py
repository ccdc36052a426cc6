"""A repository in a folder: a disk, a USB stick, a mounted share."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.transport import Moved, NotThere, Stream

_BLOCK = 262_144


class FolderTransport:
    """Reads plain files; whatever else lies there under their names is refused, never waited for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(self, path: str, within_s: float, first_byte: int = 0) -> Iterator[Stream]:
        file = self._opened(path)
        with file:
            size = os.fstat(file.fileno()).st_size
            if first_byte > size:
                raise Moved(f"{path} ends before byte {first_byte}")
            file.seek(first_byte)
            yield Stream(first_byte, _pieces(file, path, time.monotonic() + within_s), size - first_byte)

    def _opened(self, path: str) -> BinaryIO:
        try:
            handle = os.open(self._folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            if not self._folder.is_dir():
                raise Unavailable(
                    f"there is no repository in {self._folder}", "Plug in the stick, mount the share, or mend the path"
                ) from None
            raise NotThere(f"{self._folder} has no {path}", "Is this the folder that `repo init` made?") from None
        except OSError as fault:
            raise _told(path, fault) from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Refused(f"{path} of {self._folder} is not a file", "Copy the repository again")
        return os.fdopen(handle, "rb", buffering=0)


def _pieces(file: BinaryIO, path: str, deadline: float) -> Iterator[bytes]:
    while True:
        try:
            piece = file.read(_BLOCK)
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
