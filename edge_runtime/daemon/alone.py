"""One daemon a state folder: two would take each other's spool, settings and connection, and neither would know."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.daemon.status_file import read_status
from edge_runtime.errors import EdgeError, TryAgain


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Nobody else's while it is entered. Raises TryAgain if it is another's now.

    The folder itself is locked, so that a full or a read-only disk does not matter; the kernel takes the lock back from
    a process that ends, however it ends. Where a folder can not be locked (some network disks) nothing is kept apart.
    """
    handle = -1
    try:
        with suppress(OSError):
            state_dir.mkdir(parents=True, exist_ok=True)
            handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if handle >= 0:
            _lock(handle, state_dir)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int, state_dir: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TryAgain(
            f"another daemon{_named(state_dir)} works with {state_dir}",
            "End it first (systemctl stop edge-runtime), or name another [storage] state_dir and [device] id",
        ) from None
    except OSError:
        return


def _named(state_dir: Path) -> str:
    with suppress(EdgeError):
        return f" (process {read_status(state_dir).pid})"
    return ""
