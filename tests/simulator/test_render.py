"""Pictures and their truth agree."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.layout import read_layout, write_layout
from edge_runtime.records import Image, State
from edge_runtime.simulator.bay import Bay, SlotPlan, StockLevel, layout_slots, polygon
from edge_runtime.simulator.geometry import orbited
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.render import BLOCKED_FROM, render, truth
from edge_runtime.simulator.shoppers import Occluder
from edge_runtime.simulator.stocking import StockHabits, low_level, random_stock

FIELD = Path(__file__).resolve().parents[2] / "../shared/data/field-dev"


@pytest.fixture(scope="module")
def bay() -> Bay:
    return random_bay(np.random.default_rng(8), rows=3, slots_per_row=4)


def _crop(image: Image, bay: Bay, plan: SlotPlan) -> Image:
    quad = np.array(polygon(bay, plan, bay.reference))
    (x0, y0), (x1, y1) = quad.min(0).astype(int), quad.max(0).astype(int)
    return image[max(0, y0) : y1, max(0, x0) : x1]


def test_only_the_slot_that_sold_changes(bay: Bay) -> None:
    plan = bay.slots[5]
    full, sold = (render(bay, stock, bay.reference).image for stock in ({}, {plan.id: StockLevel(State.EMPTY)}))
    difference = np.abs(full.astype(int) - sold).max(2)
    assert _crop(difference, bay, plan).mean() > 10
    far = bay.slots[0]
    assert _crop(difference, bay, far).max() == 0


def test_low_differs_from_full_and_from_empty(bay: Bay) -> None:
    lows = [low_level(bay, plan, StockLevel(), 0.15) for plan in bay.slots]
    plan, level = next((p, low) for p, low in zip(bay.slots, lows, strict=True) if low.state is State.LOW)
    pictures = [
        _crop(render(bay, {plan.id: stock}, bay.reference).image, bay, plan).astype(int)
        for stock in (StockLevel(), level, StockLevel(State.EMPTY))
    ]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(pictures[a] - pictures[b]).mean() > 3


def test_the_same_frame_twice_is_the_same(bay: Bay) -> None:
    stock = random_stock(np.random.default_rng(1), bay)
    one, two = (render(bay, stock, bay.reference, rng=np.random.default_rng(2)).image for _ in range(2))
    assert np.array_equal(one, two)


def test_someone_in_front_covers_slots(bay: Bay) -> None:
    person = Occluder("person", 0.5, 0.0, 1.2, 1.0, 3)
    covered = render(bay, {}, bay.reference, occluders=(person,)).covered
    assert max(covered.values()) > 0.5
    assert set(covered) == {plan.id for plan in bay.slots}
    assert not any(render(bay, {}, bay.reference).covered.values())


def test_what_leaves_the_picture_is_covered_too(bay: Bay) -> None:
    away = orbited(bay.reference, (bay.width * 3, bay.height / 2, 0), 25, 0, 0)
    assert max(render(bay, {}, away).covered.values()) > 0.9


def test_covered_from_half_is_blocked() -> None:
    stock = {"a": StockLevel(State.LOW)}
    assert truth(stock, "a", BLOCKED_FROM) is State.BLOCKED
    assert truth(stock, "a", BLOCKED_FROM - 0.01) is State.LOW


def test_the_limit_of_blocked_is_that_of_the_field() -> None:
    if not FIELD.is_dir():
        pytest.skip("data/field-dev is not beside this checkout")
    for sheet in FIELD.glob("shelves/*/truth.csv"):
        with sheet.open() as lines:
            for row in csv.DictReader(lines):
                hidden = float(row["covered"]) >= BLOCKED_FROM
                outside = row["condition"] == "bumped" and float(row["covered"]) == 0
                assert hidden == (row["state"] == "blocked") or outside


@pytest.mark.parametrize("seed", range(6))
def test_random_bays_make_layouts_without_faults(seed: int, tmp_path: Path) -> None:
    some = random_bay(np.random.default_rng(seed + 40))
    write_layout(tmp_path / "layout.json", "reference.jpg", (960, 720), layout_slots(some))
    assert len(read_layout(tmp_path / "layout.json").slots) == len(some.slots)


def test_stock_is_drawn_as_asked() -> None:
    rng = np.random.default_rng(0)
    some = random_bay(rng, rows=5, slots_per_row=6)
    drawn = [random_stock(rng, some)[plan.id].state for plan in some.slots for _ in range(20)]
    assert 0.18 < drawn.count(State.EMPTY) / len(drawn) < 0.36
    assert 0.05 < drawn.count(State.LOW) / len(drawn) < 0.22
    swapped = random_stock(rng, some, StockHabits(swaps=1.0))
    assert all(level.other for level in swapped.values() if level.state is not State.EMPTY)


def test_what_is_low_stands_well_behind_the_rail() -> None:
    rng = np.random.default_rng(4)
    some = random_bay(rng)
    for _ in range(5):
        for name, level in random_stock(rng, some).items():
            plan = next(p for p in (*some.slots, *some.neighbours) if p.id == name)
            if level.state is State.LOW:
                facing = level.other or plan.facing
                assert level.front_rows_gone * facing.depth + level.setback >= 0.05
