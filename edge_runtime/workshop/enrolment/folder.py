"""An operator's folder on the disk: files appear whole or not at all, secrets are their owner's alone, one run at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.files import DiskFiles
from edge_runtime.workshop.enrolment import register as registers
from edge_runtime.workshop.enrolment.register import Register

SECRET = 0o600
PUBLIC = 0o644
_LOCK_WAIT_S = 5.0
_MAX_BYTES = 64_000_000


class Folder:
    """The operator's folder. Raises Unavailable for what the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes the folder meanwhile. Raises TryAgain."""
        with _told(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = DiskFiles().lock(self.path / ".lock", _LOCK_WAIT_S)
            try:
                lock.__enter__()
            except BlockingIOError:
                raise TryAgain(f"somebody else changes {self.path} now", "Wait for them, then try again") from None
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def read_register(self) -> Register:
        """Raises Unavailable if there is none."""
        raw = read(self.path / registers.FILE)
        if raw is None:
            raise Unavailable(
                f"{self.path} holds no {registers.FILE}", f"Make it: edge-runtime fleet init {self.path} --host NAME"
            )
        return registers.decode(raw)

    def keep_register(self, register: Register) -> None:
        """On the disk when this returns, and with it everything that was written before."""
        os.sync()
        put(self.path / registers.FILE, registers.encode(register))


def read(path: Path) -> bytes | None:
    """A file's bytes; None if it is not there."""
    with _told(path):
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return None
    if len(raw) > _MAX_BYTES:
        raise Refused(f"{path} has more than {_MAX_BYTES} bytes", "Take it from a backup")
    return raw


def need(path: Path) -> bytes:
    """A file's bytes. Raises Unavailable if it is not there."""
    raw = read(path)
    if raw is None:
        raise Unavailable(f"{path} is not there", "Finish `fleet init`, or take it from a backup")
    return raw


def put(path: Path, raw: bytes, mode: int = PUBLIC, synced: bool = True) -> None:
    """Write a file, or replace it, in one step. Not `synced`: it survives a power cut once the disk is synced."""
    with _told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        beside.replace(path)
        if synced:
            DiskFiles().sync_folder(path.parent)


def keep(path: Path, raw: bytes, mode: int = PUBLIC) -> bool:
    """Write a file if it is not there; whether it was written."""
    if path.exists():
        return False
    put(path, raw, mode)
    return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, BlockingIOError):
        raise
    except OSError as fault:
        raise Unavailable(
            f"{fault.filename or path} can not be used: {fault.strerror}", "Check the path, its rights and its disk"
        ) from None
