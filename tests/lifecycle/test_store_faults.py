"""Whatever step a change of model ends or fails at: a whole model runs at the next start, old or new, and nobody is needed."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.records import ModelId

from .bundles import make_bundle
from .disks import FaultyFiles, HandClock, Killed

MAX_STEPS = 60
STRIDE = 12
"""Of the real system calls; 1 tries all of them and takes two minutes."""
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
        return ModelStore(self.root / "state", self.factory, self.clock, files)

    def restore(self) -> None:
        shutil.rmtree(self.root / "state")
        shutil.copytree(self.root / "picture", self.root / "state")

    def lose_unsynced(self) -> None:
        """A power cut after which the folder holds what it held at its last sync."""
        if (self.root / "durable").exists():
            shutil.rmtree(self.root / "state" / "models")
            shutil.copytree(self.root / "durable", self.root / "state" / "models")

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


def crash_fallback(scene: Scene, store: ModelStore) -> object:
    return [store.note_start() for _ in range(4)]


ACTIONS: dict[Callable[[Scene, ModelStore], object], set[str]] = {
    install: {"1.1.0"},
    activate: {"1.1.0", "1.1.5"},
    rollback: {"1.1.0", "1.0.0"},
    crash_fallback: {"1.1.0", "1.0.0"},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("fault", ["kill", "kill_half", "kill_after", "power"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_killed_at_every_step(scene: Scene, action: Callable[[Scene, ModelStore], object], fault: str) -> None:
    for nth in range(1, MAX_STEPS):
        scene.restore()
        shutil.rmtree(scene.root / "durable", ignore_errors=True)
        if fault == "power":
            shutil.copytree(scene.root / "state" / "models", scene.root / "durable")
        files = FaultyFiles(nth, fault, snapshot=scene.root / "durable" if fault == "power" else None)
        try:
            action(scene, scene.store(files))
            assert nth > 3, "the action has steps that can be ended"
            break
        except Killed:
            if fault == "power":
                scene.lose_unsynced()
            assert scene.version() in ACTIONS[action], nth
            assert not scene.store().problems
            scene.require_usable()
    else:
        pytest.fail("the action never ended by itself")


@pytest.mark.parametrize(("code", "fault"), [(5, "errno"), (28, "errno_for_good"), (30, "errno_for_good")])
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
            if action in (rollback, crash_fallback):
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
store = ModelStore(root / "state", [root / "factory-1.0.0.zip"])
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


def test_started_and_killed_again_and_again(scene: Scene) -> None:
    """A hundred changes, each ended at some step: it starts each time, and no files pile up."""
    scene.restore()
    store = scene.store()
    models: list[ModelId] = [scene.running, scene.staged, store.install(scene.new)]
    for turn in range(104):
        files = FaultyFiles(turn % 13 + 1, ("kill", "kill_half", "kill_after")[turn % 3])
        store = scene.store(files)
        try:
            if turn % 4 == 0:
                store.install(scene.new)
            store.activate(models[turn % 3])
            store.note_start()
            store.note_healthy()
        except Killed:
            pass
        assert scene.version() in ("1.1.0", "1.1.5", "1.2.0")
    assert len(list((scene.root / "state" / "models").iterdir())) <= 8
