"""Damaged files are set aside for a look, and never fill the disk."""

from __future__ import annotations

import os
from pathlib import Path

QUARANTINED_KEPT = 1
"""Older ones are deleted."""
JOURNAL = "-wal"


def quarantined(path: Path) -> list[Path]:
    """The files that were set aside of `path`, oldest first; what is beside them is their journal."""
    named = ((p.name.rpartition("-")[2], p) for p in path.parent.glob(f"{path.name}.corrupt-*"))
    return [p for _, p in sorted((int(number), p) for number, p in named if number.isdigit())]


def set_aside(path: Path) -> Path:
    """Rename the damaged file, and its journal with it, and forget older ones. Where it is now. Raises OSError.

    A folder or device in the place of the file or of its journal is set aside too, and never deleted.
    """
    old = quarantined(path)
    number = int(old[-1].name.rpartition("-")[2]) + 1 if old else 1
    aside = path.with_name(f"{path.name}.corrupt-{number}")
    _remove(path.with_name(f"{path.name}-shm"), aside.with_name(f"{aside.name}-shm"))
    for tail in (JOURNAL, ""):  # the file last: with it the journal finds its name again if this is cut short
        if os.path.lexists(path.with_name(path.name + tail)):
            path.with_name(path.name + tail).replace(aside.with_name(aside.name + tail))
    for stale in old[: len(old) + 1 - QUARANTINED_KEPT]:
        for tail in ("", JOURNAL, "-shm"):
            _forget(stale.with_name(stale.name + tail))
    return aside


def _remove(path: Path, aside: Path) -> None:
    if os.path.lexists(path):
        if path.is_dir():
            path.replace(aside)
        else:
            path.unlink()


def _forget(path: Path) -> None:
    if path.is_file():
        path.unlink()
