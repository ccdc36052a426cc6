"""How often this device may be restarted from afar: `<state>/restarts.json`, over the life of processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.telemetry.durable import replace_durably

FILE = "restarts.json"
MAX_BYTES = 1_024
APART_S = 600.0
"""At least so long between two restarts by command: who commands too often must not keep a device from its work."""


class RestartLimit:
    """Asked before a restart. A clock that was set back does not lock the device: the mark is then as good as none."""

    def __init__(self, state_dir: Path, wall: Callable[[], float] = time.time) -> None:
        self._path = state_dir / FILE
        self._wall = wall

    def pass_one(self) -> None:
        """Mark one on the disk. Raises Refused if the last was too short ago, TryAgain if it can not be marked."""
        now, last = self._wall(), self._last()
        if 0 <= now - last < APART_S:
            raise Refused(
                f"the last restart by command was {now - last:.0f} s ago", f"Ask again in {APART_S - now + last:.0f} s"
            )
        try:
            replace_durably(self._path, msgspec.json.encode({"at": now}))
        except OSError as fault:
            raise TryAgain(
                f"a restart can not be marked in {self._path}: {fault.strerror}", "Free the device's disk"
            ) from None

    def _last(self) -> float:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(MAX_BYTES), type=dict[str, float]).get("at", 0.0)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return 0.0
