"""Fault 13: a model that crashes the process, for real. Fault 17: the crash rule under a wall clock that jumps."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.faults.row import Row
from benchmarks.faults.scene import Scene, new_scene
from edge_runtime.errors import Refused
from edge_runtime.lifecycle.clock import Instant

SEED = 17
HEALTHY_FRAMES = 30
LIVES = 1_000
_YEAR_S = 365 * 86_400.0
_DEATHS: dict[str, Callable[[], object]] = {
    "segmentation fault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(1),
}


@dataclass
class LifeClock:
    """A device's clocks, set by assignment."""

    boot: int = 0
    since_boot_s: float = 30.0
    wall_s: float = 1.8e9

    def now(self) -> Instant:
        return Instant(f"boot-{self.boot}", self.since_boot_s, self.wall_s)

    def advance(self, seconds: float) -> None:
        self.since_boot_s += seconds
        self.wall_s += seconds

    def reboot(self) -> None:
        self.boot += 1
        self.since_boot_s = 20.0
        self.wall_s += 40.0


def campaign(quick: bool) -> Iterator[Row]:
    with new_scene() as scene:
        for picture in ("trial", "settled"):
            yield crash_row(scene, picture)
        yield spared_row(scene)
        yield clock_row(scene, LIVES // 20 if quick else LIVES, apart=False)
        yield clock_row(scene, LIVES // 20 if quick else LIVES, apart=True)


def crash_row(scene: Scene, picture: str) -> Row:
    """A model dies in four ways after 0 to 200 frames; the third death is its last, over a reboot too."""
    bad, good = ("1.3.0", "1.2.0") if picture == "trial" else ("1.2.0", "1.1.0")
    plans = [(how, frames, reboots) for how in _DEATHS for frames in (0, 1, 31, 200) for reboots in (False, True)]
    plans = [plan for plan in plans if plan[1] < HEALTHY_FRAMES or not plan[2]]
    first, held = "", 0
    for how, frames, reboots in plans:
        scene.restore(picture)
        scene.store().note_stopped()
        fault = _crash_story(scene, bad, good, how, frames, reboots)
        held += not fault
        first = first or (f"{how} after {frames} frames: {fault}" if fault else "")
    role = "in trial" if picture == "trial" else "committed"
    return Row(
        13, f"a model {role} ends the process at each start, four ways, after 0 to 200 frames", len(plans), held, first
    )


def spared_row(scene: Scene) -> Row:
    """Orderly stops, power cuts of a model that ran well, and a crash a day of a proven one cost no model."""
    endings: dict[str, Callable[[LifeClock], object]] = {
        "orderly stops": lambda clock: scene.store(clock=clock).note_stopped(),
        "power cuts": lambda clock: clock.reboot(),
        "a crash a day": lambda clock: clock.advance(86_400),
    }
    held, fallen = 0, []
    for name, end in endings.items():
        scene.restore("settled")
        clock = LifeClock()
        for _ in range(40):
            scene.store(clock=clock).note_start()
            clock.advance(60)
            scene.store(clock=clock).note_healthy()
            end(clock)
            stays = scene.version(scene.store()) == "1.2.0"
            held += stays
            fallen += [] if stays else [name]
    return Row(
        13,
        "40 orderly stops, 40 power cuts, a crash a day: none is held against the model",
        120,
        held,
        ", ".join(fallen),
    )


def clock_row(scene: Scene, lives: int, apart: bool) -> Row:
    """Three crashes within ten minutes, or further apart, while the wall clock jumps to 1970, by -1 or +5 years."""
    draw = random.Random(SEED)
    first, held = "", 0
    for life in range(lives):
        scene.restore("settled")
        clock = LifeClock(since_boot_s=draw.uniform(1, 1e6))
        for _ in range(3):
            scene.store(clock=clock).note_start()
            clock.advance(draw.uniform(305, 4000) if apart else draw.uniform(0, 190))
            clock.wall_s = draw.choice((clock.wall_s, 0.0, clock.wall_s - _YEAR_S, clock.wall_s + 5 * _YEAR_S))
        fell = scene.store(clock=clock).note_start().fall_back
        held += fell != apart
        first = first or ("" if fell != apart else f"life {life}")
    when = "over ten minutes apart: it stays" if apart else "within ten minutes: it goes"
    return Row(17, f"three crashes {when}, while the wall clock jumps by years", lives, held, first)


def _crash_story(scene: Scene, bad: str, good: str, how: str, frames: int, reboots: bool) -> str:
    clock = LifeClock()
    for crash in range(3):
        if (runs := scene.version(scene.store())) != bad:
            return f"{runs} runs after {crash} crashes"
        _run(scene, clock, how, frames)
        clock.advance(60)
        if reboots:
            clock.reboot()
    verdict = scene.store(clock=clock).note_start()
    if not verdict.fall_back or scene.version(scene.store()) != good:
        return f"{scene.version(scene.store())} runs after three crashes"
    clock.reboot()
    scene.store(clock=clock).note_start()
    if scene.version(scene.store()) != good:
        return "a reboot brings it back"
    try:
        scene.install(scene.store(), bad)
    except Refused:
        return ""
    return "it can be installed again"


def _run(scene: Scene, clock: LifeClock, how: str, frames: int) -> None:
    """One life of the daemon, in a process that its model ends."""
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            store = scene.store(clock=clock)
            store.note_start()
            if frames >= HEALTHY_FRAMES:
                store.note_healthy()
            _DEATHS[how]()
        finally:
            os._exit(1)
    os.waitpid(child, 0)
