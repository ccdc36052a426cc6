"""Disks that fail, and a clock that a test sets by assignment."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.files import DiskFiles


class Killed(BaseException):
    """The process ended here (not an Exception: nothing in the code under test may catch it)."""


class HandClock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.boot = "first"
        self.since_boot_s = 50.0
        self.wall_s = 1.8e9

    def now(self) -> Instant:
        return Instant(self.boot, self.since_boot_s, self.wall_s)

    def advance(self, seconds: float) -> None:
        self.since_boot_s += seconds
        self.wall_s += seconds

    def reboot(self, wall_s: float | None = None) -> None:
        self.boot += "'"
        self.since_boot_s = 20.0
        self.wall_s = self.wall_s + 30.0 if wall_s is None else wall_s


class FaultyFiles(DiskFiles):
    """The real disk, whose n-th step (from 1) goes wrong.

    `fault`: `kill` ends the process before the step, `kill_half` in the middle of a write, `kill_after` right after
    the step, `errno` fails it once, `errno_for_good` it and all that follow.
    """

    def __init__(self, nth: int = 0, fault: str = "kill", code: int = errno.EIO) -> None:
        self.nth, self.fault, self.code = nth, fault, code
        self.steps = 0

    def _step(self) -> bool:
        """Count a step; True if the fault must follow it."""
        self.steps += 1
        if self.fault == "errno_for_good" and self.nth and self.steps >= self.nth:
            raise OSError(self.code, "injected")
        if self.steps != self.nth:
            return False
        if self.fault == "errno":
            raise OSError(self.code, "injected")
        if self.fault == "kill":
            raise Killed
        return True

    def make_folder(self, path: Path) -> None:
        after = self._step()
        super().make_folder(path)
        self._end(after)

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        after = self._step()
        if after and self.fault == "kill_half":
            raw = b"".join(pieces)
            path.write_bytes(raw[: len(raw) // 2])
            raise Killed
        super().write(path, pieces)
        self._end(after)

    def rename(self, old: Path, new: Path) -> None:
        after = self._step()
        super().rename(old, new)
        self._end(after)

    def sync_folder(self, path: Path) -> None:
        after = self._step()
        super().sync_folder(path)
        self._end(after)

    def remove(self, path: Path) -> None:
        after = self._step()
        super().remove(path)
        self._end(after)

    @contextmanager
    def lock(self, path: Path, wait_s: float) -> Iterator[None]:
        after = self._step()
        with super().lock(path, 0.0):
            self._end(after)
            yield

    def _end(self, after: bool) -> None:
        if after:
            raise Killed
