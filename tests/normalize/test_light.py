from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import CropSpec, LightDecision, View
from tests.normalize.painted import frame, layout, noisy, shelf

SPEC = CropSpec((64, 64), 0.1)


@pytest.fixture(scope="module")
def normalizer() -> Normalizer:
    return _lit()


def _view(normalizer: Normalizer, image: np.ndarray) -> View:
    view = normalizer.normalize(frame(np.clip(image, 0, 255).astype(np.uint8)))
    assert isinstance(view, View), view
    return view


def _off(view: View, reference: np.ndarray) -> float:
    return float(np.abs(view.crops.astype(float) - reference).mean())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.floats(0, 4), st.sets(st.integers(0, 14), max_size=8))
def test_the_commissioned_light_is_left_alone(seed: int, sigma: float, sold: set[int]) -> None:
    view = _view(_lit(), noisy(shelf(empty=sold, swapped=(1, 4)), sigma, seed))
    assert not view.light.applied
    assert view.light.decision is LightDecision.COMMISSIONED
    assert view.light.residual_after < 0.05


@pytest.mark.parametrize("gain", [(0.4,) * 3, (0.7, 0.8, 1.0), (1.25, 1.1, 0.9), (0.55, 0.6, 0.7)])
def test_a_gain_of_the_light_is_taken_back(normalizer: Normalizer, gain: tuple[float, ...]) -> None:
    view = _view(normalizer, noisy(shelf() * np.array(gain)))
    assert view.light.applied
    assert view.light.residual_after < 0.4 * view.light.residual_before
    assert np.allclose(np.array(view.light.gain) * gain, 1.0, atol=0.06)
    assert _off(view, normalizer.reference_crops) < 6


def test_a_side_gradient_is_taken_back(normalizer: Normalizer) -> None:
    ramp = np.exp(np.linspace(-0.7, 0.5, 960))[None, :, None]
    view = _view(normalizer, noisy(shelf() * ramp * 0.8))
    assert view.light.applied
    assert _off(view, normalizer.reference_crops) < 8


def test_mains_bands_are_taken_back(normalizer: Normalizer) -> None:
    bands = 0.85 + 0.15 * np.sin(2 * np.pi * 4.5 * np.arange(720) / 720)[:, None, None]
    image = noisy(shelf() * bands * 0.9)
    view = _view(normalizer, image)
    assert view.light.applied
    assert _off(view, normalizer.reference_crops) < 0.6 * _off(_view(_unlit(), image), normalizer.reference_crops)


def test_a_hard_shadow_is_lifted_or_left_but_never_made_worse(normalizer: Normalizer) -> None:
    image = shelf().astype(float)
    image[:, :420] *= 0.45
    plain = _off(_view(_unlit(), image), normalizer.reference_crops)
    view = _view(normalizer, noisy(image))
    assert _off(view, normalizer.reference_crops) < 0.75 * plain


def test_a_shopper_is_no_change_of_the_light(normalizer: Normalizer) -> None:
    image = shelf()
    image[100:, 330:520] = (150, 60, 40)
    view = _view(normalizer, noisy(image))
    hidden = [k for k in range(15) if k % 5 in (1, 2)]
    clear = [k for k in range(15) if k % 5 in (0, 4)]
    off = np.abs(view.crops.astype(float) - normalizer.reference_crops).mean((1, 2, 3))
    assert off[clear].max() < 4
    assert off[hidden].min() > 10


def test_what_is_saturated_is_reported_and_not_painted_white(normalizer: Normalizer) -> None:
    image = shelf().astype(float) * 1.6
    image[60:220, 110:258] = noisy(np.full((160, 148, 3), 252.0), 4.0)
    view = _view(normalizer, image)
    assert view.quality.saturated[0] > 0.6
    assert view.light.applied
    inside = view.crops[0, 12:50, 12:50].astype(float)
    assert np.allclose(inside.mean((0, 1)), 251 * np.array(view.light.gain), atol=8)
    assert inside.std() < 6, "no mottling where the sensor clips"


def test_glare_beside_a_slot_does_not_hide_it(normalizer: Normalizer) -> None:
    image = shelf().astype(float)
    image[:58] = 255
    image[:, :108] = 255
    view = normalizer.normalize(frame(image.astype(np.uint8)))
    assert isinstance(view, View)
    assert view.quality.saturated[0] < 0.05


def test_glare_in_the_commissioned_light_stays_white(normalizer: Normalizer) -> None:
    image = shelf().astype(float)
    image[60:220, 110:258] = 255
    view = _view(normalizer, image)
    assert not view.light.applied
    assert (view.crops[0, 12:50, 12:50] == 255).all()


def test_light_can_be_switched_off() -> None:
    view = _view(_unlit(), shelf() * 0.5)
    assert not view.light.applied
    assert view.light.decision is LightDecision.OFF
    assert view.light.detail == "off"


def test_most_of_the_rails_clipped_still_gives_the_right_gain(normalizer: Normalizer) -> None:
    ramp = np.linspace(1.15, 1.45, 960)[None, :, None]
    view = _view(normalizer, noisy(shelf() * ramp))
    assert view.light.usable < 0.7
    assert view.light.decision is LightDecision.APPLIED
    off = np.abs(view.crops.astype(float) - normalizer.reference_crops)
    clear = (view.crops < 150).all(-1)
    assert off[clear].mean() < 8


def test_a_picture_with_nothing_between_black_and_the_ceiling_is_left_alone(normalizer: Normalizer) -> None:
    glaring = np.where(shelf() > 130, 255, 0)
    view = _view(normalizer, glaring)
    assert not view.light.applied
    assert view.light.decision is LightDecision.UNSEEN


def test_strangers_over_most_of_the_rails_are_no_light(normalizer: Normalizer) -> None:
    rng = np.random.default_rng(3)
    colours = cv2.resize(
        rng.integers(20, 200, (9, 12, 3)).astype(np.uint8), (960, 720), interpolation=cv2.INTER_NEAREST
    )
    image = shelf()
    image[:, 280:] = colours[:, 280:]
    view = normalizer.normalize(frame(image))
    assert view.light.decision is not LightDecision.APPLIED


def test_coarse_noise_is_noise_too(normalizer: Normalizer) -> None:
    clean = _view(normalizer, noisy(shelf(), 1.5))
    rng = np.random.default_rng(5)
    patches = cv2.resize(rng.normal(0, 16, (60, 80, 3)).astype(np.float32), (960, 720), interpolation=cv2.INTER_CUBIC)
    assert _view(normalizer, np.clip(shelf() + patches, 0, 255)).noise > clean.noise + 5


@cache
def _lit() -> Normalizer:
    return Normalizer(layout(), shelf(), SPEC, NormalizeSettings(stateless=True))


@cache
def _unlit() -> Normalizer:
    return Normalizer(layout(), shelf(), SPEC, NormalizeSettings(stateless=True, light=False))
