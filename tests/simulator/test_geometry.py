"""The homography that every frame comes with is where things really are in the picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_runtime.records import State
from edge_runtime.simulator.bay import Bay, StockLevel, corners
from edge_runtime.simulator.geometry import CameraPose, Points, front_plane, homography, orbited, project
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.render import distorted, render

CAMERA = CameraPose(0.3, 0.5, -2.0, 4.0, -3.0, 1.0, 900.0, (960, 720), (479.5, 359.5))


def _matched(bay: Bay, camera: CameraPose) -> tuple[Points, Points]:
    """The homography found by ORB on the rails (front plane) and the one the renderer tells."""
    empty = {plan.id: StockLevel(State.EMPTY) for plan in (*bay.slots, *bay.neighbours)}
    a, b = render(bay, empty, bay.reference), render(bay, empty, camera)
    rails = np.zeros(a.image.shape[:2], np.uint8)
    x0, x1 = bay.reach
    for board in bay.boards:
        top, low = board.y - board.rail_top, board.y + board.rail_drop
        quad, _ = project(bay.reference, np.array([(x0, top, 0), (x1, top, 0), (x1, low, 0), (x0, low, 0)]))
        cv2.fillConvexPoly(rails, np.round(quad).astype(np.int32), 255)
    orb = cv2.ORB_create(3000, fastThreshold=5, edgeThreshold=15, patchSize=21)
    ka, da = orb.detectAndCompute(a.image, rails)
    kb, db = orb.detectAndCompute(b.image, None)
    pairs = [
        p[0] for p in cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(da, db, k=2) if p[0].distance < 0.75 * p[1].distance
    ]
    found, _ = cv2.findHomography(
        np.array([ka[m.queryIdx].pt for m in pairs]), np.array([kb[m.trainIdx].pt for m in pairs]), cv2.USAC_MAGSAC, 2.0
    )
    return found, b.homography


@pytest.mark.parametrize(("seed", "yaw"), [(500, 4), (502, 20), (504, 12), (507, 20)])
def test_told_homography_is_where_the_rails_are(seed: int, yaw: float) -> None:
    bay = random_bay(np.random.default_rng(seed))
    found, told = _matched(bay, orbited(bay.reference, bay.centre, yaw, yaw / 3, yaw / 5))
    outline = project(bay.reference, np.concatenate([corners(bay, plan) for plan in bay.slots]))[0]
    apart = cv2.perspectiveTransform(outline[None], found)[0] - cv2.perspectiveTransform(outline[None], told)[0]
    assert np.linalg.norm(apart, axis=1).max() < 1.0


@given(st.floats(-30, 30), st.floats(-10, 10))
def test_walking_around_a_target_keeps_it_in_place(yaw: float, pitch: float) -> None:
    straight = CameraPose(0, 0, -2, 0, 0, 0, 900, (960, 720), (479.5, 359.5))
    pixels, depths = project(orbited(straight, (0, 0, 0), yaw, pitch, 3.0), np.zeros((1, 3)))
    assert np.allclose(pixels, [[479.5, 359.5]], atol=1e-6)
    assert np.allclose(depths, 2.0)


def test_front_plane_is_the_projection_at_depth_zero() -> None:
    h = front_plane(CAMERA) @ [0.4, 0.7, 1.0]
    assert np.allclose(h[:2] / h[2], project(CAMERA, np.array([[0.4, 0.7, 0.0]]))[0][0])


@settings(max_examples=30)
@given(st.floats(-0.3, 0.3), st.floats(0, 959), st.floats(0, 719))
def test_lens_and_its_inverse_agree(k1: float, x: float, y: float) -> None:
    lens = replace(CAMERA, k1=k1)
    out = distorted(lens, np.array([[x, y]]))[0] - lens.centre
    assume(abs(out[0]) <= 479.5 and abs(out[1]) <= 359.5)
    r2 = float(out @ out) / (960**2 + 720**2) * 4
    back = out * (1 + k1 * r2) / (1 + max(k1, 0)) + lens.centre
    assert np.allclose(back, [x, y], atol=0.05)


def test_parallax_moves_what_stands_further_back() -> None:
    bay = random_bay(np.random.default_rng(3))
    camera = orbited(bay.reference, bay.centre, 15, 0, 0)
    point = np.array([[bay.width / 2, bay.height / 2, bay.boards[0].depth]])
    before, after = project(bay.reference, point)[0], project(camera, point)[0]
    as_if_in_front = cv2.perspectiveTransform(before[None], homography(bay.reference, camera))[0]
    assert np.linalg.norm(as_if_in_front - after) > 5
