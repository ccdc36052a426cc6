from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.normalize.parallax import straight
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.warp import Warp, project
from edge_runtime.records import CropSpec
from tests.normalize.painted import SIZE, layout, shelf, view_from

CORNERS = np.array([slot.polygon for slot in layout().slots]).reshape(-1, 2)


@settings(max_examples=40, deadline=None)
@given(st.floats(-25, 25), st.floats(-8, 8), st.floats(-0.2, 0.2), st.floats(-0.1, 0.1))
def test_a_grid_says_what_points_say(yaw: float, pitch: float, a: float, b: float) -> None:
    warp = Warp(view_from(yaw, pitch), SIZE, (a, b))
    grid = warp.grid(CORNERS.astype(np.float32).reshape(15, 4, 2))
    assert grid.shape == (15, 4, 2)
    assert np.abs(grid.reshape(-1, 2) - warp.points(CORNERS)).max() < 0.02


@settings(max_examples=40, deadline=None)
@given(st.floats(-20, 20), st.floats(-0.12, 0.12), st.floats(-0.06, 0.06))
def test_a_lens_can_be_taken_out_again(yaw: float, a: float, b: float) -> None:
    warp = Warp(view_from(yaw, 0, 0, 0.9), SIZE, (a, b))
    assert np.abs(straight(warp.points(CORNERS), warp) - project(warp.homography, CORNERS)).max() < 0.05


def test_the_best_homography_of_a_bent_view_is_near_all_over() -> None:
    warp = Warp(view_from(6, 1), SIZE, (-0.04, 0.01))
    best = np.hypot(*(project(warp.best_homography(CORNERS), CORNERS) - warp.points(CORNERS)).T)
    plain = np.hypot(*(project(warp.homography, CORNERS) - warp.points(CORNERS)).T)
    assert best.max() < 0.6 * plain.max()
    assert Warp(warp.homography, SIZE).best_homography(CORNERS) is warp.homography


def test_what_lies_behind_the_camera_is_in_no_picture() -> None:
    warp = Warp(np.array([[1, 0, 0], [0, 1, 0], [-0.002, 0, 1.0]]), SIZE)
    assert np.isnan(warp.points(np.array([[600.0, 10.0]]))).all()
    grid = warp.grid(np.array([[10.0, 10.0], [600.0, 10.0]], np.float32))
    assert np.isfinite(grid).all()
    assert (grid[1] < -1000).all()


@pytest.mark.parametrize(
    "matrix", [np.full((3, 3), np.nan), np.zeros((3, 3)), -np.eye(3)], ids=["nan", "zero", "behind"]
)
def test_no_slot_is_inside_by_a_homography_that_is_none(matrix: np.ndarray) -> None:
    crops, inside, _ = SlotSampler(layout(), CropSpec((16, 16), 0.1)).sample(shelf(), matrix)
    assert crops.shape == (15, 16, 16, 3)
    assert (inside == 0.0).all()
