"""Fault 3, of the spool: the n-th system call fails, once and for good, and the disk comes back. Faults 4 and 5: a file
system that is full, or read-only, while messages come.

What must hold: no call of the spool fails, everything that was added comes out, once, and what was on the disk is there
when that is well again. Calls are failed for real, in a traced process, by `benchmarks.faults.tracer`.
"""

from __future__ import annotations

import errno
import json
import mmap
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.faults.spool_scene import EVENTS, NAME, SpoolScene, event, figure, new_spool_scene, whole
from benchmarks.faults.tracer import CAN_FAIL_CALLS, LOOKS, SPOOL_CHANGES, SPOOL_LOOKS, traced
from edge_runtime.telemetry.fallback_spool import RETRY_S, FallbackSpool
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool

ONCE = (errno.EIO, errno.ENOSPC)
FOR_GOOD = (errno.EIO, errno.ENOSPC, errno.EROFS)
QUICK_STRIDE = 13
SHARED_BYTES = 65_536
PICTURES = ("nothing", "closed", "crashed", "damaged")


def campaign(quick: bool) -> Iterator[Row]:
    if not CAN_FAIL_CALLS:
        yield Row(3, "the n-th system call of the spool fails", 0, 0, "not run: failing calls needs x86-64")
    else:
        with new_spool_scene() as scene:
            for picture in PICTURES:
                yield change_row(scene, picture, QUICK_STRIDE if quick else 1)
                yield look_row(scene, picture, QUICK_STRIDE if quick else 1)
    yield from mount_rows(quick)


def change_row(scene: SpoolScene, picture: str, stride: int = 1) -> Row:
    """Fail each `stride`-th call that changes the disk, once and from then on."""
    plans = [(code, False) for code in ONCE] + [(code, True) for code in FOR_GOOD]
    what = f"a write, sync, rename ... of the spool fails (EIO, ENOSPC, EROFS; once, for good); before: {picture}"
    return _row(scene, picture, SPOOL_CHANGES, plans, stride, what)


def look_row(scene: SpoolScene, picture: str, stride: int = 1) -> Row:
    """Fail each `stride`-th call that reads, once and from then on."""
    plans = [(errno.EIO, False), (errno.EIO, True)]
    what = f"a read, open, stat ... of the spool fails (EIO; once, for good); before: {picture}"
    return _row(scene, picture, SPOOL_LOOKS | LOOKS, plans, stride, what)


def mount_rows(quick: bool) -> Iterator[Row]:
    """On small file systems, each in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    whats = {
        4: "a small file system fills up while messages are spooled",
        5: "the state folder is read-only for a while",
    }
    command = [unshare or "", "-m", sys.executable, "-m", "benchmarks.faults.spool_mounts", "quick" if quick else ""]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False) if unshare else None
    if done is None or done.returncode:
        why = f"not run: {done.stderr.strip()[-200:] if done else 'no unshare here'}"
        yield from (Row(fault, what, 0, 0, why) for fault, what in whats.items())
        return
    for line in done.stdout.splitlines():
        fault, points, held, note = line.split("\t")
        yield Row(int(fault), whats[int(fault)], int(points), int(held), note)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Life:
    """A process with a spool that falls back: what it gave in, and what came out, in the order in which it came."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.spool = FallbackSpool(lambda: SqliteSpool(path, clock=self.clock), clock=self.clock)
        self.added: list[str] = []
        self.seen: list[str] = []
        self.changed: list[str] = []
        self.degraded = ""

    def add(self, *entries: Entry) -> None:
        self.added += [entry.id for entry in entries]
        if self.spool.add(entries) != len(entries):
            self.changed.append("not kept")
        self.degraded = self.degraded or self.spool.counts().degraded

    def take(self, limit: int, keep: int = 0) -> int:
        batch = self.spool.begin(limit)
        ids = [entry.id for entry in batch]
        done = ids[: max(0, len(ids) - keep)]
        self.changed += [entry.id for entry in batch if not whole(entry)]
        self.spool.end(done, kept=ids[len(done) :])
        self.seen += done
        return len(done)

    def wait(self) -> None:
        self.clock.now_s += RETRY_S + 1.0

    def run(self) -> None:
        self.add(event(100))
        self.take(4, keep=2)
        self.add(figure(100), figure(101))
        self.wait()
        self.add(event(101), figure(102))
        self.take(3)
        self.wait()
        self.spool.mark()
        self.add(event(102))
        while self.take(50):
            pass
        self.spool.close()

    def report(self) -> dict[str, object]:
        return {"added": self.added, "seen": self.seen, "changed": self.changed, "degraded": self.degraded}


def _row(
    scene: SpoolScene, picture: str, names: frozenset[str], plans: list[tuple[int, bool]], stride: int, what: str
) -> Row:
    shared = mmap.mmap(-1, SHARED_BYTES)
    scene.restore(picture)
    calls = traced(_child(scene, shared)).calls
    places = [place for place, name in enumerate(calls) if name in names][::stride]
    first, held, memory = "", 0, 0
    for place in places:
        for code, for_good in plans:
            scene.restore(picture)
            shared[:] = bytes(SHARED_BYTES)
            ending = traced(_child(scene, shared), fail=_failing(place, names, code, for_good))
            told = json.loads(shared[:].rstrip(b"\0") or b"{}")
            memory += bool(told.get("degraded"))
            fault = f"it ended with {ending.status}" if ending.status else verdict(scene, picture, told)
            held += not fault
            how = f"{calls[place]} {place}, {errno.errorcode[code]} {'for good' if for_good else 'once'}"
            first = first or (f"{how}: {fault}" if fault else "")
    return Row(3, what, len(places) * len(plans), held, first or f"{memory} went on in memory")


def verdict(scene: SpoolScene, picture: str, told: dict[str, list[str]]) -> str:
    """What does not hold of a life, and of what it left on the disk; empty if all does."""
    known = set[str]() if picture == "nothing" else {f"e{n}" for n in range(EVENTS)}
    seen = told["seen"]
    if told["changed"]:
        return f"not as it was given: {told['changed']}"
    if len(set(seen)) < len(seen):
        return f"twice: {sorted({key for key in seen if seen.count(key) > 1})}"
    spool = SqliteSpool(scene.folder / NAME)
    left = {entry.id for entry in spool.begin(1_000) if entry.grade is Grade.EVENT}
    spool.close()
    wanted = {key for key in (*known, *told["added"]) if key.startswith("e")}
    if lost := wanted - set(seen) - left:
        return f"lost: {sorted(lost)}"
    return ""


def _child(scene: SpoolScene, shared: mmap.mmap) -> Callable[[], int]:
    def act() -> int:
        life = Life(scene.folder / NAME)
        life.run()
        raw = json.dumps(life.report()).encode()
        shared[: len(raw)] = raw
        return 0

    return act


def _failing(place: int, names: frozenset[str], code: int, for_good: bool) -> Callable[[int, str], int]:
    return lambda now, name: code if now == place or (for_good and now > place and name in names) else 0
