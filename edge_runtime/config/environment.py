"""The process environment, read once, in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """What the runtime takes from the environment. All of it is optional."""

    credentials: Path | None = None
    """systemd's `$CREDENTIALS_DIRECTORY`."""
    state_dir: Path | None = None
    """systemd's `$STATE_DIRECTORY` (the first of several)."""
    notify_socket: str | None = None
    """`$NOTIFY_SOCKET`: where sd_notify messages go."""
    watchdog_s: float | None = None
    """`$WATCHDOG_USEC` in seconds, if it is meant for this process."""
    config: Path | None = None
    """`$EDGE_RUNTIME_CONFIG`: device.toml when the command line names none."""
    no_color: bool = False
    source_date_epoch: int | None = None
    """`$SOURCE_DATE_EPOCH`: seconds since 1970 that a reproducible build takes for its date."""


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """From the given variables, or those of this process."""
    found = os.environ if variables is None else variables
    state = found.get("STATE_DIRECTORY", "").split(":")[0]
    return Environment(
        credentials=_path(found.get("CREDENTIALS_DIRECTORY")),
        state_dir=_path(state),
        notify_socket=found.get("NOTIFY_SOCKET") or None,
        watchdog_s=_watchdog(found),
        config=_path(found.get("EDGE_RUNTIME_CONFIG")),
        no_color=bool(found.get("NO_COLOR")),
        source_date_epoch=_epoch(found.get("SOURCE_DATE_EPOCH", "")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _epoch(text: str) -> int | None:
    """Up to the year 9999; anything else counts as not set."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 11 else None


def _watchdog(found: Mapping[str, str]) -> float | None:
    micros, pid = found.get("WATCHDOG_USEC", ""), found.get("WATCHDOG_PID", "")
    if not (micros.isascii() and micros.isdigit()) or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 1e6
