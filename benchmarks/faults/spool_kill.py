"""Fault 1, of the spool: SIGKILL at every system call of all that is done with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from benchmarks.faults.block_disk import LEDGER
from benchmarks.faults.row import Row
from benchmarks.faults.spool_scene import STORIES, SpoolScene, Story, new_spool_scene
from benchmarks.faults.tracer import traced

QUICK_STRIDE = 23


def campaign(quick: bool) -> Iterator[Row]:
    with new_spool_scene() as scene:
        scene.restore(STORIES[0].picture)
        traced(scene.child(STORIES[0]))  # in a fresh checkout it writes bytecode: calls that no later run makes
        for story in STORIES:
            yield kill_row(scene, story, QUICK_STRIDE if quick else 1)


def kill_row(scene: SpoolScene, story: Story, stride: int = 1) -> Row:
    """End the story before each `stride`-th of its system calls, and start again."""
    scene.restore(story.picture)
    length = len(traced(scene.child(story)).calls)
    first, held, points = "", 0, range(0, length, stride)
    for place in points:
        scene.restore(story.picture)
        ending = traced(scene.child(story), kill_at=place)
        ledger = scene.folder / LEDGER
        said = ledger.read_bytes() if ledger.exists() else b""
        fault = scene.verdict(story, said) if ending.status == -signal.SIGKILL else f"it ended with {ending.status}"
        held += not fault
        first = first or (f"at call {place}: {fault}" if fault else "")
    return Row(1, f"the spool, SIGKILL at every system call of: {story.name}", len(points), held, first)
