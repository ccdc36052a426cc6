"""What a disk may hold after a power cut: `Files` that writes down its steps, and the images that they may leave.

The model is a disk that promises only what fsync promises: bytes of a file that was not synced may be there, missing,
zeroed or cut; names in a folder that was not synced may be there or not, each for itself (no journal orders them); a
rename is one step that happened or did not. A disk that acknowledges an fsync and forgets it is outside the model.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_runtime.lifecycle.files import DiskFiles

Fate = Literal["none", "all", "zeros", "names", "random"]
FATES: tuple[Fate, ...] = ("none", "all", "zeros", "names")
"""What survives of the unsynced: nothing; everything; all names over zeroed bytes; all names over empty files."""


@dataclass(slots=True)
class _File:
    synced: bytes = b""
    now: bytes = b""


@dataclass(slots=True)
class _Folder:
    synced: dict[str, int] = field(default_factory=dict)
    """Name -> file number, as a power cut can not change it."""
    pending: list[dict[str, int | None]] = field(default_factory=list)
    """Steps since, each to be taken as a whole or not at all: name -> file number, None takes the name away."""

    def names(self) -> dict[str, int]:
        return _apply(self.synced, self.pending)


@dataclass(slots=True)
class Disk:
    """Files by number, folders by path from the root; what is durable and what only seems so."""

    files: list[_File] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)

    def image(self, root: Path, fate: Fate, draw: random.Random) -> None:
        """Write one of the contents that the disk may have after a power cut now."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for path, folder in sorted(self.folders.items()):
            if not _folder_survives(self, path):
                continue
            (root / path).mkdir(parents=True, exist_ok=True)
            kept = [step for step in folder.pending if _survives(fate, draw)]
            for name, number in _apply(folder.synced, kept).items():
                (root / path / name).write_bytes(_bytes_left(self.files[number], fate, draw))


class RecordingFiles(DiskFiles):
    """The real disk, and a picture of what of it is durable after every step, also those within a write."""

    def __init__(self, root: Path) -> None:
        """All that is in `root` now is durable."""
        self._root = root
        self._disk = Disk()
        for path in [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]:
            self._disk.folders[self._key(path)] = folder = _Folder()
            for file in sorted(path.iterdir()):
                if file.is_file():
                    raw = file.read_bytes()
                    self._disk.files.append(_File(raw, raw))
                    folder.synced[file.name] = len(self._disk.files) - 1
        self.moments: list[Disk] = [deepcopy(self._disk)]

    def make_folder(self, path: Path) -> None:
        if not path.is_dir():
            self._disk.folders.setdefault(self._key(path), _Folder())
        super().make_folder(path)
        self._tick()

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        number = self._emptied(path)
        kept = []
        for piece in pieces:
            kept.append(piece)
            self._disk.files[number].now += piece
            self._tick()
        super().write(path, kept)
        self._disk.files[number].synced = self._disk.files[number].now
        self._tick()

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        number = self._folder(old).names()[old.name]
        self._folder(old).pending.append({old.name: None, new.name: number})
        self._tick()

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        folder = self._disk.folders[self._key(path)]
        folder.synced, folder.pending = folder.names(), []
        self._tick()

    def remove(self, path: Path) -> None:
        super().remove(path)
        if path.name in self._folder(path).names():
            self._folder(path).pending.append({path.name: None})
        self._tick()

    @contextmanager
    def lock(self, path: Path, wait_s: float) -> Iterator[None]:
        with super().lock(path, wait_s):
            if path.name not in self._folder(path).names():
                self._emptied(path)
            yield

    def _emptied(self, path: Path) -> int:
        """A file of that name without bytes: what an open for writing leaves."""
        names = self._folder(path).names()
        if path.name in names:
            self._disk.files[names[path.name]].now = b""
            number = names[path.name]
        else:
            self._disk.files.append(_File())
            number = len(self._disk.files) - 1
            self._folder(path).pending.append({path.name: number})
        self._tick()
        return number

    def _file(self, path: Path) -> _File:
        return self._disk.files[self._folder(path).names()[path.name]]

    def _folder(self, path: Path) -> _Folder:
        return self._disk.folders[self._key(path.parent)]

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self._root))

    def _tick(self) -> None:
        self.moments.append(deepcopy(self._disk))


def _apply(names: dict[str, int], steps: Iterable[dict[str, int | None]]) -> dict[str, int]:
    after = dict(names)
    for step in steps:
        for name, number in step.items():
            if number is None:
                after.pop(name, None)
            else:
                after[name] = number
    return after


def _folder_survives(disk: Disk, path: str) -> bool:
    """Folders are made and synced in one step of `Files`; between the two there is nothing in them."""
    folder = disk.folders[path]
    return bool(folder.synced or folder.pending) or path == "."


def _survives(fate: Fate, draw: random.Random) -> bool:
    return fate != "none" and (fate != "random" or draw.random() < 0.5)


def _bytes_left(file: _File, fate: Fate, draw: random.Random) -> bytes:
    if file.now == file.synced or fate == "all":
        return file.now
    if fate == "none":
        return file.synced
    if fate == "zeros":
        return bytes(len(file.now))
    if fate == "names":
        return b""
    cut = draw.randint(0, len(file.now))
    return draw.choice(
        (file.synced, file.now, b"", bytes(len(file.now)), file.now[:cut], file.now[:cut] + bytes(len(file.now) - cut))
    )
