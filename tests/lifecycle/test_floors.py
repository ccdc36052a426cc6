"""The floors never sink: not by a damaged copy, not by a kill, not by a disk that fails, not by two processes."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import TryAgain
from edge_runtime.lifecycle.floors import EARLIEST_S, MAX_NAMES, Floors

from .disks import FaultyFiles, Killed

NOW = 1.8e9


@pytest.fixture
def raised(tmp_path: Path) -> Path:
    floors = Floors(tmp_path)
    floors.raise_release("shelf", 7)
    floors.raise_time(NOW)
    return tmp_path


def test_a_new_device_has_no_floors_and_nothing_to_complain_about(tmp_path: Path) -> None:
    floors = Floors(tmp_path)
    assert (floors.release("shelf"), floors.time_s, floors.problem) == (0, EARLIEST_S, "")
    assert not list(tmp_path.iterdir()), "reading writes nothing"


def test_floors_outlive_the_process_and_only_rise(raised: Path) -> None:
    floors = Floors(raised)
    floors.raise_release("shelf", 3)
    floors.raise_release("other", 2)
    floors.raise_time(NOW - 100)
    again = Floors(raised)
    assert (again.release("shelf"), again.release("other"), again.time_s) == (7, 2, NOW)


def test_a_time_at_the_end_of_all_dates_can_be_read_again(raised: Path) -> None:
    Floors(raised).raise_time(253_402_300_000.0)
    again = Floors(raised)
    assert (again.release("shelf"), again.time_s, again.problem) == (7, 253_402_300_000.0, "")


def test_another_process_is_heard(raised: Path) -> None:
    early, other = Floors(raised), Floors(raised)
    assert early.release("shelf") == 7
    other.raise_release("shelf", 9)
    early.raise_release("second", 1)
    assert early.release("shelf") == 9 and Floors(raised).release("shelf") == 9


@pytest.mark.parametrize("which", [0, 1])
def test_every_byte_of_a_copy_may_be_damaged(raised: Path, which: int) -> None:
    path = Floors(raised).paths[which]
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        assert Floors(raised).release("shelf") == 7 and Floors(raised).time_s == NOW
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        floors = Floors(raised)
        assert floors.release("shelf") == 7 and (floors.problem or length == len(whole) - 1)
    path.write_bytes(b"\0" * len(whole))
    floors = Floors(raised)
    floors.mend()
    assert not floors.problem and path.read_bytes() == whole
    assert path.with_suffix(".json.corrupt").exists()


def test_a_lost_copy_comes_back_and_the_higher_one_counts(raised: Path) -> None:
    first, second = Floors(raised).paths
    old = second.read_bytes()
    Floors(raised).raise_release("shelf", 8)
    second.write_bytes(old)
    first_bytes = first.read_bytes()
    assert Floors(raised).release("shelf") == 8
    second.unlink()
    Floors(raised).mend()
    assert second.read_bytes() == first_bytes


@pytest.mark.parametrize("fault", ["kill", "kill_half", "kill_after"])
def test_killed_at_every_step_of_a_raise(raised: Path, tmp_path_factory: pytest.TempPathFactory, fault: str) -> None:
    for nth in range(1, 30):
        state = tmp_path_factory.mktemp("state") / "s"
        shutil.copytree(raised, state)
        try:
            Floors(state, FaultyFiles(nth, fault)).raise_release("shelf", 8)
            assert nth > 6
            return
        except Killed:
            after = Floors(state)
            assert after.release("shelf") in (7, 8) and after.time_s == NOW
            after.raise_release("shelf", 9)
            assert not after.problem and all(not p.with_suffix(".json.new").exists() for p in after.paths)
    pytest.fail("the raise never ended by itself")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("fault", ["errno", "errno_for_good"])
def test_a_disk_that_fails_lowers_nothing(
    raised: Path, tmp_path_factory: pytest.TempPathFactory, code: int, fault: str
) -> None:
    for nth in range(1, 12):
        state = tmp_path_factory.mktemp("state") / "s"
        shutil.copytree(raised, state)
        files = FaultyFiles(nth, fault, code)
        floors = Floors(state, files)
        try:
            floors.raise_release("shelf", 8)
            assert floors.problem or files.steps < nth or Floors(state).release("shelf") == 8
        except TryAgain as met:
            assert met.mend
        assert floors.release("shelf") == 8, "in this process it holds at once"
        assert Floors(state).release("shelf") in (7, 8)


def test_both_copies_lost_is_told(raised: Path) -> None:
    for path in Floors(raised).paths:
        path.write_bytes(b"junk")
    floors = Floors(raised)
    assert floors.release("shelf") == 0 and floors.problem.count("damaged") == 2


def test_the_file_stays_small(tmp_path: Path) -> None:
    floors = Floors(tmp_path)
    floors._held = type(floors._held)({f"m{n}": n for n in range(MAX_NAMES + 50)})
    floors.raise_release("shelf", 10**6)
    assert Floors(tmp_path).release("shelf") == 10**6 and Floors(tmp_path).release("m3") == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.sampled_from([0, 1, 2])), max_size=8))
def test_it_never_sinks(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is raised, and whichever one copy is destroyed between two raises."""
    state = tmp_path_factory.mktemp("laws")
    highest = {"a": 0, "b": 0}
    for name, release, broken in steps:
        Floors(state).raise_release(name, release)
        highest[name] = max(highest[name], release)
        if broken:
            Floors(state).paths[broken - 1].write_bytes(b"{}")
        assert {n: Floors(state).release(n) for n in "ab"} == highest
