"""A small fleet repository with a rotated root and two releases, its older self, and a device that is enrolled with it."""

from __future__ import annotations

import copy
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuf.api._payload import TargetFile

from edge_runtime.lifecycle.clock import Clock, Instant, SystemClock
from edge_runtime.lifecycle.files import DiskFiles
from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.transport import NotThere, Stream
from edge_runtime.lifecycle.trust.updater import Updater
from edge_runtime.workshop.repository import changes
from edge_runtime.workshop.repository.folder import RepositoryFolder
from edge_runtime.workshop.repository.keys import KeyFolders
from edge_runtime.workshop.repository.plan import FLEET

NAME = "shelf"


class UnsyncedFiles(DiskFiles):
    """The real disk, without waiting for it: for campaigns of thousands of devices none of which loses power."""

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        path.write_bytes(b"".join(pieces))

    def sync_folder(self, path: Path) -> None:
        return


class HeldRepository:
    """A repository's files in memory, as a transport. Assign to `files` to spoil them."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in (".json", ".zip")
        }

    @contextmanager
    def open(self, path: str, within_s: float, first_byte: int = 0) -> Iterator[Stream]:
        if path not in self.files:
            raise NotThere(f"no {path}")
        raw = self.files[path][first_byte:]
        yield Stream(first_byte, iter([raw]), len(raw))


@dataclass
class SetClock:
    """Says what it is told."""

    wall_s: float

    def now(self) -> Instant:
        return Instant("boot", 50.0, self.wall_s)


@dataclass(frozen=True)
class Scene:
    """`old`: the repository with release 1 under root 1; `new`: with release 2 under root 2."""

    root: bytes
    old: Path
    new: Path
    wall_s: float

    def device(
        self,
        state: Path,
        repository: HeldRepository | Path,
        clock: Clock | None = None,
        ceilings: Ceilings = CEILINGS,
    ) -> Updater:
        where = str(repository) if isinstance(repository, Path) else repository
        return Updater(state, where, self.root, clock or SetClock(self.wall_s), UnsyncedFiles(), ceilings)


def make_scene(folder: Path) -> Scene:
    """Build both repositories below a folder."""
    new, keys = folder / "new", KeyFolders([folder / "keys"])
    changes.init(new, FLEET, keys)
    _publish(new, "1.0.0", 1, b"first release " * 200, keys)
    old = folder / "old"
    _copy(new, old)
    changes.rotate(new, ["root", "models"], keys)
    _publish(new, "1.1.0", 2, b"second release " * 200, keys)
    return Scene((old / "metadata" / "1.root.json").read_bytes(), old, new, SystemClock().now().wall_s)


def memory_disk() -> Path | None:
    """A folder in memory, for campaigns that write thousands of files; None where there is none."""
    place = Path("/dev/shm")
    return place if os.access(place, os.W_OK) else None


def content(updater: Updater) -> tuple[bytes, ...]:
    """What a device makes of a repository: its releases and the bytes of each."""
    releases = updater.releases(NAME)
    return (repr(releases).encode(), *(updater.fetch(release).read_bytes() for release in releases))


def _publish(folder: Path, version: str, release: int, raw: bytes, keys: KeyFolders) -> None:
    """As `repo publish`, of bytes that are no bundle: campaigns on metadata need none."""
    repository = RepositoryFolder.opened(folder)
    path = f"models/{NAME}/{NAME}-{version}.zip"
    source = folder.parent / "source.bin"
    source.write_bytes(raw)
    custom = {"custom": {"name": NAME, "version": version, "release": release}}
    target = TargetFile.from_data(path, io.BytesIO(raw), ["sha256"])
    target.unrecognized_fields.update(copy.deepcopy(custom))
    role = repository.role_for(path)
    repository.mark(role)
    repository.listing(role).targets[path] = target
    repository.store_target(source, path, hashlib.sha256(raw).hexdigest())
    repository.publish(keys)


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)
