"""Fault 5: a read-only disk. The spool goes on in memory, says so, and goes back to the disk when that is well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from fleet.memory_broker import MemoryBroker, MemoryLink

from benchmarks.faults import spool_errno
from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.fallback_spool import RETRY_S, FallbackSpool
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.uplink import Uplink


@pytest.mark.integration
def test_a_state_folder_that_is_read_only_for_a_while() -> None:
    (row,) = (row for row in spool_errno.mount_rows(quick=True) if row.fault == 5)
    if not row.points:
        pytest.skip(row.note)
    assert row.held == row.points, row.note


def test_messages_go_up_all_the_same_and_the_trouble_is_told(tmp_path: Path) -> None:
    """A file in the place of the folder: as little can be written there, whoever runs the tests."""
    clock = spool_errno.Clock()
    (tmp_path / "state").write_text("in the way")
    path = tmp_path / "state" / "spool.db"
    broker = MemoryBroker()
    link = MemoryLink(broker)
    uplink = Uplink(link, FallbackSpool(lambda: SqliteSpool(path, clock=clock), clock=clock), clock=clock)
    link.connect()
    uplink.offer(Entry("a", Grade.EVENT, "t/event", b"a"))
    _run(uplink, clock)
    assert "can not be made" in uplink.counts().spool.degraded
    assert [message.payload for message in broker.published] == [b"a"]
    link.lose()
    uplink.offer(Entry("b", Grade.EVENT, "t/event", b"b"))
    _run(uplink, clock)
    (tmp_path / "state").unlink()
    clock.now_s += RETRY_S
    _run(uplink, clock)
    assert uplink.counts().spool.degraded == ""
    assert path.is_file()
    uplink.stop(0.0)
    assert [entry.id for entry in SqliteSpool(path).begin(9)] == ["b"], "what waited in memory is on the disk"


def test_a_stop_does_not_wait_for_the_next_look_at_the_disk(tmp_path: Path) -> None:
    """A disk that is back, and was not looked at since: what is in memory must not end with the process."""
    clock = spool_errno.Clock()
    path = tmp_path / "state" / "spool.db"
    (tmp_path / "state").write_text("in the way")
    spool = FallbackSpool(lambda: SqliteSpool(path, clock=clock), clock=clock)
    spool.add([Entry(key, Grade.EVENT, "t", b"") for key in "ab"])
    assert [entry.id for entry in spool.begin(1)] == ["a"]
    (tmp_path / "state").unlink()
    spool.close()
    spool.close()
    assert [entry.id for entry in SqliteSpool(path).begin(9)] == ["a", "b"]


def test_what_is_lost_with_the_process_is_said(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    spool = FallbackSpool(lambda: SqliteSpool(tmp_path / "state" / "spool.db"))
    spool.add([Entry("a", Grade.EVENT, "t", b"")])
    spool.close()
    assert "1 event(s) and 0 figure(s) are lost" in caplog.text


def test_a_disk_that_still_takes_nothing_is_not_said_to_be_back(tmp_path: Path) -> None:
    class Full(MemorySpool):
        """It can be asked, and takes nothing."""

        def note(self, dropped: Mapping[str, int]) -> None:
            raise TryAgain("no space left on device")

        def add(self, entries: Iterable[Entry]) -> int:
            raise TryAgain("no space left on device")

    clock = spool_errno.Clock()
    disk = Full(clock=clock, degraded="")
    spool = FallbackSpool(lambda: disk, clock=clock)
    spool.add([Entry("a", Grade.EVENT, "t", b"")])
    spool.begin(1)
    spool.end(["a"])
    for _ in range(5):
        clock.now_s += RETRY_S + 1.0
        assert spool.counts().degraded == "no space left on device"


def _run(uplink: Uplink, clock: spool_errno.Clock) -> None:
    for _ in range(30):
        uplink.step()
        clock.now_s += 0.1
