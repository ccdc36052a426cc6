"""What happens to the spool is told once, as an event."""

from __future__ import annotations

from edge_runtime.daemon.spool_notices import SpoolNotices
from edge_runtime.telemetry.spool import SpoolCounts

Told = list[tuple[str, str, str, dict[str, str | float]]]


def test_a_disk_that_goes_and_comes_back_is_told_each_time() -> None:
    told: Told = []
    notices = SpoolNotices()
    for degraded in ("", "read-only", "read-only", "", ""):
        notices.attend(SpoolCounts(degraded=degraded), lambda *event: told.append(event))
    assert [event[:3] for event in told] == [("spool", "disk", "memory"), ("spool", "memory", "disk")]
    assert told[0][3] == {"reason": "read-only"}


def test_a_damaged_file_is_told_once_with_what_was_saved() -> None:
    told: Told = []
    notices = SpoolNotices()
    damaged = SpoolCounts(damage="file is not a database", salvaged=12, dropped={"quarantined_file": 1})
    for counts in (SpoolCounts(dropped={"quarantined_file": 1}), damaged, damaged):
        notices.attend(counts, lambda *event: told.append(event))
    assert told == [
        ("spool", "damaged", "afresh", {"reason": "file is not a database", "salvaged": 12.0, "files": 1.0})
    ]
