"""A small device with a history, restored for every trial of a fault, and what must hold at its next start."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.bundle import sha256_of_file
from edge_runtime.lifecycle.clock import Clock
from edge_runtime.lifecycle.files import Files
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.store import MAX_STAGED, ModelStore
from edge_runtime.manifest import (
    Confidence,
    FileDigest,
    InputSpec,
    Manifest,
    OutputSpec,
    Thresholds,
    encode_manifest,
)
from edge_runtime.records import ModelId

NAME = "shelf-fault"
VERSIONS = ("1.0.0", "1.1.0", "1.2.5", "1.2.0", "1.3.0", "1.4.0", "1.9.0")
LATER = 9
MAX_FILES = 2 + MAX_STAGED + 1 + 10
"""In the store's two folders together: bundles, state, floors and locks."""


def write_bundle(path: Path, version: str) -> Path:
    """A whole bundle whose graph no one runs."""
    arrays = io.BytesIO()
    np.savez(arrays, nothing=np.zeros(4, np.float32))
    parts = {"model.onnx": version.encode() * 400, "golden.npz": arrays.getvalue(), "reference.npz": arrays.getvalue()}
    parts["LICENSE"] = b"Apache-2.0\n"
    manifest = Manifest(
        format="edge-bundle/1",
        name=NAME,
        version=version,
        task="classify-slots",
        created="2026-01-01T00:00:00Z",
        description="for fault campaigns",
        licence="Apache-2.0",
        input=InputSpec("NHWC", (64, 64), "BGR", "uint8", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.1, "current"),
        output=OutputSpec("logits", "logits", ("stocked", "low", "empty", "blocked")),
        confidence=Confidence(),
        thresholds=Thresholds(0.6, 0.5),
        runtime=("0.1.0", "9.0.0"),
        provenance={},
        receipt={},
        files={name: FileDigest(hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in parts.items()},
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in {"manifest.json": encode_manifest(manifest), **parts}.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, raw)
    return path


@dataclass(frozen=True, slots=True)
class Action:
    """One change of the store: the picture of a device that it begins with, and what may run after it, however it ends."""

    name: str
    picture: str
    do: Callable[[Scene, ModelStore], object]
    after: frozenset[str]
    done: str
    """What runs once it went through."""
    safety: bool = False
    """Whether it may not fail for want of a disk."""


class Scene:
    """Factory 1.0.0, previous 1.1.0, current 1.2.0, staged 1.3.0, quarantined 1.2.5; version 1.n.x is release n."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.paths = {version: write_bundle(root / f"{version}.zip", version) for version in VERSIONS}
        self.models = {version: ModelId(NAME, version, sha256_of_file(path)) for version, path in self.paths.items()}
        self._picture("fresh")
        for version in ("1.1.0", "1.2.0"):
            self.deploy(self.store(), version)
        self.install(self.store(), "1.2.5")
        self.store().quarantine(self.models["1.2.5"].sha256, "bad")
        self.install(self.store(), "1.3.0")
        self._picture("settled")
        self._draw("damaged", lambda store: (self.state / "models" / "state.json").write_bytes(b"\0" * 900))
        self._draw("shadow", lambda store: store.shadow(self.models["1.3.0"]))
        self._draw("trial", lambda store: (store.try_out(self.models["1.3.0"]), store.note_start()))
        self._draw(
            "crashing", lambda store: [store.try_out(self.models["1.3.0"]), *(store.note_start() for _ in "123")]
        )
        self._draw("crowded", self._crowd)

    def store(self, files: Files | None = None, clock: Clock | None = None) -> ModelStore:
        return ModelStore(self.state, [self.paths["1.0.0"]], clock, files, allow_unsigned=False)

    def restore(self, picture: str) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.root / "pictures" / picture, self.state, dirs_exist_ok=True)

    def install(self, store: ModelStore, version: str) -> ModelId:
        return store.install(self.paths[version], Origin("repository", int(version.split(".")[1])))

    def deploy(self, store: ModelStore, version: str) -> ModelId:
        model = self.install(store, version)
        store.try_out(model)
        return store.commit(model.sha256)

    def after(self, action: Action, also: frozenset[str] = frozenset()) -> str:
        """Start the device and go on with it. Says what does not hold; empty if all does.

        `also`: versions that may run beside those that the action names.
        """
        try:
            return self._running(action, action.after | also) or self._next_change()
        except (EdgeError, OSError) as fault:
            return f"{type(fault).__name__}: {fault}"

    def _running(self, action: Action, expected: frozenset[str]) -> str:
        store = self.store()
        version = self.version(store)
        if version not in expected:
            return f"{version} runs"
        fresh = action.picture == "fresh"
        floor = Floors(self.state).release(NAME)
        if floor < (0 if fresh else 2) or floor > int(max(action.after).split(".")[1]):
            return f"the release floor is {floor}"
        barred = {entry.version for entry in store.list() if entry.status == "quarantined"}
        if not fresh and "1.2.5" not in barred:
            return "a quarantine is lost"
        if store.problems and action.picture != "damaged":
            return "; ".join(store.problems)
        store.note_start()
        return "" if self.version(store) in expected else f"{self.version(store)} runs after the start"

    def _next_change(self) -> str:
        store = self.store()
        if store.candidate is not None and store.candidate.phase == "trial":
            store.commit(store.candidate.sha256)
        self.deploy(store, "1.9.0")
        if store.degraded or self.version(self.store()) != "1.9.0" or Floors(self.state).release(NAME) != LATER:
            return f"the next change does not go through: {store.degraded}"
        names = [path.name for path in self.state.rglob("*") if path.is_file()]
        left = [name for name in names if name.endswith((".part", ".new"))]
        return f"left behind: {left or names}" if left or len(names) > MAX_FILES else ""

    @staticmethod
    def version(store: ModelStore) -> str:
        bundle = store.current()
        return bundle.manifest.version if bundle else "none"

    def _crowd(self, store: ModelStore) -> None:
        for number in range(MAX_STAGED):
            path = write_bundle(self.root / "spare.zip", f"1.3.{number + 1}")
            store.install(path, Origin("repository", 3))

    def _draw(self, name: str, change: Callable[[ModelStore], object]) -> None:
        self.restore("settled")
        change(self.store())
        self._picture(name)

    def _picture(self, name: str) -> None:
        self.state.mkdir(exist_ok=True)
        shutil.copytree(self.state, self.root / "pictures" / name)


def _action(
    name: str,
    picture: str,
    before: str,
    done: str,
    do: Callable[[Scene, ModelStore], object],
    safety: bool = False,
) -> Action:
    return Action(name, picture, do, frozenset((before, done)), done, safety)


def _give_up(version: str, bar: bool = True) -> Callable[[Scene, ModelStore], object]:
    return lambda scene, store: store.rollback("bad", quarantine=bar, running=scene.models[version].sha256)


def _live(scene: Scene, store: ModelStore) -> None:
    store.note_start()
    store.note_healthy()
    store.note_stopped()


ACTIONS = (
    _action("install", "settled", "1.2.0", "1.2.0", lambda scene, store: scene.install(store, "1.4.0")),
    _action("first install", "fresh", "1.0.0", "1.0.0", lambda scene, store: scene.install(store, "1.4.0")),
    _action("shadow", "settled", "1.2.0", "1.2.0", lambda scene, store: store.shadow(scene.models["1.3.0"])),
    _action("try out", "settled", "1.2.0", "1.3.0", lambda scene, store: store.try_out(scene.models["1.3.0"])),
    _action(
        "try out after shadow", "shadow", "1.2.0", "1.3.0", lambda scene, store: store.try_out(scene.models["1.3.0"])
    ),
    _action("commit", "trial", "1.3.0", "1.3.0", lambda scene, store: store.commit(scene.models["1.3.0"].sha256)),
    _action("rollback of a trial", "trial", "1.3.0", "1.2.0", _give_up("1.3.0"), safety=True),
    _action("withdrawal of a trial", "trial", "1.3.0", "1.2.0", _give_up("1.3.0", bar=False), safety=True),
    _action("rollback", "settled", "1.2.0", "1.1.0", _give_up("1.2.0"), safety=True),
    _action(
        "fall back after crashes", "crashing", "1.3.0", "1.2.0", lambda scene, store: store.note_start(), safety=True
    ),
    _action("clean-up", "crowded", "1.2.0", "1.2.0", lambda scene, store: scene.install(store, "1.4.0")),
    _action(
        "start with a damaged state", "damaged", "1.2.0", "1.2.0", lambda scene, store: store.note_start(), safety=True
    ),
    _action("start, healthy, stop", "trial", "1.3.0", "1.3.0", _live, safety=True),
    _action("install to commit", "settled", "1.2.0", "1.4.0", lambda scene, store: scene.deploy(store, "1.4.0")),
)


@contextmanager
def new_scene() -> Iterator[Scene]:
    """In memory where there is a file system for that: the campaign is about order, not about speed of a disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="faults-") as folder:
        yield Scene(Path(folder))
