"""The session number: counts the starts of the daemon, so that messages can be ordered where clocks can not."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)


def next_session(path: Path) -> int:
    """One more than the number in `path`, written back durably. Without a usable file: seconds since 1970, once."""
    try:
        last = int(path.read_text("ascii"))
    except (OSError, ValueError):
        last = 0
    number = max(last, 0) + 1 if last else int(time.time())
    try:
        _write_durably(path, f"{number}\n")
    except OSError as fault:
        log.warning("the session number can not be kept in %s (%s); the clock stands in for it", path, fault.strerror)
        number = max(number, int(time.time()))
    return number


def _write_durably(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
