"""The session number: counts the starts of the daemon, so that messages can be ordered where clocks can not."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from edge_runtime.telemetry.durable import replace_durably

log = logging.getLogger(__name__)


def next_session(path: Path) -> int:
    """One more than the number in `path`, written back durably. Without a usable file: seconds since 1970, once."""
    try:
        last = int(path.read_text("ascii"))
    except (OSError, ValueError):
        last = 0
    number = max(last, 0) + 1 if last else int(time.time())
    try:
        replace_durably(path, f"{number}\n".encode())
    except OSError as fault:
        log.warning("the session number can not be kept in %s (%s); the clock stands in for it", path, fault.strerror)
        number = max(number, int(time.time()))
    return number
