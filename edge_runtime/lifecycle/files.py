"""What the store does to the disk, as a handful of steps that a test can make fail or end at any one of them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

_LOCK_POLL_S = 0.05


class Files(Protocol):
    """Every step raises OSError as the system does. A step that has returned may still be lost by a power cut,
    unless its line says otherwise."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, if they are not there; the names survive a power cut."""
        ...

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Create or replace a file; its bytes (not its name) survive a power cut once this has returned."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Put `old` in the place of `new` in one step."""
        ...

    def sync_folder(self, path: Path) -> None:
        """What was named, renamed and removed in the folder survives a power cut once this has returned."""
        ...

    def remove(self, path: Path) -> None: ...

    def lock(self, path: Path, wait_s: float) -> AbstractContextManager[None]:
        """Hold an exclusive lock between processes; BlockingIOError if another holds it for longer than `wait_s`."""
        ...


class DiskFiles:
    """The real disk."""

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        if path.parent != path:
            self.make_folder(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)
        self.sync_folder(path.parent)

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)

    def sync_folder(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, path: Path, wait_s: float) -> Iterator[None]:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _flock(handle, time.monotonic() + wait_s)
            yield
        finally:
            os.close(handle)


def _flock(handle: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOCK_POLL_S)
