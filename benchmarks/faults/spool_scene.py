"""A small spool with a history, restored for every trial of a fault, and what must hold at its next start.

What the spool has promised is in a ledger: `+id` an event that `add` has taken, `-id` an entry that `end` was asked to
forget, `=id` one that it has forgotten.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.block_disk import LEDGER
from edge_runtime.errors import EdgeError
from edge_runtime.telemetry import spool_file
from edge_runtime.telemetry.spool import QUARANTINED_FILE, Entry, Grade, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool

NAME = "spool.db"
EVENTS, FIGURES = 12, 6
TIGHT = SpoolLimits(max_bytes=9_000)
ROOMY = SpoolLimits()


def event(n: int) -> Entry:
    return Entry(f"e{n}", Grade.EVENT, "edge/v1/s/d/event/slot", f"payload of e{n} ".encode() * 12)


def figure(n: int) -> Entry:
    return Entry(f"f{n}", Grade.TELEMETRY, "edge/v1/s/d/telemetry", f"payload of f{n} ".encode() * 40)


def whole(entry: Entry) -> bool:
    """Whether it is as it was given."""
    made = (event if entry.grade is Grade.EVENT else figure)(int(entry.id[1:]))
    return entry == made


class Ledger:
    """Written by the process that is killed; of a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, sign: str, *ids: str) -> None:
        os.write(self._file, "".join(f"{sign}{key}\n" for key in ids).encode())


@dataclass(frozen=True, slots=True)
class Story:
    """What a process does with its spool."""

    name: str
    picture: str
    do: Callable[[SqliteSpool, Ledger], None]
    limits: SpoolLimits = ROOMY


def _add(spool: SqliteSpool, ledger: Ledger, *entries: Entry) -> None:
    spool.add(entries)
    ledger.write("+", *(entry.id for entry in entries if entry.grade is Grade.EVENT))


def _adds(spool: SqliteSpool, ledger: Ledger) -> None:
    _add(spool, ledger, event(100))
    _add(spool, ledger, figure(100), figure(101))
    _add(spool, ledger, event(101), figure(102), event(102))


def _ends(spool: SqliteSpool, ledger: Ledger) -> None:
    batch = [entry.id for entry in spool.begin(6)]
    ledger.write("-", *batch[:4])
    spool.end(batch[:3], batch[3:4], batch[4:], "bad")
    ledger.write("=", *batch[:4])
    _add(spool, ledger, event(100))


def _crowds(spool: SqliteSpool, ledger: Ledger) -> None:
    for n in range(100, 106):
        _add(spool, ledger, event(n))


def _lives(spool: SqliteSpool, ledger: Ledger) -> None:
    _adds(spool, ledger)
    _ends(spool, ledger)
    spool.note({"inbox_full": 2})
    spool.close()


STORIES = (
    Story("a first start, and an event", "nothing", _adds),
    Story("adding events and figures", "closed", _adds),
    Story("accept, reject, keep", "closed", _ends),
    Story("figures that make room for events", "closed", _crowds, TIGHT),
    Story("a start after a crash", "crashed", _adds),
    Story("a start, a day and an orderly stop", "closed", _lives),
    Story("a start over a damaged file", "damaged", _adds),
)


class SpoolScene:
    """Twelve events and six figures wait: in a closed spool, in one that was killed, in one that is damaged."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "state"
        self._pictures = root / "pictures"
        (self._pictures / "nothing").mkdir(parents=True)
        for name in ("closed", "crashed", "damaged"):
            self.folder.mkdir()
            spool = SqliteSpool(self.folder / NAME)
            spool.add([event(n) for n in range(EVENTS // 2)])
            spool.add([figure(n) for n in range(FIGURES)])
            for n in range(EVENTS // 2, EVENTS):
                spool.add([event(n)])
            if name != "crashed":
                spool.close()
            shutil.copytree(self.folder, self._pictures / name, ignore=shutil.ignore_patterns("*-shm"))
            spool.close()
            shutil.rmtree(self.folder)
        self._damage()

    def _damage(self) -> None:
        """The head of the file: SQLite does not open it, and all its rows are whole."""
        path = self._pictures / "damaged" / NAME
        raw = path.read_bytes()
        path.write_bytes(bytes(200) + raw[200:])

    def restore(self, picture: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.fill(picture)

    def fill(self, picture: str) -> None:
        """The same into a folder that is there: a mount."""
        shutil.copytree(self._pictures / picture, self.folder, dirs_exist_ok=True)

    def child(self, story: Story) -> Callable[[], int]:
        def act() -> int:
            ledger = Ledger(self.folder)
            story.do(SqliteSpool(self.folder / NAME, story.limits), ledger)
            return 0

        return act

    def verdict(self, story: Story, ledger: bytes, power_cut: bool = False) -> str:
        """Start again and empty the spool. What does not hold; empty if all does."""
        (self.folder / LEDGER).unlink(missing_ok=True)
        promised = ledger.decode().split("\n")[:-1]
        try:
            spool = SqliteSpool(self.folder / NAME, story.limits)
            damaged = spool.counts().dropped.get(QUARANTINED_FILE, 0)
            if damaged and story.picture != "damaged":
                return "the file counts as damaged"
            seen = [entry for entry in iter(lambda: _next(spool), None) if entry is not None]
            spool.add([event(900)])
            last = spool.begin(9)
            spool.close()
        except (EdgeError, OSError) as fault:
            return f"{type(fault).__name__}: {fault}"
        return _fault_of(story, seen, promised, power_cut) or self._left(last, story.picture == "damaged")

    def _left(self, last: tuple[Entry, ...], damaged: bool) -> str:
        if [entry.id for entry in last] != ["e900"]:
            return f"the next event is not taken: {last}"
        names = sorted(path.name for path in self.folder.iterdir())
        most = [NAME, f"{NAME}.corrupt-1", f"{NAME}.corrupt-1-wal"] if damaged else [NAME]
        return "" if set(names) <= set(most) else f"left behind: {names}"


def _next(spool: SqliteSpool) -> Entry | None:
    batch = spool.begin(1)
    spool.end([entry.id for entry in batch])
    return batch[0] if batch else None


def _fault_of(story: Story, seen: list[Entry], promised: list[str], power_cut: bool) -> str:
    ids = [entry.id for entry in seen]
    known = {f"e{n}" for n in range(EVENTS)} if story.picture != "nothing" else set()
    added = {line[1:] for line in promised if line[0] == "+"}
    asked = {line[1:] for line in promised if line[0] == "-"}
    forgotten = {line[1:] for line in promised if line[0] == "="}
    if len(set(ids)) < len(ids):
        return "an entry comes twice"
    if lost := (known | added) - asked - set(ids):
        return f"lost: {sorted(lost)}"
    if (back := forgotten & set(ids)) and not power_cut:
        return f"comes again though it was forgotten: {sorted(back)}"
    changed = [entry.id for entry in seen if not whole(entry)]
    return f"not as it was given: {changed}" if changed else ""


@contextmanager
def new_spool_scene() -> Iterator[SpoolScene]:
    """In memory where there is a file system for that: the campaign is about order, not about speed of a disk."""
    memory = Path("/dev/shm")
    busy_s, spool_file.BUSY_S = spool_file.BUSY_S, 0.01  # a lock that fails is asked for again for so long
    log = logging.getLogger("edge_runtime.telemetry")
    level = log.level
    log.setLevel(logging.CRITICAL)  # a spool tells of every damage, and here are thousands
    try:
        with TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="faults-") as folder:
            yield SpoolScene(Path(folder))
    finally:
        log.setLevel(level)
        spool_file.BUSY_S = busy_s
