"""Fault 3: the n-th system call fails, once and for good. Fault 4: a file system that is full while a bundle is staged.

Calls are failed for real, in a traced process, by `benchmarks.faults.tracer`.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.faults.scene import ACTIONS, Action, Scene, new_scene
from benchmarks.faults.tracer import CAN_FAIL_CALLS, CHANGES, LOOKS, Ending, traced
from edge_runtime.errors import EdgeError

ONCE = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
FOR_GOOD = (errno.EIO, errno.ENOSPC, errno.EROFS)
QUICK_STRIDE = 7
_DONE, _REFUSED = 0, 4
_WRONG = {
    5: "a wish was refused that safety had",
    6: "another model runs in the process than must",
    7: "a change that the disk did not take is not told",
    8: "a refusal does not say the mend",
}
_ANY = frozenset({"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"})


def campaign(quick: bool) -> Iterator[Row]:
    if not CAN_FAIL_CALLS:
        yield Row(3, "the n-th system call fails", 0, 0, "not run: failing calls needs x86-64")
        return
    with new_scene() as scene:
        for action in ACTIONS:
            yield change_row(scene, action, QUICK_STRIDE if quick else 1)
            yield look_row(scene, action, QUICK_STRIDE if quick else 1)
    yield full_row(quick)


def change_row(scene: Scene, action: Action, stride: int = 1) -> Row:
    """Fail each `stride`-th call that changes the disk, once and from then on."""
    plans = [(code, False) for code in ONCE] + [(code, True) for code in FOR_GOOD]
    what = f"a write, sync, rename ... fails (EIO, ENOSPC, EDQUOT, EROFS; once, for good) in: {action.name}"
    return _row(scene, action, CHANGES, plans, stride, what)


def look_row(scene: Scene, action: Action, stride: int = 1) -> Row:
    """Fail each `stride`-th call that reads."""
    return _row(
        scene, action, LOOKS, [(errno.EIO, False)], stride, f"a read, open, stat ... fails (EIO) in: {action.name}"
    )


def full_row(quick: bool) -> Row:
    """Stage a bundle on tmpfs file systems that have a page less each time, each in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    what = "a small file system fills up while a bundle is staged, tried and committed"
    command = [unshare or "", "-m", sys.executable, "-m", "benchmarks.faults.store_full", "quick" if quick else ""]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False) if unshare else None
    if done is None or done.returncode:
        return Row(4, what, 0, 0, f"not run: {done.stderr.strip()[-200:] if done else 'no unshare here'}")
    points, held, note = done.stdout.strip().split("\t")
    return Row(4, what, int(points), int(held), note)


def _row(
    scene: Scene, action: Action, names: frozenset[str], plans: list[tuple[int, bool]], stride: int, what: str
) -> Row:
    scene.restore(action.picture)
    calls = traced(_child(scene, action, names)).calls
    places = [place for place, name in enumerate(calls) if name in names][::stride]
    first, held, refused = "", 0, 0
    for place in places:
        for code, for_good in plans:
            scene.restore(action.picture)
            ending = traced(_child(scene, action, names), fail=_failing(place, names, code, for_good))
            refused += ending.status == _REFUSED
            fault = _fault_of(ending) or scene.after(action, _ANY if names is LOOKS else frozenset())
            held += not fault
            told = f"{calls[place]} {place}, {errno.errorcode[code]} {'for good' if for_good else 'once'}"
            first = first or (f"{told}: {fault}" if fault else "")
    return Row(3, what, len(places) * len(plans), held, first or f"{refused} clean refusals")


def _failing(place: int, names: frozenset[str], code: int, for_good: bool) -> Callable[[int, str], int]:
    return lambda now, name: code if now == place or (for_good and now > place and name in names) else 0


def _fault_of(ending: Ending) -> str:
    if ending.status in (_DONE, _REFUSED):
        return ""
    return _WRONG.get(ending.status, f"the process ended with {ending.status}")


def _child(scene: Scene, action: Action, names: frozenset[str]) -> Callable[[], int]:
    def act() -> int:
        store = scene.store()
        try:
            action.do(scene, store)
        except EdgeError as fault:
            return _REFUSED if fault.mend and not action.safety else 8 if not action.safety else 5
        if names is LOOKS:
            return _DONE
        if scene.version(store) != action.done:
            return 6
        if not store.degraded and scene.version(scene.store()) != action.done:
            return 7
        return _DONE

    return act
