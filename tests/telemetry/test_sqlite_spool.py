"""What only a spool on a disk can suffer: damage, a full or read-only disk, a killed process."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.fallback_spool import RETRY_S, FallbackSpool
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.spool import Entry, Grade, Lane
from edge_runtime.telemetry.sqlite_spool import SqliteSpool


def event(key: str) -> Entry:
    return Entry(key, Grade.EVENT, "t/event", b"payload of " + key.encode())


def ids(entries: Iterable[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def closed_spool(path: Path, n: int = 200) -> None:
    spool = SqliteSpool(path)
    spool.add([event(f"e{i}") for i in range(n)])
    spool.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500])
def test_a_file_that_is_no_database_is_set_aside_or_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "spool.sqlite"
    path.write_bytes(content)
    spool = SqliteSpool(path)
    assert spool.add([event("a")]) == 1
    assert spool.counts().dropped == ({"quarantined_file": 1} if content else {})
    assert [p.read_bytes() for p in tmp_path.glob("*.corrupt-*")] == ([content] if content else [])


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_in_the_file_never_stops_the_spool(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "spool.sqlite"
    closed_spool(path)
    chance = random.Random(seed)
    raw = bytearray(path.read_bytes())
    for _ in range(40):
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    spool = SqliteSpool(path)
    spool.add([event("new")])
    seen: list[str] = []
    while batch := spool.begin(64):
        seen += ids(batch)
        spool.end(ids(batch))
    assert "new" in seen
    spool.close()


@pytest.mark.parametrize("keep", [1, 100, 4_096, 20_000])
def test_a_truncated_file_is_set_aside(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "spool.sqlite"
    closed_spool(path)
    os.truncate(path, keep)
    spool = SqliteSpool(path)
    spool.add([event("new")])
    assert "new" in ids(spool.begin(999))


def test_damage_under_a_running_spool_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = SqliteSpool(path)
    spool.add([event(f"e{i}") for i in range(500)])
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 200_000)
    for n in range(20):
        spool.add([event(f"later{n}")])
        spool.end(ids(spool.begin(50)))
    assert spool.counts().dropped["quarantined_file"] == 1


def test_damage_that_can_not_be_set_aside_at_once_is_told_and_mended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spool.sqlite"
    spool = SqliteSpool(path)
    spool.add([Entry(f"t{i}", Grade.TELEMETRY, "t", b"x" * 800) for i in range(5_000)])  # more than SQLite's cache
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (size - 4_096))

    def read_only(old: Path, new: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", read_only)
        for _ in range(3):
            with pytest.raises(TryAgain, match="Read-only"):
                spool.begin(5_000)
    assert spool.add([event("later")]) == 1
    assert ids(spool.begin(50)) == ["later"]
    assert spool.counts().dropped["quarantined_file"] == 1


def test_only_the_newest_quarantined_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    for n in range(12):
        path.write_bytes(b"bad file %d " % n * 100)
        SqliteSpool(path).close()
    assert [p.name for p in tmp_path.glob("*.corrupt-*")] == ["spool.sqlite.corrupt-12"]


def test_a_path_that_can_not_be_made_is_a_passing_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TryAgain, match="spool"):
        SqliteSpool(tmp_path / "file" / "spool.sqlite")


@pytest.mark.parametrize("tail", ["", "-wal", "-shm"])
def test_a_folder_in_the_place_of_a_file_is_set_aside_with_all_that_is_in_it(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "spool.sqlite"
    closed_spool(path, 3)
    place = path.with_name(path.name + tail)
    place.unlink(missing_ok=True)
    place.mkdir()
    (place / "of somebody").write_text("keep")
    spool = SqliteSpool(path)
    assert spool.add([event("new")]) == 1
    assert ids(spool.begin(9))[-1] == "new"
    assert spool.counts().dropped == {"quarantined_file": 1}
    assert [p.read_text() for p in tmp_path.rglob("of somebody")] == ["keep"]


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = SqliteSpool(path)
    spool.add([event("a")])
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(TryAgain, match="full"):
        spool.add([Entry(f"big{n}", Grade.EVENT, "t", b"x" * 50_000) for n in range(3)])
    assert spool.counts().events == 1
    assert ids(spool.begin(9)) == ["a"]
    spool.end(["a"])
    assert spool.counts().bytes == 0


KILLED = """
import sys
from pathlib import Path
from edge_runtime.telemetry.spool import Entry, Grade, Lane
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
spool = SqliteSpool(Path(sys.argv[1]))
n = int(sys.argv[2])
while True:
    spool.add([Entry(f"e{n}", Grade.EVENT, "t", b"x" * 300)])
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
    n += 1
"""


def test_events_that_were_added_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    chance = random.Random(5)
    added: list[int] = []
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(len(added) + 1_000 * len(added))],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        added.append(int(process.stdout.readline()))
        time.sleep(chance.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        added += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
    kept = {int(entry.id[1:]) for entry in SqliteSpool(path).begin(100_000)}
    assert set(added) <= kept
    assert len(kept - set(added)) <= 4, "at most one event in flight for each kill"


SYNCED = """
import sys
from pathlib import Path
from edge_runtime.telemetry.spool import Entry, Grade, Lane
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
spool = SqliteSpool(Path(sys.argv[1]))
for n in range(10):
    spool.add([Entry(f"{n}", Grade[sys.argv[2]], "t", b"x")])
"""


@pytest.mark.integration
def test_every_event_is_synced_to_the_disk_and_figures_are_not(
    tmp_path: Path, program: Callable[[str, str], str]
) -> None:
    strace = program("strace", "strace")
    syncs = {}
    for grade in Grade:
        log = tmp_path / f"{grade.label}.strace"
        traced = [strace, "-f", "-e", "trace=fsync,fdatasync", "-o", log]
        path = tmp_path / f"{grade.label}.sqlite"
        subprocess.run([*traced, sys.executable, "-c", SYNCED, path, grade.name], check=True)
        syncs[grade] = log.read_text().count("sync(")
    assert syncs[Grade.EVENT] - syncs[Grade.TELEMETRY] >= 10


class FlakyDisk(MemorySpool):
    """A disk whose state tests change by plain assignment."""

    broken = False

    def _check(self) -> None:
        if self.broken:
            raise TryAgain("the spool can not be used: disk I/O error")

    def add(self, entries: Iterable[Entry]) -> int:
        self._check()
        return super().add(entries)

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        self._check()
        return super().begin(limit, grade, lane, without)

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        self._check()
        super().end(accepted, rejected, kept, why)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def flaky() -> tuple[FlakyDisk, FallbackSpool, Clock]:
    clock = Clock()
    disk = FlakyDisk(clock=clock, degraded="")
    return disk, FallbackSpool(lambda: disk, clock=clock), clock


def test_a_disk_that_fails_is_replaced_by_memory_and_used_again_when_it_is_well() -> None:
    disk, spool, clock = flaky()
    spool.add([event("a")])
    disk.broken = True
    assert spool.add([event("b")]) == 1
    assert "I/O error" in spool.counts().degraded
    assert ids(spool.begin(9)) == ["b"]
    spool.end(["b"])
    disk.broken = False
    clock.now_s += RETRY_S + 1
    spool.add([event("c")])
    assert spool.counts().degraded == ""
    assert ids(spool.begin(9)) == ["a", "c"]
    spool.end(["a", "c"])
    assert spool.counts().accepted == 3


def test_what_waits_in_memory_is_sent_after_the_disk_is_empty() -> None:
    disk, spool, clock = flaky()
    disk.broken = True
    spool.add([event("m")])
    disk.broken = False
    clock.now_s += RETRY_S + 1
    assert ids(spool.begin(9)) == ["m"]
    spool.end(["m"])
    assert spool.begin(9) == ()


def test_a_disk_that_fails_to_forget_is_told_again_and_nothing_comes_twice() -> None:
    disk, spool, clock = flaky()
    spool.add([event("a"), event("b")])
    assert ids(spool.begin(1)) == ["a"]
    disk.broken = True
    spool.end(["a"])
    assert spool.begin(9) == ()
    spool.end([])
    disk.broken = False
    clock.now_s += RETRY_S + 1
    assert ids(spool.begin(9)) == ["b"]


def test_a_read_only_folder_ends_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = FallbackSpool(lambda: SqliteSpool(tmp_path / "file" / "spool.sqlite"))
    assert spool.add([event("a")]) == 1
    assert ids(spool.begin(9)) == ["a"]
    assert spool.counts().degraded


def test_payloads_come_back_as_they_went(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path / "s.sqlite")
    payload = json.dumps({"text": "Ω\u0000"}).encode() + bytes(range(256))
    spool.add([Entry("ü", Grade.TELEMETRY, "t/ö", payload)])
    assert spool.begin(1) == (Entry("ü", Grade.TELEMETRY, "t/ö", payload),)
