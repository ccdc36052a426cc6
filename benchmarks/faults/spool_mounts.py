"""Faults 4 and 5 in a mount namespace of its own: prints fault, points, points held and a note, for `spool_errno`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.faults.spool_errno import PICTURES, Life, verdict
from benchmarks.faults.spool_scene import NAME, SpoolScene, event, new_spool_scene

_PAGE = 4_096
_SIZE = 1_024 * 1_024
MORE = 60
"""Events while the disk is full: more than the pages left have room for."""


def main(quick: bool) -> None:
    with new_spool_scene() as scene:
        _say(
            4,
            [_tried(scene, picture, lambda s, p=pages: _full(s, p)) for picture in PICTURES for pages in _pages(quick)],
        )
        _say(5, [_tried(scene, picture, when) for picture in PICTURES for when in (_read_only, _read_only_at_start)])


def _pages(quick: bool) -> range:
    return range(0, 60, 12 if quick else 1)


def _say(fault: int, tried: list[tuple[str, bool]]) -> None:
    wrong = [what for what, _ in tried if what]
    memory = sum(degraded for _, degraded in tried)
    note = wrong[0] if wrong else f"{memory} went on in memory"
    print(fault, len(tried), len(tried) - len(wrong), note, sep="\t")


def _tried(scene: SpoolScene, picture: str, act: Callable[[SpoolScene], Life]) -> tuple[str, bool]:
    """What did not hold, and whether memory stood in."""
    scene.restore("nothing")
    with _small_disk(scene.folder):
        scene.fill(picture)
        life = act(scene)
        degraded = life.spool.counts().degraded
        life.spool.close()
        fault = verdict(scene, picture, life.report())
        if not fault and degraded:
            fault = f"it did not come back to the disk: {degraded}"
        return (f"before {picture}: {fault}" if fault else ""), bool(life.degraded)


def _full(scene: SpoolScene, pages: int) -> Life:
    """The disk has so many pages left, and later room again."""
    filler = scene.folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(_PAGE))
        file.truncate(max(0, file.tell() - pages * _PAGE))
    life = Life(scene.folder / NAME)
    for n in range(200, 200 + MORE):
        life.add(event(n))
        if n % 7 == 0:
            life.take(3, keep=1)
    life.wait()
    life.add(event(300))
    filler.unlink()
    _go_on(life)
    return life


def _read_only_at_start(scene: SpoolScene) -> Life:
    with _read_only_disk(scene.folder):
        life = Life(scene.folder / NAME)
        life.add(event(200))
        life.take(3, keep=1)
        life.wait()
        life.add(event(201))
    _go_on(life)
    return life


def _read_only(scene: SpoolScene) -> Life:
    """The spool of a run before was closed; this one starts well, is stopped, and comes back to a read-only disk."""
    first = Life(scene.folder / NAME)
    first.run()
    with _read_only_disk(scene.folder):
        life = Life(scene.folder / NAME)
        life.added, life.seen, life.changed = first.added, first.seen, first.changed
        life.add(event(200))
        life.take(9)
        life.add(event(201))
    _go_on(life)
    return life


def _go_on(life: Life) -> None:
    life.wait()
    life.add(event(301))
    life.spool.counts()
    while life.take(5):
        pass


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _read_only_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


if __name__ == "__main__":
    main("quick" in sys.argv[1:])
