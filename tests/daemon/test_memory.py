"""What a restart remembers, and what a damaged file does to it: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.daemon.memory import restore_drift, save_drift
from edge_runtime.daemon.status_file import STATUS_FILE, read_status, remembered_slots
from edge_runtime.drift.monitor import DriftMonitor
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.records import State
from tests.daemon.rig import Rig, shelf_picture


def test_the_next_run_knows_the_slots_of_the_last(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 4, shelf_picture())
    daemon.close()
    slots = remembered_slots(rig.config.storage.state_dir, "a")
    assert [(slot.slot, slot.state) for slot in slots] == [(f"s{n}", State.STOCKED) for n in range(4)]
    assert remembered_slots(rig.config.storage.state_dir, "another") == ()


@pytest.mark.parametrize("raw", [b"", b"{}", b"\x00" * 100, b'{"format":"edge-status/2"}', b"[" * 100_000])
def test_a_damaged_status_file_is_refused_and_remembers_nothing(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / STATUS_FILE).write_bytes(raw)
    with pytest.raises(Refused):
        read_status(tmp_path)
    assert remembered_slots(tmp_path, "a") == ()


def test_no_status_file_says_that_no_daemon_wrote_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no status"):
        read_status(tmp_path)


def test_drift_goes_on_where_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 8, shelf_picture(), step_s=61.0)
    learned = rig.roster.stations["a"].parts.drift
    save_drift(tmp_path, "a", learned, "model")
    again = DriftMonitor("a")
    assert restore_drift(tmp_path, "a", again, "model")
    assert again.to_dict() == learned.to_dict()
    other = DriftMonitor("a")
    assert restore_drift(tmp_path, "a", other, "another model"), "what the rail says stays"
    kept, known = other.to_dict()["signals"], learned.to_dict()["signals"]
    assert isinstance(kept, dict) and isinstance(known, dict)
    assert kept["gain"] == known["gain"] and kept["confidence"] == DriftMonitor("a").to_dict()["signals"]["confidence"]  # type: ignore[index]


@pytest.mark.parametrize(
    "raw", [None, b"", b"[]", b"{}", b'{"model":"","learned":{"format":"edge-drift/1","camera":"b"}}', b"\xff"]
)
def test_a_drift_file_that_is_missing_or_damaged_begins_anew(tmp_path: Path, raw: bytes | None) -> None:
    if raw is not None:
        (tmp_path / "drift").mkdir()
        (tmp_path / "drift" / "a.json").write_bytes(raw)
    fresh = DriftMonitor("a")
    assert not restore_drift(tmp_path, "a", fresh, "")
    assert fresh.to_dict() == DriftMonitor("a").to_dict()
