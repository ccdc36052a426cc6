"""Fault 2: the power goes at any moment of a change of the store; unsynced writes are dropped, reordered, zeroed, cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.disk_model import FATES, Fate, RecordingFiles
from benchmarks.faults.row import Row
from benchmarks.faults.scene import ACTIONS, Action, Scene, new_scene

RANDOM_IMAGES = 8
"""Beside the four plain fates, of every moment."""
SEED = 2


def campaign(quick: bool) -> Iterator[Row]:
    with new_scene() as scene:
        for action in ACTIONS:
            yield power_row(scene, action, 1 if quick else RANDOM_IMAGES)


def power_row(
    scene: Scene,
    action: Action,
    random_images: int,
    stride: int = 1,
    record: Callable[[Path], RecordingFiles] = RecordingFiles,
) -> Row:
    """Cut the power after each `stride`-th step of the action, and start from each image that the disk may then hold."""
    scene.restore(action.picture)
    files = record(scene.state)
    action.do(scene, scene.store(files))
    draw = random.Random(SEED)
    chance: Fate = "random"
    fates = [*FATES, *[chance for _ in range(random_images)]]
    first, held = "", 0
    moments = files.moments[::stride]
    for place, disk in enumerate(moments):
        for fate in fates:
            disk.image(scene.state, fate, draw)
            fault = scene.after(action)
            held += not fault
            first = first or (f"after step {place * stride}, {fate} of the unsynced: {fault}" if fault else "")
    return Row(2, f"power cut at every step of: {action.name}", len(moments) * len(fates), held, first)
