"""What a disk may hold after a power cut of a program that writes pages: every unsynced write for itself.

The writes are those of a real process, seen by `tracer`: nothing of the program is replaced. The model is that of
`disk_model` (names wait for the sync of their folder, bytes for that of their file), but each write of a file that was
not synced may be there, missing, zeroed, or cut at a sector, whatever became of those before it. Linux on x86-64 only.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.disk_model import Fate
from benchmarks.faults.tracer import Ending, traced

SECTOR = 512
LEDGER = "ledger"
_TEXT_BYTES = 4_096


@dataclass(slots=True)
class Blocks:
    """A file: what is durable, and what was done since, as (offset, bytes) or (length, None) for a truncation."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        self.synced, self.pending = _with(self.synced, self.pending), []


@dataclass(slots=True)
class Moment:
    """A disk at one moment: files by number, the names that are durable, and the steps since. The ledger is no file of it."""

    files: list[Blocks] = field(default_factory=list)
    synced: dict[str, int] = field(default_factory=dict)
    pending: list[dict[str, int | None]] = field(default_factory=list)
    ledger: bytes = b""

    @property
    def names(self) -> dict[str, int]:
        return _renamed(self.synced, self.pending)

    def image(self, folder: Path, fate: Fate, draw: random.Random) -> None:
        """Write one of the contents that the disk may have after a power cut now."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept = [step for step in self.pending if fate != "none" and (fate != "random" or draw.random() < 0.5)]
        for name, number in _renamed(self.synced, kept).items():
            (folder / name).write_bytes(_left(self.files[number], fate, draw))


class DiskWatcher:
    """Runs a program over one flat folder and keeps a `Moment` after every call that changed it."""

    def __init__(self, folder: Path) -> None:
        """All that is in the folder now is durable."""
        self._folder = folder
        self._now = Moment()
        for file in sorted(folder.iterdir()):
            self._now.synced[file.name] = len(self._now.files)
            self._now.files.append(Blocks(file.read_bytes()))
        self._open: dict[int, int | None] = {}
        """Descriptor -> number of the file; None is the folder itself."""
        self._ledger: set[int] = set()
        self.moments = [deepcopy(self._now)]

    def run(self, action: Callable[[], int]) -> Ending:
        return traced(action, watch=self._saw)

    def _saw(self, child: int, name: str, arguments: tuple[int, ...], result: int) -> None:
        if result < 0:
            return
        act = {
            "open": self._opened, "open to write": self._opened, "close": self._closed, "pwrite64": self._written,
            "write": self._written, "fsync": self._synced, "fdatasync": self._synced, "ftruncate": self._cut,
            "rename": self._moved, "unlink": self._unlinked,
        }.get(name)  # fmt: skip
        if act is not None:
            act(child, arguments, result)

    def _opened(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        path = Path(f"/proc/{child}/fd/{result}").readlink()
        if path == self._folder:
            self._open[result] = None
        elif path.parent == self._folder and path.name == LEDGER:
            self._ledger.add(result)
        elif path.parent == self._folder:
            names = self._now.names
            if path.name not in names:
                self._now.files.append(Blocks())
                self._step({path.name: len(self._now.files) - 1})
            elif arguments[2] & os.O_TRUNC:
                self._now.files[names[path.name]].pending.append((0, None))
            self._open[result] = self._now.names[path.name]

    def _closed(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        self._open.pop(arguments[0], None)
        self._ledger.discard(arguments[0])

    def _written(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        descriptor, address = arguments[0], arguments[1]
        number = self._open.get(descriptor)
        if number is None and descriptor not in self._ledger:
            return
        data = _memory(child, address, result)
        if descriptor in self._ledger:
            self._now.ledger += data
        elif number is not None:
            self._now.files[number].pending.append((arguments[3], data))
        self._tick()

    def _synced(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        if arguments[0] not in self._open:
            return
        number = self._open[arguments[0]]
        if number is None:
            self._now.synced, self._now.pending = self._now.names, []
        else:
            self._now.files[number].sync()
        self._tick()

    def _cut(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        number = self._open.get(arguments[0])
        if number is not None:
            self._now.files[number].pending.append((arguments[1], None))
            self._tick()

    def _moved(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        old, new = (Path(_text(child, address)) for address in arguments[:2])
        if old.parent == self._folder:
            self._step({old.name: None, new.name: self._now.names[old.name]})

    def _unlinked(self, child: int, arguments: tuple[int, ...], result: int) -> None:
        path = Path(_text(child, arguments[0]))
        if path.parent == self._folder and path.name in self._now.names:
            self._step({path.name: None})

    def _step(self, step: dict[str, int | None]) -> None:
        self._now.pending.append(step)
        self._tick()

    def _tick(self) -> None:
        self.moments.append(deepcopy(self._now))


def _memory(child: int, address: int, size: int) -> bytes:
    with Path(f"/proc/{child}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


def _text(child: int, address: int) -> str:
    page = _TEXT_BYTES - address % _TEXT_BYTES
    raw = _memory(child, address, page)
    if b"\0" not in raw:
        raw += _memory(child, address + page, _TEXT_BYTES)
    return os.fsdecode(raw.split(b"\0")[0])


def _with(raw: bytes, steps: list[tuple[int, bytes | None]]) -> bytes:
    now = bytearray(raw)
    for at, data in steps:
        if data is None:
            now[at:] = b""
            now += bytes(at - len(now))
        else:
            now += bytes(max(0, at + len(data) - len(now)))
            now[at : at + len(data)] = data
    return bytes(now)


def _renamed(names: dict[str, int], steps: list[dict[str, int | None]]) -> dict[str, int]:
    after = dict(names)
    for step in steps:
        for name, number in step.items():
            if number is None:
                after.pop(name, None)
            else:
                after[name] = number
    return after


def _left(file: Blocks, fate: Fate, draw: random.Random) -> bytes:
    if fate == "all" or not file.pending:
        return _with(file.synced, file.pending)
    if fate == "none" or fate == "names":
        return file.synced
    if fate == "zeros":
        return _with(file.synced, [(at, None if data is None else bytes(len(data))) for at, data in file.pending])
    steps: list[tuple[int, bytes | None]] = []
    for at, data in file.pending:
        chance = draw.random()
        if chance < 0.4:
            steps.append((at, data))
        elif data is not None and chance < 0.55:
            steps.append((at, bytes(len(data))))
        elif data is not None and chance < 0.7:
            cut = draw.randrange(0, len(data) + 1, SECTOR)
            steps.append((at, data[:cut]))
    return _with(file.synced, steps)
