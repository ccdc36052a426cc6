"""The session number: larger at every start of the daemon, so that messages can be ordered where clocks can not.

It is the second since 1970 of the start, or one more than the last number where the clock says less. The last number is
kept in two files, each with a checksum, written one after the other: no cut and no damage of one takes it back. Where
both are gone, no clock below the youngest file of the folder is believed.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from edge_runtime.telemetry.durable import replace_durably

log = logging.getLogger(__name__)

MAX_BYTES = 64
_LARGEST = 2**53 - 1
"""What every reader of JSON can hold."""


def next_session(path: Path, wall: Callable[[], float] = time.time) -> int:
    """A number larger than all before, kept durably in `path` and `<path>.copy`.

    Where it can not be kept, that is logged, and the clock alone makes the next one larger.
    """
    places = (path, path.with_name(f"{path.name}.copy"))
    last = max(_read(place) for place in places)
    number = max(last + 1, int(wall()), 0 if last else _youngest_s(path.parent) + 1)
    for place in places:
        try:
            _clear(place)
            replace_durably(place, _encoded(number))
        except OSError as fault:
            log.warning("the session number can not be kept in %s (%s)", place, fault.strerror)
    return number


def _encoded(number: int) -> bytes:
    return b"%d %08x\n" % (number, zlib.crc32(b"%d" % number))


def _read(path: Path) -> int:
    """The number of one file; 0 if it holds none that is whole."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES)
        number = int(raw.split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    sound = raw in (_encoded(number), b"%d\n" % number)  # the second: of versions that had no checksum
    return number if sound and 0 < number < _LARGEST else 0


def _clear(path: Path) -> None:
    """A folder in the place of the file goes aside, with what is in it."""
    if path.is_dir():
        path.replace(path.with_name(f"{path.name}.corrupt-{time.time_ns()}"))


def _youngest_s(folder: Path) -> int:
    """When a file of the folder was last written; 0 if there is none."""
    try:
        return max((int(entry.lstat().st_mtime) for entry in folder.iterdir()), default=0)
    except OSError:
        return 0
