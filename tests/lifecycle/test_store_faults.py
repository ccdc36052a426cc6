"""Whatever step a change of model ends or fails at: a whole model runs at the next start, old or new, and nobody is needed.

Slices of the campaigns of `benchmarks.faults`; `make faults` runs all of their points.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks.faults import scene as scenes
from benchmarks.faults import store_crashes, store_damage, store_errno, store_kill, store_power, tracer
from benchmarks.faults.disk_model import RecordingFiles
from benchmarks.faults.row import Row
from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.store import ModelStore

from .bundles import make_bundle
from .disks import FaultyFiles, HandClock, Killed

MAX_STEPS = 90
STRIDE = 60
"""Of the system calls that strace ends; the tracer of the campaigns ends each of them."""
PARTS = ("factory-1.0.0.zip", "new-1.2.0.zip")


class Scene:
    """A device that runs 1.1.0 over factory 1.0.0, restored from a picture of its folder for every trial."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.factory = [make_bundle(root / PARTS[0], "1.0.0")]
        self.new = make_bundle(root / PARTS[1], "1.2.0")
        self.later = make_bundle(root / "later-1.3.0.zip", "1.3.0")
        self.clock = HandClock()
        store = self.store(FaultyFiles())
        self.running = store.activate(store.install(make_bundle(root / "old-1.1.0.zip", "1.1.0")))
        self.staged = store.install(make_bundle(root / "staged-1.1.5.zip", "1.1.5"))
        shutil.copytree(root / "state", root / "picture")

    def store(self, files: FaultyFiles | None = None) -> ModelStore:
        return ModelStore(self.root / "state", self.factory, self.clock, files, allow_unsigned=True)

    def restore(self) -> None:
        shutil.rmtree(self.root / "state")
        shutil.copytree(self.root / "picture", self.root / "state")

    def version(self) -> str:
        bundle = self.store().current()
        return bundle.manifest.version if bundle else "none"

    def require_usable(self) -> None:
        """The next change works and leaves no rubbish behind."""
        store = self.store()
        model = store.activate(store.install(self.later))
        assert not store.degraded and self.version() == model.version
        names = {path.name for path in (self.root / "state" / "models").iterdir()}
        assert not {name for name in names if name.endswith((".part", ".new"))}


def install(scene: Scene, store: ModelStore) -> object:
    return store.install(scene.new)


def activate(scene: Scene, store: ModelStore) -> object:
    return store.activate(scene.staged)


def rollback(scene: Scene, store: ModelStore) -> object:
    return store.rollback("bad")


ACTIONS: dict[Callable[[Scene, ModelStore], object], set[str]] = {
    install: {"1.1.0"},
    activate: {"1.1.0", "1.1.5"},
    rollback: {"1.1.0", "1.0.0"},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("fault", ["kill_half"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_killed_at_every_step(scene: Scene, action: Callable[[Scene, ModelStore], object], fault: str) -> None:
    for nth in range(1, MAX_STEPS):
        scene.restore()
        files = FaultyFiles(nth, fault)
        try:
            action(scene, scene.store(files))
            assert nth > 3, "the action has steps that can be ended"
            break
        except Killed:
            assert scene.version() in ACTIONS[action], nth
            assert not scene.store().problems
            scene.require_usable()
    else:
        pytest.fail("the action never ended by itself")


@pytest.mark.parametrize(("code", "fault"), [(28, "errno_for_good")])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_the_disk_fails_at_every_step(
    scene: Scene, action: Callable[[Scene, ModelStore], object], code: int, fault: str
) -> None:
    for nth in itertools.count(1):
        scene.restore()
        files = FaultyFiles(nth, fault, code)
        store = scene.store(files)
        try:
            action(scene, store)
            if action is rollback:
                bundle = store.current()
                assert bundle and bundle.manifest.version == "1.0.0", "safety does not wait for the disk"
        except (TryAgain, Unavailable, Refused) as fault_met:
            assert fault_met.mend and action in (install, activate)
            bundle = store.current()
            assert bundle and bundle.manifest.version == "1.1.0", "the running model is untouched"
        if files.steps < nth:
            break
        assert scene.version() in ACTIONS[action]
        scene.require_usable()
    assert nth > 3


CHANGE = """
import sys
from pathlib import Path
from edge_runtime.lifecycle.store import ModelStore
root = Path(sys.argv[1])
store = ModelStore(root / "state", [root / "factory-1.0.0.zip"], allow_unsigned=True)
store.activate(store.install(root / "new-1.2.0.zip"))
store.rollback("bad")
"""


def run_traced(root: Path, strace: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [strace, "-f", "-qq", "-o", str(root / "trace"), *options, sys.executable, "-c", CHANGE, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.mark.integration
def test_killed_at_real_system_calls(scene: Scene, program: Callable[[str, str], str]) -> None:
    """SIGKILL by strace at every STRIDE-th system call that touches the store: the kernel's view is whole each time."""
    strace = program("strace", "strace")
    folder = scene.root / "state" / "models"
    names = ("state.json", "state.json.new", "incoming.part", "state.lock", "install.lock")
    watched = [part for path in (folder, *(folder / name for name in names)) for part in ("-P", str(path))]
    scene.restore()
    assert run_traced(scene.root, strace, *watched).returncode == 0
    lines = (scene.root / "trace").read_text().splitlines()
    calls = Counter(found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line)))
    points = [(call, nth) for call, count in sorted(calls.items()) for nth in range(1, count + 1)]
    assert len(points) >= 100
    for call, nth in points[::STRIDE]:
        scene.restore()
        done = run_traced(scene.root, strace, *watched, "-e", f"inject={call}:signal=KILL:when={nth}")
        assert done.returncode in (-9, 137), (call, nth, done.stderr)
        assert scene.version() in ("1.0.0", "1.1.0", "1.2.0")
        scene.require_usable()


@pytest.mark.integration
def test_bytes_are_on_the_disk_before_a_name_points_to_them(scene: Scene, program: Callable[[str, str], str]) -> None:
    """Between the rename of a file and the last write before it lies an fsync; after the rename, one of the folder."""
    strace = program("strace", "strace")
    scene.restore()
    done = run_traced(scene.root, strace, "-y", "-e", "trace=write,fsync,rename")
    assert done.returncode == 0, done.stderr
    calls = [
        line.split(" ", 1)[1].strip() for line in (scene.root / "trace").read_text().splitlines() if "models" in line
    ]
    renames = [place for place, call in enumerate(calls) if call.startswith("rename")]
    assert len(renames) >= 3
    for place in renames:
        source = calls[place].split('"')[1]
        written = max(n for n in range(place) if calls[n].startswith("write") and f"<{source}>" in calls[n])
        assert any(call.startswith("fsync") and f"<{source}>" in call for call in calls[written:place])
        assert calls[place + 1].startswith("fsync") and calls[place + 1].split("<")[1].startswith(
            str(Path(source).parent)
        )


@pytest.fixture(scope="module")
def device() -> Iterator[scenes.Scene]:
    with scenes.new_scene() as scene:
        yield scene


def require_held(row: Row) -> None:
    assert row.points and row.held == row.points, row


each_action = pytest.mark.parametrize("action", scenes.ACTIONS, ids=lambda action: action.name.replace(" ", "-"))


@each_action
def test_killed_at_system_calls(device: scenes.Scene, action: scenes.Action) -> None:
    require_held(store_kill.kill_row(device, action, stride=31))


def test_the_tracer_counts_the_calls_that_strace_counts(
    device: scenes.Scene, program: Callable[[str, str], str]
) -> None:
    """On the calls that reach the store: as many renames and syncs are met by the one as by the other."""
    strace = program("strace", "strace")
    action = next(action for action in scenes.ACTIONS if action.name == "install to commit")
    device.restore(action.picture)
    calls = Counter(tracer.traced(lambda: int(action.do(device, device.store()) is None)).calls)
    device.restore(action.picture)
    code = (
        "import sys; from pathlib import Path; from benchmarks.faults import scene as s; d = s.Scene.__new__(s.Scene);"
        "import json; d.__dict__.update(json.loads(sys.argv[1])); d.root, d.state = Path(d.root), Path(d.state);"
        "d.paths = {version: Path(path) for version, path in d.paths.items()};"
        "next(a for a in s.ACTIONS if a.name == 'install to commit').do(d, d.store())"
    )
    known = {
        "root": str(device.root),
        "state": str(device.state),
        "paths": {v: str(p) for v, p in device.paths.items()},
    }
    command = [strace, "-f", "-qq", "-e", "trace=rename,fsync", sys.executable, "-c", code, json.dumps(known)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = Counter(line.split("(")[0].split()[-1] for line in done.stderr.splitlines() if "(" in line)
    assert (seen["rename"], seen["fsync"]) == (calls["rename"], calls["fsync"]) and seen["rename"] > 5


def test_killed_at_random_moments_again_and_again(device: scenes.Scene) -> None:
    require_held(store_kill.random_row(device, 25))


@each_action
def test_power_cuts(device: scenes.Scene, action: scenes.Action) -> None:
    require_held(store_power.power_row(device, action, random_images=2, stride=5))


class Forgetful(RecordingFiles):
    """Renames a file whose bytes were never synced."""

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        super().write(path, pieces)
        self._file(path).synced = b""
        self._tick()


def test_the_power_campaign_finds_a_store_that_does_not_sync(device: scenes.Scene) -> None:
    action = next(action for action in scenes.ACTIONS if action.name == "commit")
    row = store_power.power_row(device, action, random_images=0, record=Forgetful)
    assert row.held < row.points and row.note


@pytest.mark.skipif(not tracer.CAN_FAIL_CALLS, reason="failing system calls needs x86-64")
@each_action
def test_system_calls_fail(device: scenes.Scene, action: scenes.Action) -> None:
    require_held(store_errno.change_row(device, action, stride=37))
    require_held(store_errno.look_row(device, action, stride=43))


@pytest.mark.integration
def test_a_small_file_system_fills_up() -> None:
    row = store_errno.full_row(quick=True)
    if not row.points:
        pytest.skip(row.note)
    require_held(row)


def test_changed_bytes_and_things_damaged_together(device: scenes.Scene) -> None:
    require_held(store_damage.bytes_row(device, "1.3.0", "trial", "1.2.0", stride=151))
    require_held(store_damage.together_row(device, stride=61))


@pytest.mark.parametrize("picture", ["trial", "settled"])
def test_a_model_that_crashes_the_process(device: scenes.Scene, picture: str) -> None:
    require_held(store_crashes.crash_row(device, picture))


def test_what_is_no_crash_costs_no_model(device: scenes.Scene) -> None:
    require_held(store_crashes.spared_row(device))


@pytest.mark.parametrize("apart", [False, True])
def test_crashes_count_whatever_the_wall_clock_says(device: scenes.Scene, apart: bool) -> None:
    require_held(store_crashes.clock_row(device, 12, apart))
