"""The session number never goes back: not by damage, not by a clock, not by a disk that comes and goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.telemetry.session import next_session

NOW = 1_790_000_000.0


def test_it_is_larger_at_every_start(tmp_path: Path) -> None:
    path = tmp_path / "state" / "session"
    numbers = [next_session(path, lambda: NOW) for _ in range(4)]
    assert numbers == [int(NOW) + n for n in range(4)]
    assert next_session(path, lambda: NOW + 60.0) == int(NOW) + 60


@pytest.mark.parametrize("clock", [0.0, NOW - 365 * 86_400.0])
def test_a_clock_that_was_set_back_does_not_take_it_back(tmp_path: Path, clock: float) -> None:
    path = tmp_path / "session"
    first = next_session(path, lambda: NOW)
    assert next_session(path, lambda: clock) == first + 1


def damages(raw: bytes) -> list[bytes]:
    flipped = [raw[:n] + bytes([raw[n] ^ (1 << bit)]) + raw[n + 1 :] for n in range(len(raw)) for bit in range(8)]
    return [*flipped, *(raw[:n] for n in range(len(raw))), bytes(len(raw)), raw + raw, b"\xff" * 10_000]


@pytest.mark.parametrize("which", ["session", "session.copy"])
def test_damage_of_one_file_takes_it_neither_back_nor_far_ahead(tmp_path: Path, which: str) -> None:
    path = tmp_path / "session"
    last = next_session(path, lambda: NOW)
    for damaged in damages((tmp_path / which).read_bytes()):
        (tmp_path / which).write_bytes(damaged)
        number = next_session(path, lambda: 0.0)
        assert number == last + 1
        last = number


def test_a_folder_in_the_place_of_a_file_goes_aside(tmp_path: Path) -> None:
    path = tmp_path / "session"
    first = next_session(path, lambda: NOW)
    path.unlink()
    path.mkdir()
    (path / "of somebody").write_text("keep")
    assert [next_session(path, lambda: 0.0) for _ in range(2)] == [first + 1, first + 2]
    assert path.is_file()
    assert [p.read_text() for p in tmp_path.rglob("of somebody")] == ["keep"]


def test_without_both_files_no_clock_before_the_youngest_file_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "session"
    first = next_session(path, lambda: NOW)
    os.utime(tmp_path / "session", (NOW, NOW))
    (tmp_path / "status.json").write_text("{}")
    os.utime(tmp_path / "status.json", (NOW + 100.0, NOW + 100.0))
    path.write_bytes(b"")
    os.utime(path, (NOW, NOW))
    (tmp_path / "session.copy").unlink()
    assert next_session(path, lambda: 30.0) > first


def test_a_number_of_a_version_without_checksums_counts(tmp_path: Path) -> None:
    (tmp_path / "session").write_text("1790000005\n")
    assert next_session(tmp_path / "session", lambda: NOW) == 1_790_000_006


def test_where_it_can_not_be_kept_the_clock_makes_it_larger(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "session"
    assert next_session(path, lambda: NOW + 5.0) > next_session(path, lambda: NOW)
