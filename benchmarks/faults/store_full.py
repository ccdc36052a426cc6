"""Fault 4 in a mount namespace of its own: prints points, points held and a note, for `store_errno.full_row`."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.scene import ACTIONS, Action, Scene
from edge_runtime.errors import EdgeError

_PAGE = 4096
_SIZE = 512 * 1024


def main(quick: bool) -> None:
    action = next(action for action in ACTIONS if action.name == "install to commit")
    points, held, refused, first = 0, 0, 0, ""
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        size = f"size={_SIZE}"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(scene.state)], check=True
        )  # goes with the namespace
        try:
            for pages in range(0, 24, 4 if quick else 1):
                clean, fault = _fill_and_change(scene, action, pages)
                points, held, refused = points + 1, held + (not fault), refused + clean
                first = first or (f"{pages} pages free: {fault}" if fault else "")
        finally:
            subprocess.run(["umount", str(scene.state)], check=True)
    print(points, held, first or f"{refused} clean refusals", sep="\t")


def _fill_and_change(scene: Scene, action: Action, pages: int) -> tuple[bool, str]:
    """Whether the change was refused, and what did not hold."""
    scene.restore(action.picture)
    filler = scene.state / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(_PAGE))
        file.truncate(file.tell() - pages * _PAGE)
    refused, fault = False, ""
    try:
        action.do(scene, scene.store())
    except EdgeError as met:
        refused, fault = True, "" if met.mend and "full" in met.found else str(met)
    left = [path.name for path in scene.state.rglob("*.part")]
    filler.unlink()
    return refused, fault or (f"left behind: {left}" if left else scene.after(action))


if __name__ == "__main__":
    main("quick" in sys.argv[1:])
