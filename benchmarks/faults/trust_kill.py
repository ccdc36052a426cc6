"""Faults 1, 2, 3 and 4 of the trust layer: ended, failed or without room at every system call of a refresh and a
download; the power cut at every step of a refresh.

`python -m benchmarks.faults.trust_kill [--quick]` prints the rows.
"""

from __future__ import annotations

import errno
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.disk_model import FATES, RecordingFiles
from benchmarks.faults.row import Row
from benchmarks.faults.tracer import CAN_FAIL_CALLS, CHANGES, LOOKS, traced
from benchmarks.faults.trust_scene import NAME, HeldRepository, Scene, SetClock, content, make_scene, memory_disk
from edge_runtime.errors import EdgeError, TryAgain
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.lifecycle.trust.updater import Updater

QUICK_STRIDE = 9
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS}
RANDOM_IMAGES = 8
SEED = 2


@dataclass(frozen=True)
class Start:
    """What a device holds before the refresh."""

    name: str
    prepare: Callable[[Scene, Path], object]


def _trusts_old(scene: Scene, state: Path) -> None:
    device = scene.device(state, HeldRepository(scene.old))
    content(device)
    device.floors.raise_release(NAME, 1)


def _has_a_part(scene: Scene, state: Path) -> None:
    _trusts_old(scene, state)
    device = scene.device(state, HeldRepository(scene.new))
    whole = device.fetch(device.releases(NAME)[0])
    part = whole.with_suffix(".part")
    part.write_bytes(whole.read_bytes()[:1000])
    whole.unlink()


STARTS = (
    Start("a first refresh and download", lambda scene, state: state.mkdir()),
    Start("a refresh over a change of keys, and a download", _trusts_old),
    Start("a download that goes on", _has_a_part),
)


def campaign(quick: bool) -> Iterable[Row]:
    """Rows of faults 1 to 4."""
    stride = QUICK_STRIDE if quick else 1
    with tempfile.TemporaryDirectory(dir=memory_disk()) as folder:
        bench = Bench(make_scene(Path(folder)), Path(folder))
        for start in STARTS:
            yield bench.kill_row(start, stride)
        for start in STARTS[:2]:
            yield bench.power_row(start, 1 if quick else RANDOM_IMAGES)
        if CAN_FAIL_CALLS:
            for start in STARTS:
                yield bench.fail_row(start, stride, CHANGES | LOOKS, 3)
            yield bench.fail_row(STARTS[1], stride, frozenset({"write"}), 4)


class Bench:
    """One device, restored for every point."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.state, self.picture = scene, folder / "state", folder / "picture"
        self.newest = content(scene.device(folder / "expected", HeldRepository(scene.new)))[1]

    def kill_row(self, start: Start, stride: int) -> Row:
        """SIGKILL before every `stride`-th system call."""
        self._picture(start)
        points = range(0, len(traced(self._child).calls), stride)
        held, first = 0, ""
        for place in points:
            self._restore()
            ending = traced(self._child, kill_at=place)
            bad = f"ended with {ending.status}" if ending.status != -signal.SIGKILL else self._after()
            held += not bad
            first = first or (f"call {place}: {bad}" if bad else "")
        return Row(1, f"killed at every system call of {start.name}", len(points), held, first)

    def power_row(self, start: Start, images: int) -> Row:
        """The power goes after every step of a refresh; the floors and the metadata are whole, old or new."""
        self._picture(start)
        files = RecordingFiles(self.state)
        self._updater(files).refresh()
        draw, held, points, first = random.Random(SEED), 0, 0, ""
        for place, disk in enumerate(files.moments):
            for fate in (*FATES, *["random" for _ in range(images)]):
                disk.image(self.state, fate, draw)  # type: ignore[arg-type]
                bad = self._after()
                points, held = points + 1, held + (not bad)
                first = first or (f"after step {place}, {fate}: {bad}" if bad else "")
        return Row(2, f"power cut at every step of the refresh of: {start.name}", points, held, first)

    def fail_row(self, start: Start, stride: int, calls: frozenset[str], fault: int) -> Row:
        """Every such call fails, once and from then on: an answer with a mend, and the next refresh goes through."""
        self._picture(start)
        names = traced(self._child).calls
        places = [place for place, name in enumerate(names) if name in calls][::stride]
        errors = ERRORS if fault == 3 else {"ENOSPC": errno.ENOSPC}
        held, points, first, left = 0, 0, "", 0
        for place in places:
            for word, for_good in _ways(names[place], errors):
                self._restore()
                ending = traced(self._child, fail=_failing(place, calls, errors[word], for_good))
                left += bool(list((self.state / "staging").glob("*.part"))) and not for_good
                bad = "" if ending.status in (0, TryAgain.exit_code) else f"ended with {ending.status}"
                bad = bad or self._after()
                points, held = points + 1, held + (not bad)
                first = first or (f"call {place} ({names[place]}) {word}: {bad}" if bad else "")
        what = "no room" if fault == 4 else "EIO, ENOSPC or EROFS, once and for good,"
        note = first or (f"{left} parts left behind" if fault == 4 else "")
        return Row(
            fault,
            f"{what} at every {'write' if fault == 4 else 'call on the disk'} of {start.name}",
            points,
            held,
            note,
        )

    def _child(self) -> int:
        """In a process of its own: 0, or the exit code of an expected failure; anything else is a fault of ours."""
        try:
            updater = self._updater(DiskFiles())
            updater.refresh()
            updater.fetch(updater.releases(NAME)[0])
        except EdgeError as fault:
            return fault.exit_code if fault.mend else 98
        return 0

    def _updater(self, files: Files) -> Updater:
        return Updater(self.state, str(self.scene.new), self.scene.root, SetClock(self.scene.wall_s), files)

    def _after(self) -> str:
        """The next start: what was trusted is whole, nothing sank, the refresh goes through and nothing lies about."""
        try:
            updater = self.scene.device(self.state, HeldRepository(self.scene.new))
            if updater.floors.release(NAME) < self._floor or updater.floors.time_s < self._time_s:
                return "a floor sank"
            found = updater.fetch(updater.releases(NAME)[0]).read_bytes()
        except EdgeError as fault:
            return str(fault)
        if found != self.newest:
            return "other bytes"
        if updater.problems:
            return "; ".join(updater.problems)
        left = [path.name for path in self.state.rglob("*") if path.suffix in (".new", ".part", ".corrupt")]
        return f"left behind: {left}" if left else ""

    def _picture(self, start: Start) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        start.prepare(self.scene, self.state)
        shutil.rmtree(self.picture, ignore_errors=True)
        shutil.copytree(self.state, self.picture)
        floors = self.scene.device(self.state, HeldRepository(self.scene.new)).floors
        self._floor, self._time_s = floors.release(NAME), floors.time_s

    def _restore(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.picture, self.state)


def _ways(call: str, errors: dict[str, int]) -> list[tuple[str, bool]]:
    """Which errors, and whether for good: a call that only looks fails by EIO, and once."""
    if call in LOOKS:
        return [("EIO", False)]
    return [(word, for_good) for word in errors for for_good in (False, True)]


def _failing(place: int, calls: frozenset[str], code: int, for_good: bool) -> Callable[[int, str], int]:
    def fail(at: int, name: str) -> int:
        met = at == place or (for_good and at > place and name in calls & CHANGES)
        return code if met else 0

    return fail


def rows(quick: bool) -> Iterator[str]:
    """The rows as lines."""
    for row in campaign(quick):
        yield f"{row.fault:>3}  {row.held}/{row.points}  {row.what}: {row.note}"


if __name__ == "__main__":
    for line in rows("--quick" in sys.argv):
        print(line, flush=True)
