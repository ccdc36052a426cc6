"""The packs' plane: found from packs that agree, kept at the rail's where they do not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.normalize.anchors import SLOT_WEIGHT, Anchors, Sightings
from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.parallax import NO_PARALLAX, PacksPlane, Parallax, packs_plane, straight
from edge_runtime.normalize.track import Tracker
from edge_runtime.normalize.warp import Warp, bend, scaling
from edge_runtime.records import Layout, State
from edge_runtime.simulator.bay import Bay, StockLevel, layout_slots
from edge_runtime.simulator.geometry import CameraPose, orbited, project
from edge_runtime.simulator.light import Lighting
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.render import render
from edge_runtime.simulator.sensor import Sensor
from edge_runtime.simulator.stocking import commissioned_stock
from tests.normalize import painted

SIZE = (960, 720)
RAIL = Warp(np.array([[0.96, 0.02, 14.0], [-0.01, 0.98, 9.0], [2e-5, -1e-5, 1.0]]), SIZE)


def sightings(
    rng: np.random.Generator, column: np.ndarray, count: int, strangers: int
) -> tuple[Sightings, np.ndarray, Warp]:
    """`count` anchors of packs behind the rail, `strangers` that moved anywhere, in eight slots."""
    homography = RAIL.homography.copy()
    homography[:, 2] += column
    truth = Warp(homography, SIZE)
    source = rng.uniform((80, 80), (880, 640), (count + strangers, 2))
    target = truth.points(source) + rng.normal(0, 0.2, source.shape)
    target[count:] += rng.uniform(-25, 25, (strangers, 2))
    n = len(source)
    seen = Sightings(source, target, np.ones(n), np.full(n, SLOT_WEIGHT), np.zeros(n, np.bool_), np.zeros(n))
    return seen, (source[:, 0] // 120).astype(np.intp), truth


@settings(max_examples=25, deadline=None)
@given(st.floats(-20, 20), st.floats(-12, 12), st.floats(-0.01, 0.01), st.integers(0, 10_000))
def test_packs_that_agree_are_found_among_as_many_that_do_not(x: float, y: float, zoom: float, seed: int) -> None:
    seen, slot_of, truth = sightings(np.random.default_rng(seed), np.array([x, y, zoom]), 60, 60)
    found = packs_plane(seen, slot_of, RAIL, SIZE)
    assert found.warp is not None
    off = np.hypot(*(found.warp.points(seen.source[:60]) - truth.points(seen.source[:60])).T)
    assert np.median(off) < 0.6
    assert found.votes >= 50


@pytest.mark.parametrize(("count", "strangers"), [(0, 90), (10, 4), (12, 120)])
def test_nothing_is_guessed_where_too_few_agree(count: int, strangers: int) -> None:
    seen, slot_of, _ = sightings(np.random.default_rng(1), np.array([9.0, 3.0, 0.0]), count, strangers)
    assert packs_plane(seen, slot_of, RAIL, SIZE).warp is None


def test_one_slot_does_not_speak_for_the_shelf() -> None:
    seen, slot_of, _ = sightings(np.random.default_rng(2), np.array([9.0, 3.0, 0.0]), 60, 0)
    assert packs_plane(seen, np.zeros_like(slot_of), RAIL, SIZE).warp is None


def test_the_lens_is_taken_out_of_what_was_seen() -> None:
    bent = replace(RAIL, lens=(0.12, 0.01))
    points = np.random.default_rng(3).uniform((50, 50), (900, 650), (40, 2))
    assert np.abs(straight(bent.points(points), bent) - RAIL.points(points)).max() < 0.01


@pytest.mark.parametrize("lens", [(0.1, 0.0), (-0.06, 0.02)])
def test_packs_are_found_through_a_lens(lens: tuple[float, float]) -> None:
    seen, slot_of, truth = sightings(np.random.default_rng(5), np.array([11.0, -4.0, 0.004]), 60, 40)
    rail, bent = replace(RAIL, lens=lens), replace(truth, lens=lens)
    seen = replace(seen, target=bend(seen.target, SIZE, lens))
    found = packs_plane(seen, slot_of, rail, SIZE)
    assert found.warp is not None
    assert found.warp.lens == lens
    off = np.hypot(*(found.warp.points(seen.source[:60]) - bent.points(seen.source[:60])).T)
    assert np.median(off) < 0.6


class _Asked(PacksPlane):
    """Counts how often the packs are looked at; they answer `answer`."""

    def __init__(self, slots: int, answer: Parallax = NO_PARALLAX) -> None:
        super().__init__(replace(painted.layout(), slots=painted.layout().slots[:slots]), _anchors())
        self.times, self.answer = 0, answer

    def find(self, grey: Grey, rail: Warp) -> Parallax:
        self.times += 1
        return self.answer


@cache
def _anchors() -> Anchors:
    return Tracker(painted.layout(), painted.shelf()).registrar.anchors


def test_packs_that_answered_are_not_asked_again_until_the_camera_moves() -> None:
    asked, image = _Asked(15, Parallax(RAIL, 40, 0.9, 5.0)), painted.shelf()
    assert [asked.kept(image, RAIL).votes for _ in range(100)] == [40] * 100
    assert asked.times == 1
    asked.kept(image, replace(RAIL))
    assert asked.times == 2


def test_packs_that_did_not_answer_are_asked_again_every_thirty_frames() -> None:
    asked, image = _Asked(15), painted.shelf()
    times = []
    for _ in range(91):
        asked.kept(image, RAIL)
        times.append(asked.times)
    assert [times[0], times[29], times[30], times[60], times[90]] == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("slots", [1, 2])
def test_too_few_slots_are_never_asked(slots: int) -> None:
    asked = _Asked(slots)
    assert asked.kept(painted.shelf(), RAIL) is NO_PARALLAX
    assert asked.times == 0


@pytest.mark.parametrize("matrix", [np.full((3, 3), np.nan), -np.eye(3), np.diag([1e9, 1e9, 1.0])])
def test_a_plane_that_is_none_has_no_packs(matrix: np.ndarray) -> None:
    plane = PacksPlane(painted.layout(), _anchors()).plane(painted.shelf(), Warp(matrix, SIZE))
    assert plane.warp is None


@pytest.fixture(scope="module")
def deep_bay() -> Bay:
    """Packs stand twelve centimetres behind the rail."""
    bay = random_bay(np.random.default_rng(8), rows=3, slots_per_row=5)
    return replace(bay, boards=tuple(replace(board, depth=0.5, setback=0.12) for board in bay.boards))


def _front_error(bay: Bay, camera: CameraPose, warp: Warp) -> float:
    """Median distance (frame pixels) between where `warp` puts the packs' fronts and where they are."""
    places = [
        (
            (plan.x0 + plan.x1) / 2,
            bay.boards[plan.row].y - 0.5 * plan.facing.height,
            bay.boards[plan.row].setback + 0.015,
        )
        for plan in bay.slots
    ]
    before, _ = project(bay.reference, np.array(places))
    after, _ = project(camera, np.array(places))
    return float(np.median(np.hypot(*(warp.points(before) - after).T)))


def test_packs_far_behind_the_rail_come_back_to_their_place(deep_bay: Bay) -> None:
    bay, rng = deep_bay, np.random.default_rng(4)
    light, sensor = Lighting(), Sensor(snr_db=40.0, jpeg=90)
    stock = dict(commissioned_stock(rng, bay))
    reference = render(bay, stock, bay.reference, light, sensor).image
    layout = Layout(Path("layout.json"), Path("reference.jpg"), bay.reference.size, layout_slots(bay))
    tracker = Tracker(layout, reference)
    for plan in bay.slots[::4]:
        stock[plan.id] = StockLevel(State.EMPTY)
    camera = orbited(bay.reference, bay.centre, 10.0, 4.0, 1.0)
    frame = render(bay, stock, camera, light, sensor).image
    rail = tracker.single(frame).fit.warp
    assert rail is not None
    packs = PacksPlane(layout, tracker.registrar.anchors).plane(frame, rail)
    assert packs.warp is not None
    before, after = _front_error(bay, camera, rail), _front_error(bay, camera, packs.warp)
    assert before > 5.0
    assert after < 0.3 * before
    assert packs.shift_px == pytest.approx(before, rel=0.5)


def test_a_camera_at_rest_has_no_parallax(deep_bay: Bay) -> None:
    bay = deep_bay
    image = render(bay, {}, bay.reference, Lighting(), Sensor()).image
    layout = Layout(Path("layout.json"), Path("reference.jpg"), bay.reference.size, layout_slots(bay))
    plane = PacksPlane(layout, Tracker(layout, image).registrar.anchors)
    assert plane.plane(image, Warp(scaling(SIZE, SIZE), SIZE)).warp is None
