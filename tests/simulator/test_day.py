"""The demo store's day, and the commissioning that ships with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.assets import demo_layout
from edge_runtime.layout import read_layout
from edge_runtime.records import State
from edge_runtime.simulator.bay import layout_slots
from edge_runtime.simulator.catalogue import is_held_out
from edge_runtime.simulator.day import Day
from edge_runtime.simulator.demo import commission, demo_day


@pytest.fixture(scope="module")
def day() -> Day:
    return demo_day()


def test_shipped_commissioning_is_what_the_simulator_makes(day: Day, tmp_path: Path) -> None:
    commission(tmp_path, day)
    shipped = demo_layout()
    assert (tmp_path / "layout.json").read_bytes() == shipped.read_bytes(), (
        "run `python -m edge_runtime.simulator commission --out calibration/demo`"
    )
    made, kept = (cv2.imread(str(f / "reference.jpg")).astype(int) for f in (tmp_path, shipped.parent))
    assert np.abs(made - kept).mean() < 0.5
    assert len(read_layout(shipped).slots) == 24


def test_a_minute_is_lively_but_realistic(day: Day) -> None:
    kinds = Counter(event.kind for event in day.events(59.9))
    assert 10 <= kinds["sale"] + kinds["restock"] + kinds["reset"] <= 24
    assert 2 <= kinds["shopper"] <= 3
    assert kinds["bump"] == 1 and kinds["lamp"] == 2 and kinds["reset"] == 2
    bump = next(event for event in day.events(60) if event.kind == "bump")
    assert 30 < bump.at_s < 42


def test_events_change_exactly_what_they_name(day: Day) -> None:
    for event in day.events(59.9):
        if event.level is None:
            continue
        before, after = day.moment(event.at_s - 1e-6).stock, day.moment(event.at_s + 1e-6).stock
        changed = {slot for slot in after if before[slot] != after[slot]}
        assert changed == {event.slot}


def test_all_states_occur(day: Day) -> None:
    seen = {told.state for t in range(0, 60, 4) for told in day.truth_at(t).values()}
    assert seen == {State.STOCKED, State.LOW, State.EMPTY, State.BLOCKED}


def test_truth_is_that_of_the_rendered_frame(day: Day) -> None:
    for t in (4.0, 12.0, 40.0):
        assert {s: told.covered for s, told in day.truth_at(t).items()} == day.frame_at(t).covered


def test_the_bump_keeps_the_shelf_in_the_picture(day: Day) -> None:
    knocked = next(event.at_s for event in day.events(60) if event.kind == "bump") + 1
    before, after = day.moment(knocked - 2).camera, day.moment(knocked).camera
    assert before != after
    assert 2.5 < abs(after.yaw_deg - before.yaw_deg) < 5.5
    assert max(day.truth_at(knocked)[slot].covered for slot in day.truth_at(knocked)) < 0.15


def test_a_day_ends_as_the_next_begins(day: Day) -> None:
    assert day.moment(59.99).stock == day.moment(60.01).stock == day.moment(0).stock
    assert len(day.events(180)) > 2.5 * len(day.events(60))


def test_days_differ_but_are_repeatable(day: Day) -> None:
    second = [event.at_s - 60 for event in day.events(119.9) if event.at_s >= 60]
    assert second != [event.at_s for event in day.events(59.9)]
    assert [event.at_s for event in demo_day.__wrapped__().events(30)] == [event.at_s for event in day.events(30)]


def test_speed_compresses_time(day: Day) -> None:
    fast = demo_day(speed=4.0)
    assert fast.moment(5.0).stock == day.moment(20.0).stock
    assert [e.at_s * 4 for e in fast.events(14)] == pytest.approx([e.at_s for e in day.events(56)])


def test_the_lamp_that_dies_is_seen(day: Day) -> None:
    dies, returns = (event.at_s for event in day.events(60) if event.kind == "lamp")
    assert day.moment(dies + 1).light.gradient > 1.5
    assert day.moment(returns + 1).light.gradient == 1.0
    assert day.moment(58).light.exposure_ev < day.moment(2).light.exposure_ev


def test_demo_packs_were_never_trained_on(day: Day) -> None:
    assert all(is_held_out(slot.sku) for slot in layout_slots(day.bay))
