"""Damaged files are set aside for a look, and never fill the disk."""

from __future__ import annotations

from pathlib import Path

QUARANTINED_KEPT = 1
"""Older ones are deleted."""


def set_aside(path: Path) -> None:
    """Rename the damaged file, and forget older ones. Its journal goes with it: it belongs to no other file."""
    old = sorted(path.parent.glob(f"{path.name}.corrupt-*"), key=lambda p: int(p.suffix.rpartition("-")[2]))
    number = int(old[-1].suffix.rpartition("-")[2]) + 1 if old else 1
    path.replace(path.with_name(f"{path.name}.corrupt-{number}"))
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    for stale in old[: len(old) + 1 - QUARANTINED_KEPT]:
        stale.unlink(missing_ok=True)
