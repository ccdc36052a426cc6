"""What happens to the spool is told once, as an event."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from edge_runtime.config import MqttConfig
from edge_runtime.daemon.broker import build_broker_voice, build_line
from edge_runtime.daemon.spool_notices import SpoolNotices
from edge_runtime.telemetry.spool import SpoolCounts
from tests.daemon.rig import Rig

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


def test_the_same_damage_once_more_is_told_once_more() -> None:
    told: Told = []
    notices = SpoolNotices()
    for files in (1, 1, 2):
        damaged = SpoolCounts(damage="file is not a database", dropped={"quarantined_file": files})
        notices.attend(damaged, lambda *event: told.append(event))
    assert [event[3]["files"] for event in told] == [1.0, 2.0]


def test_a_reload_that_keeps_the_line_tells_nothing_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "spool.db").write_bytes(b"no database at all" * 400)
    mqtt = MqttConfig(("mqtt://127.0.0.1:9",))
    config = replace(rig.config, mqtt=mqtt)
    line = build_line(config, mqtt)
    line.uplink.step()
    told: Told = []
    daemon = SimpleNamespace(report=lambda *event: told.append(event))
    for _ in "12":
        build_broker_voice(config, mqtt, rig.roster, line).attend(daemon)  # type: ignore[arg-type]
    assert [event[:3] for event in told] == [("spool", "damaged", "afresh")]
    line.close()
