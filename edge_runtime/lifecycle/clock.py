"""When something happened, told so that neither a wrong wall clock nor a reboot makes nonsense of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """One moment on one device."""

    boot: str
    """Names the boot; instants of one boot compare by `since_boot_s`."""
    since_boot_s: float
    wall_s: float
    """Seconds since 1970; on a device without a battery it may be years wrong until the network sets it."""


class Clock(Protocol):
    """Says what moment it is."""

    def now(self) -> Instant: ...


class SystemClock:
    """The kernel's boot clock (runs on through sleep) and wall clock."""

    def __init__(self, boot_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> None:
        try:
            self._boot = boot_file.read_text(encoding="ascii").strip()
        except OSError:
            self._boot = os.urandom(16).hex()  # unknown: every process is a boot of its own, and wall time decides

    def now(self) -> Instant:
        return Instant(self._boot, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def age_s(then: Instant, now: Instant) -> float:
    """Seconds from `then` to `now`, never negative.

    Across boots only the wall clock is left; if it has gone back, `then` counts as just now: who counts crashes must
    not lose one because the clock is wrong.
    """
    if then.boot == now.boot:
        return max(0.0, now.since_boot_s - then.since_boot_s)
    return max(0.0, now.wall_s - then.wall_s)
