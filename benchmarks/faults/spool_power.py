"""Fault 2, of the spool: the power goes at any moment; each unsynced write is dropped, zeroed, cut, or there all the same."""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.faults.block_disk import DiskWatcher
from benchmarks.faults.disk_model import FATES, Fate
from benchmarks.faults.row import Row
from benchmarks.faults.spool_scene import STORIES, SpoolScene, Story, new_spool_scene
from benchmarks.faults.tracer import CAN_FAIL_CALLS

RANDOM_IMAGES = 12
"""Beside the four plain fates, of every moment."""
SEED = 2


def campaign(quick: bool) -> Iterator[Row]:
    if not CAN_FAIL_CALLS:
        yield Row(2, "power cut under the spool", 0, 0, "not run: watching calls needs x86-64")
        return
    with new_spool_scene() as scene:
        for story in STORIES:
            yield power_row(scene, story, 1 if quick else RANDOM_IMAGES, 5 if quick else 1)


def power_row(scene: SpoolScene, story: Story, random_images: int, stride: int = 1) -> Row:
    """Cut the power after each `stride`-th call that changed the disk, and start from each image it may then hold."""
    scene.restore(story.picture)
    watcher = DiskWatcher(scene.folder)
    status = watcher.run(scene.child(story)).status
    what = f"the spool, power cut at every write of: {story.name}"
    if status:
        return Row(2, what, 1, 0, f"the story itself ended with {status}")
    draw = random.Random(SEED)
    chance: Fate = "random"
    fates = [*FATES, *[chance for _ in range(random_images)]]
    first, held = "", 0
    moments = watcher.moments[::stride]
    for place, moment in enumerate(moments):
        for fate in fates:
            moment.image(scene.folder, fate, draw)
            fault = scene.verdict(story, moment.ledger, power_cut=True)
            held += not fault
            first = first or (f"after step {place * stride}, {fate} of the unsynced: {fault}" if fault else "")
    return Row(2, what, len(moments) * len(fates), held, first)
