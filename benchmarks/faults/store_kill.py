"""Fault 1: SIGKILL at every system call of every change of the store. Fault 23: at random moments, a thousand times."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.faults.scene import ACTIONS, Action, Scene, new_scene
from benchmarks.faults.tracer import traced
from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.store import ModelStore

QUICK_STRIDE = 9
"""Of the system calls; odd, so that over all actions every kind of call is met."""
STARTS = 1_000
SEED = 23


class _Quarters:
    """The time of the n-th start: a quarter of an hour after the one before."""

    def __init__(self, number: int) -> None:
        self._instant = Instant("boot", 900.0 * number, 1.8e9 + 900.0 * number)

    def now(self) -> Instant:
        return self._instant


def campaign(quick: bool) -> Iterator[Row]:
    with new_scene() as scene:
        for action in ACTIONS:
            yield kill_row(scene, action, QUICK_STRIDE if quick else 1)
        yield random_row(scene, STARTS // 20 if quick else STARTS)


def kill_row(scene: Scene, action: Action, stride: int = 1) -> Row:
    """End the action before each `stride`-th of its system calls and start again."""
    scene.restore(action.picture)
    length = len(traced(_child(scene, action)).calls)
    first, held, points = "", 0, range(0, length, stride)
    for place in points:
        scene.restore(action.picture)
        ending = traced(_child(scene, action), kill_at=place)
        fault = scene.after(action) if ending.status == -signal.SIGKILL else f"it ended with {ending.status}"
        held += not fault
        first = first or (f"at call {place}: {fault}" if fault else "")
    return Row(1, f"SIGKILL at every system call of: {action.name}", len(points), held, first)


def random_row(scene: Scene, starts: int) -> Row:
    """A device that is killed within moments of each start, while it installs, tries, commits and falls back.

    One history: nothing is restored between the starts. The moments span an action's length, not three seconds: the
    store is at rest for the rest of them. Quarter of an hour lies between two starts by the device's clock, so that
    this is not one model's crashes.
    """
    draw = random.Random(SEED)
    scene.restore("settled")
    first, held, most = "", 0, 0
    for number in range(starts):
        child = os.fork()
        if child == 0:
            _live(scene.store(clock=_Quarters(number)), scene, random.Random(number))
        time.sleep(draw.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        fault = _fault_of(scene.state, scene.store())
        most = max(most, sum(path.is_file() for path in scene.state.rglob("*")))
        held += not fault
        first = first or (f"start {number}: {fault}" if fault else "")
    return Row(
        23,
        "the store killed within 0-60 ms of its start, again and again",
        starts,
        held,
        first or f"at most {most} files",
    )


def _child(scene: Scene, action: Action) -> Callable[[], int]:
    def act() -> int:
        action.do(scene, scene.store())
        return 0

    return act


def _live(store: ModelStore, scene: Scene, draw: random.Random) -> None:
    try:
        store.note_start()
        while True:
            _change(scene, store, draw)
    finally:
        os._exit(1)


def _change(scene: Scene, store: ModelStore, draw: random.Random) -> None:
    version = draw.choice(("1.1.0", "1.2.0", "1.3.0", "1.4.0"))
    steps: tuple[Callable[[], object], ...] = (
        lambda: store.install(scene.paths[version], Origin("repository", 9)),
        lambda: store.shadow(scene.models[version]),
        lambda: store.try_out(scene.models[version]),
        lambda: store.commit(store.candidate.sha256) if store.candidate else None,
        lambda: store.rollback("asked", quarantine=False),
        store.note_healthy,
        lambda: store.release(scene.models[version].sha256),
        store.note_stopped,
    )
    with suppress(EdgeError):  # a refusal is as good as a change
        draw.choice(steps)()


def _fault_of(state: Path, store: ModelStore) -> str:
    if store.current() is None:
        return "nothing runs"
    if store.problems:
        return "; ".join(store.problems)
    if not any(entry.version == "1.2.5" and entry.status == "quarantined" for entry in store.list()):
        return "a quarantine is lost"
    store.settle()
    left = [path.name for path in state.rglob("*") if path.name.endswith(".part")]
    return f"left behind: {left}" if left else ""
