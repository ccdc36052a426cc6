"""Fault 4: the disk fills up while messages are spooled. Nothing is lost or comes twice between it and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import spool_errno
from edge_runtime.telemetry.fallback_spool import RETRY_S, FallbackSpool
from edge_runtime.telemetry.spool import Entry, Grade, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool


@pytest.mark.integration
def test_a_small_file_system_that_fills_up() -> None:
    (row,) = (row for row in spool_errno.mount_rows(quick=True) if row.fault == 4)
    if not row.points:
        pytest.skip(row.note)
    assert row.held == row.points, row.note


@pytest.mark.skipif(not spool_errno.CAN_FAIL_CALLS, reason="failing system calls needs x86-64")
@pytest.mark.parametrize("picture", ["closed", "damaged"])
def test_any_call_that_writes_fails_once_or_for_good(picture: str) -> None:
    with spool_errno.new_spool_scene() as scene:
        row = spool_errno.change_row(scene, picture, stride=29)
    assert row.points > 5
    assert row.held == row.points, row.note


def test_what_memory_drops_meanwhile_is_counted_on_the_disk_when_that_is_back(tmp_path: Path) -> None:
    clock = spool_errno.Clock()
    path = tmp_path / "state" / "spool.db"
    (tmp_path / "state").write_text("in the way")
    limits = SpoolLimits(max_bytes=2_000)
    spool = FallbackSpool(lambda: SqliteSpool(path, clock=clock), limits, clock)
    spool.add([Entry(f"e{n}", Grade.EVENT, "t", b"x" * 100) for n in range(20)])
    dropped = spool.counts().dropped["event_full"]
    assert spool.counts().degraded
    (tmp_path / "state").unlink()
    clock.now_s += RETRY_S + 1.0
    counts = spool.counts()
    assert (counts.degraded, counts.events, counts.dropped) == ("", 20 - dropped, {"event_full": dropped})
    spool.close()
    again = SqliteSpool(path).counts()
    assert (again.events, again.dropped) == (20 - dropped, {"event_full": dropped})
