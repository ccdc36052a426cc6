"""Fault 22: a corrupt spool, journal or session number: set aside and begun afresh, with what can still be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults import spool_damage, spool_kill, spool_power
from benchmarks.faults.row import Row
from benchmarks.faults.spool_scene import STORIES, SpoolScene, Story, new_spool_scene
from benchmarks.faults.tracer import CAN_FAIL_CALLS


@pytest.fixture(scope="module")
def scene() -> Iterator[SpoolScene]:
    with new_spool_scene() as made:
        yield made


def held(row: Row) -> None:
    assert row.points > 2
    assert row.held == row.points, row.note


@pytest.mark.parametrize(
    ("picture", "name"),
    [("closed", "spool.db"), ("crashed", "spool.db"), ("crashed", "spool.db-wal")],
)
def test_a_changed_byte_costs_at_most_the_row_that_it_is_in(scene: SpoolScene, picture: str, name: str) -> None:
    held(spool_damage.flip_row(scene, picture, name, stride=307))


@pytest.mark.parametrize(("picture", "name"), [("closed", "spool.db"), ("crashed", "spool.db-wal")])
def test_a_file_cut_at_any_length(scene: SpoolScene, picture: str, name: str) -> None:
    held(spool_damage.cut_row(scene, picture, name, stride=613))


def test_other_things_in_its_place(scene: SpoolScene) -> None:
    held(spool_damage.thing_row(scene))


def test_the_session_number_goes_on(tmp_path: Path) -> None:
    held(spool_damage.session_row(tmp_path))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name.replace(" ", "-"))
def test_killed_at_any_call(scene: SpoolScene, story: Story) -> None:
    held(spool_kill.kill_row(scene, story, stride=37))


@pytest.mark.skipif(not CAN_FAIL_CALLS, reason="watching system calls needs x86-64")
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name.replace(" ", "-"))
def test_power_cut_at_any_write(scene: SpoolScene, story: Story) -> None:
    held(spool_power.power_row(scene, story, random_images=1, stride=11))
