"""Hours of trade, and their recording with the truth beside it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from edge_runtime.layout import read_layout
from edge_runtime.records import State
from edge_runtime.simulator.__main__ import main
from edge_runtime.simulator.catalogue import is_held_out
from edge_runtime.simulator.day import Day
from edge_runtime.simulator.record import COLUMNS, record_day
from edge_runtime.simulator.script import Sun
from edge_runtime.simulator.trading import store_day


@pytest.fixture(scope="module")
def day() -> Day:
    return store_day(3, size=(320, 240))


def test_a_day_has_what_a_store_has(day: Day) -> None:
    kinds = Counter(event.kind for event in day.events(day.length_s - 1))
    assert kinds["sale"] > len(day.bay.slots) and kinds["restock"] > 3 and kinds["reset"] == 2
    assert 30 < kinds["shopper"] < 150
    assert kinds["bump"] <= 1


def test_a_state_stays_for_minutes(day: Day) -> None:
    changes: dict[str, list[float]] = {}
    stock = dict(day.moment(0).stock)
    for event in day.events(day.length_s - 1):
        if event.level is not None and event.level.state is not stock[event.slot].state:
            changes.setdefault(event.slot, []).append(event.at_s)
        if event.level is not None:
            stock[event.slot] = event.level
    gaps = [b - a for times in changes.values() for a, b in pairwise(times)]
    assert min(gaps) >= 240


def test_the_same_seed_is_the_same_day() -> None:
    first, again, other = (store_day(seed, size=(320, 240)).events(3000) for seed in (4, 4, 5))
    assert first == again != other


def test_its_packs_were_never_trained_on(day: Day) -> None:
    assert all(is_held_out(slot.facing.pack) for slot in day.bay.slots)


def test_most_moments_are_without_a_shopper_and_some_are_not(day: Day) -> None:
    crowded = [bool(day.moment(t).occluders) for t in range(0, int(day.length_s), 90)]
    assert 0.02 < sum(crowded) / len(crowded) < 0.6


def test_the_suns_edge_crosses_the_bay() -> None:
    sun = Sun(100.0, 200.0, 0.4, 0.2)
    assert sun.at(99.0) == () == sun.at(200.0)
    assert sun.at(101.0)[1][0] < 0.2 and sun.at(199.0)[2][0] > 0.9


def test_a_recording_has_a_row_for_every_slot_and_frame(tmp_path: Path, day: Day) -> None:
    record_day(tmp_path, day, 45.0, 180.0)
    slots = [slot.id for slot in read_layout(tmp_path / "layout.json").slots]
    with (tmp_path / "truth.csv").open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["frame"], row["t"], row["slot"]) for row in rows] == [
        (f"{k:05d}", str(45.0 * k), slot) for k in range(4) for slot in slots
    ]
    assert {row["stock"] for row in rows} <= {State.STOCKED, State.LOW, State.EMPTY}
    assert len(list((tmp_path / "frames").iterdir())) == 4
    assert json.loads((tmp_path / "day.json").read_text())["interval_s"] == 45.0


def test_a_recording_that_is_there_is_kept(tmp_path: Path, day: Day) -> None:
    record_day(tmp_path, day, 45.0, 45.0)
    (tmp_path / "truth.csv").write_text("mine")
    record_day(tmp_path, day, 45.0, 45.0)
    assert (tmp_path / "truth.csv").read_text() == "mine"


def test_the_command_records_a_day(tmp_path: Path) -> None:
    call = ["day", "--out", str(tmp_path), "--seed", "3", "--hours", "0.05", "--interval", "60", "--size", "160", "120"]
    assert main(call) == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg"]
