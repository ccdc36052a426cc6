from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from edge_runtime.records import Image
from edge_runtime.workshop.field_bench import enhancers
from edge_runtime.workshop.field_bench.contenders import BASELINES, OURS, RAW, Enhance

ALL = (
    enhancers.grey_world,
    enhancers.clahe,
    enhancers.match_histogram,
    enhancers.retinex,
    enhancers.multi_retinex,
)


def _scene(seed: int = 3) -> Image:
    coarse = np.random.default_rng(seed).integers(20, 230, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("enhance", ALL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["scene", "black", "white", "small"])
def test_any_picture_gives_one_of_its_size_without_a_murmur(enhance: Enhance, kind: str) -> None:
    pictures = {
        "scene": _scene(),
        "black": np.zeros((50, 70, 3), np.uint8),
        "white": np.full((50, 70, 3), 255, np.uint8),
        "small": _scene()[:9, :11].copy(),
    }
    picture = pictures[kind]
    before = picture.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = enhance(picture, _scene(4))
    assert got.shape == picture.shape
    assert got.dtype == np.uint8
    assert (picture == before).all(), "a frame's pixels are not written to"


def test_grey_world_takes_a_cast_away() -> None:
    cast = np.clip(_scene() * np.array([1.0, 0.8, 0.5]), 0, 255).astype(np.uint8)
    means = enhancers.grey_world(cast, cast).reshape(-1, 3).mean(0)
    assert np.ptp(means) < 3 < np.ptp(cast.reshape(-1, 3).mean(0))


def test_a_picture_that_is_the_reference_keeps_its_histogram() -> None:
    scene = _scene()
    got = enhancers.match_histogram(scene, scene)
    assert np.abs(got.astype(int) - scene).max() <= 1
    dark = (scene * 0.4).astype(np.uint8)
    assert np.abs(enhancers.match_histogram(dark, scene).astype(int) - scene).mean() < 4


@pytest.mark.parametrize("enhance", [enhancers.retinex, enhancers.multi_retinex], ids=lambda f: f.__name__)
def test_a_retinex_evens_out_a_slope_of_the_light(enhance: Enhance) -> None:
    scene = np.full((240, 320, 3), 150, np.uint8)
    scene[::8] = 90
    slope = np.linspace(0.35, 1.0, 320)[None, :, None]
    lit = np.asarray(scene * slope, np.uint8)
    got = enhance(lit, lit).astype(float).mean((0, 2))
    middle = slice(60, 260)
    assert np.ptp(got[middle]) / got.mean() < 0.7 * np.ptp(lit.mean((0, 2))[middle]) / lit.mean()


def test_a_wide_surround_is_the_blur_it_stands_for() -> None:
    light = _scene().astype(np.float32) + 1
    exact = cv2.GaussianBlur(light, (0, 0), 24.0)
    inner = (slice(30, 90), slice(40, 120))
    assert np.abs(enhancers._surround(light, 24.0) - exact)[inner].mean() < 2.0


def test_contenders_have_names_of_their_own_and_say_where_they_come_from() -> None:
    everyone = (RAW, *BASELINES, OURS)
    assert len({one.name for one in everyone}) == len(everyone)
    assert all(one.note and one.title for one in everyone)
