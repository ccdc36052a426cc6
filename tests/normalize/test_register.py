from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.layout import read_layout
from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.fit import Fit
from edge_runtime.normalize.plausible import implausible
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.register import Registrar
from edge_runtime.normalize.warp import Warp, project
from tests.normalize.painted import SIZE, layout, noisy, seen, shelf, view_from

FIELD = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "field-dev"


@cache
def _registrar() -> Registrar:
    return Registrar(layout(), _grey(shelf()))


def _grey(image: np.ndarray) -> Grey:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _error(fit: Fit, homography: np.ndarray) -> float:
    assert fit.warp is not None, fit.detail
    corners = np.array([slot.polygon for slot in layout().slots]).reshape(-1, 2)
    return float(np.hypot(*(fit.warp.points(corners) - project(homography, corners)).T).mean())


@settings(max_examples=12, deadline=None)
@given(
    st.floats(-25, 25),
    st.floats(-6, 6),
    st.floats(-4, 4),
    st.floats(0.8, 1.05),
    st.sets(st.integers(0, 14), max_size=7),
    st.integers(0, 5),
)
def test_any_camera_before_the_shelf_is_found_to_a_pixel(
    yaw: float, pitch: float, roll: float, zoom: float, sold: set[int], seed: int
) -> None:
    homography = view_from(yaw, pitch, roll, zoom)
    picture = noisy(seen(shelf(empty=sold), homography), 2.0, seed)
    assert _error(_registrar().register(_grey(picture)), homography) < 1.5


def test_half_sold_and_most_of_the_rest_swapped() -> None:
    homography = view_from(12, 3, 1)
    picture = shelf(empty=range(0, 15, 2), swapped=(1, 3, 5, 7, 9))
    assert _error(_registrar().register(_grey(noisy(seen(picture, homography)))), homography) < 1.5


@pytest.mark.parametrize(
    ("harm", "limit"),
    [
        (lambda p: (p * 0.18).astype(np.uint8), 1.0),
        (lambda p: np.clip(p.astype(float) * 2.4, 0, 255).astype(np.uint8), 1.0),
        (lambda p: noisy((p * 0.25).astype(np.uint8), 8), 1.5),
        (lambda p: noisy(p, 30), 1.5),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 2.5), 1.5),
        (lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], 1), 1.5),
        (lambda p: cv2.resize(cv2.resize(p, (240, 180), interpolation=cv2.INTER_AREA), SIZE), 1.5),
    ],
    ids=["dark", "bright", "night", "noise", "defocus", "jpeg", "resolution"],
)
def test_it_is_found_in_a_bad_picture(harm, limit: float) -> None:
    homography = view_from(8, 2, 1)
    picture = np.asarray(harm(seen(shelf(empty=(2, 7)), homography)), np.uint8)
    assert _error(_registrar().register(_grey(picture)), homography) < limit


def test_a_shopper_in_front_does_not_hide_the_shelf() -> None:
    homography = view_from(6)
    picture = seen(shelf(), homography)
    cv2.rectangle(picture, (300, 60), (560, 719), (90, 120, 60), -1)
    assert _error(_registrar().register(_grey(noisy(picture))), homography) < 1.0


def test_the_lens_is_found_with_the_angle() -> None:
    warp = Warp(view_from(5, 1), SIZE, (-0.1, 0.0))
    xs, ys = np.meshgrid(np.arange(960.0), np.arange(720.0))
    frame_points = np.stack([xs.ravel(), ys.ravel()], 1)
    # The picture of this warp, drawn by inverting it at every frame pixel (fixed point; the lens is mild).
    centre, half = np.array([479.5, 359.5]), 480.0
    straight = frame_points.copy()
    for _ in range(12):
        r2 = (((straight - centre) / half) ** 2).sum(1, keepdims=True)
        straight = centre + (frame_points - centre) / (1 - 0.1 * r2)
    maps = project(np.linalg.inv(warp.homography), straight).astype(np.float32).reshape(720, 960, 2)
    picture = cv2.remap(shelf(empty=(3,)), maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    fit = _registrar().register(_grey(noisy(picture)))
    corners = np.array([slot.polygon for slot in layout().slots]).reshape(-1, 2)
    assert fit.warp is not None
    assert fit.warp.lens[0] < -0.03
    assert np.hypot(*(fit.warp.points(corners) - warp.points(corners)).T).mean() < 1.0


@pytest.mark.parametrize("size", [(480, 360), (640, 480), (1920, 1440)])
def test_frames_and_reference_may_differ_in_size(size: tuple[int, int]) -> None:
    homography = np.diag([size[0] / 960, size[1] / 720, 1.0]) @ view_from(7, 1)
    fit = _registrar().register(_grey(noisy(seen(shelf(), homography, size))))
    assert _error(fit, homography) < 1.0 * size[0] / 960


@pytest.mark.parametrize("seed", range(2, 8))
def test_another_shelf_of_the_same_make_is_refused(seed: int) -> None:
    fit = _registrar().register(_grey(noisy(seen(shelf(seed), view_from(3)))))
    assert fit.warp is None
    assert fit.detail


@pytest.mark.parametrize("seed", range(2, 6))
def test_another_bay_with_the_same_products_moved_about_is_refused(seed: int) -> None:
    """The same packs in other places, on the same fixtures with other price tags."""
    picture = shelf(seed, packs=1)
    order = np.random.default_rng(seed).permutation(15)
    mine, slots = shelf(1), layout().slots
    for place, slot in zip(order, slots, strict=True):
        (x0, y0), (u0, v0) = slot.polygon[0], slots[place].polygon[0]
        picture[int(y0) : int(y0) + 160, int(x0) : int(x0) + 148] = mine[
            int(v0) : int(v0) + 160, int(u0) : int(u0) + 148
        ]
    fit = _registrar().register(_grey(noisy(picture)))
    assert fit.warp is None


@pytest.mark.parametrize("seed", range(2, 5))
def test_another_bay_with_every_product_in_the_same_place_is_refused(seed: int) -> None:
    """Only price tags and surroundings tell twins apart."""
    assert _registrar().register(_grey(noisy(seen(shelf(seed, packs=1), view_from(2))))).warp is None


def test_rails_that_say_the_same_are_the_shelf_whatever_stands_on_it() -> None:
    fit = _registrar().register(_grey(noisy(seen(shelf(packs=99), view_from(10, 2)))))
    assert _error(fit, view_from(10, 2)) < 1.0
    assert fit.evidence > 0.7


def test_keypoints_of_one_corner_do_not_bend_the_plane() -> None:
    """Most of the shelf is behind a trolley: what is left is found without perspective first."""
    homography = view_from(9, 2, 1)
    picture = noisy(seen(shelf(empty=range(5, 15)), homography))
    cv2.rectangle(picture, (420, 0), (959, 330), (60, 60, 70), -1)
    assert _error(_registrar().register(_grey(picture)), homography) < 1.5


def test_where_rails_are_hidden_the_slots_there_are_less_certain() -> None:
    picture = seen(shelf(), view_from(6))
    whole = _registrar().register(_grey(noisy(picture)))
    cv2.rectangle(picture, (0, 0), (959, 420), (90, 120, 60), -1)
    part = _registrar().register(_grey(noisy(picture)))
    assert whole.corner_sigma_px is not None
    assert part.corner_sigma_px is not None
    assert part.corner_sigma_px[0] > 2 * whole.corner_sigma_px[0]
    assert part.corner_sigma_px[0] > 2 * part.corner_sigma_px[14]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_picture_is_refused_and_nothing_breaks(value: int) -> None:
    assert _registrar().register(np.full((720, 960), value, np.uint8)).warp is None


def test_a_flat_reference_never_matches() -> None:
    registrar = Registrar(layout(), np.full((720, 960), 90, np.uint8))
    assert registrar.register(_grey(shelf())).warp is None
    assert registrar.register(np.full((720, 960), 90, np.uint8)).warp is None


@settings(max_examples=60, deadline=None)
@given(st.floats(-30, 30), st.floats(-10, 10), st.floats(-8, 8), st.floats(0.6, 1.6))
def test_every_camera_before_the_shelf_is_plausible(yaw: float, pitch: float, roll: float, zoom: float) -> None:
    assert implausible(view_from(yaw, pitch, roll, zoom), SIZE, SIZE) == ""


@pytest.mark.parametrize(
    "homography",
    [
        np.diag([-1.0, 1.0, 1.0]),
        np.diag([0.1, 0.1, 1.0]),
        np.diag([5.0, 5.0, 1.0]),
        np.array([[1, 0, 0], [0, 1, 0], [-0.002, 0, 1.0]]),
        np.array([[0, -1, 700], [1, 0, 0], [0, 0, 1.0]]),
        np.array([[1, 0.9, 0], [0, 1, 0], [0, 0, 1.0]]),
    ],
    ids=["mirrored", "tiny", "huge", "horizon", "turned", "sheared"],
)
def test_what_no_camera_can_do_is_implausible(homography: np.ndarray) -> None:
    assert implausible(homography, SIZE, SIZE)


@pytest.mark.skipif(not FIELD.is_dir(), reason="../shared/data/field-dev is not here")
def test_field_frames_register_and_other_shelves_are_refused() -> None:
    shelves = sorted((FIELD / "shelves").iterdir())[:2]
    made = read_layout(shelves[0] / "layout.json")
    registrar = Registrar(made, _grey(open_reference(made)))
    for name in ("lab-0", "store-s3-0", "night-s3-0", "bumped-s3-0", "lens-s3-0", "occlusion-s3-0"):
        fit = registrar.register(_grey(cv2.imread(str(shelves[0] / "frames" / f"{name}.jpg"))))
        assert fit.warp is not None, (name, fit.detail)
        assert fit.residual_px is not None
        assert fit.residual_px < 1.5
        assert registrar.register(_grey(cv2.imread(str(shelves[1] / "frames" / f"{name}.jpg")))).warp is None
