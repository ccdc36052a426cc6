"""Light and sensor do what their parameters say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_runtime.simulator.conditions import conditions
from edge_runtime.simulator.light import DAYLIGHT, Lighting, channel_gains, draw_lighting, linear, lit
from edge_runtime.simulator.sensor import Sensor, encoded, exposed, jpeg

GREY = np.full((240, 320, 3), 120, np.uint8)
SILENT = Sensor(snr_db=90)


def _shot(light: Lighting, sensor: Sensor = SILENT, picture: np.ndarray = GREY) -> np.ndarray:
    return exposed(lit(picture, light), sensor, np.random.default_rng(0))


def test_plain_light_and_a_silent_sensor_change_nothing() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (16, 1, 3))
    assert np.abs(_shot(DAYLIGHT, picture=ramp).astype(int) - ramp).max() <= 2


def test_one_stop_doubles_linear_light() -> None:
    brighter = linear(_shot(Lighting(exposure_ev=1.0))).mean() / linear(GREY).mean()
    assert brighter == pytest.approx(2.0, rel=0.03)


def test_a_warmer_lamp_is_redder() -> None:
    blue, green, red = channel_gains(-1500)
    assert green == pytest.approx(1.0)
    assert blue < 1 < red
    assert channel_gains(1500)[0] > 1


def test_gradient_is_the_ratio_between_the_sides() -> None:
    picture = linear(_shot(Lighting(gradient=4.0)))[120].mean(1)
    assert picture[-1] / picture[0] == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glare_saturates_about_the_share_asked_for(severity: int) -> None:
    wanted = conditions("glare", severity)
    shares = []
    for seed in range(12):
        light = draw_lighting(np.random.default_rng(seed), wanted)
        shares.append(float((_shot(light, picture=np.full((240, 320, 3), 60, np.uint8)) > 250).mean()))
    assert 0.4 * wanted.glare < np.mean(shares) < 2.0 * wanted.glare


def test_a_shadow_has_a_hard_edge() -> None:
    light = Lighting(shadow=0.6, shadow_outline=((-0.1, -0.1), (0.5, -0.1), (0.5, 1.1), (-0.1, 1.1)))
    line = linear(_shot(light))[120].mean(1)
    assert line[20] / line[-20] == pytest.approx(0.4, rel=0.05)
    assert line[150] < 0.5 * line[170]


@pytest.mark.parametrize("decibel", [30, 22, 12])
def test_noise_has_the_strength_asked_for(decibel: float) -> None:
    noise = _shot(DAYLIGHT, Sensor(snr_db=decibel)).astype(float)
    assert 20 * np.log10(115 / noise.std()) == pytest.approx(decibel, abs=1.0)


def test_blur_motion_and_resolution_take_detail_away() -> None:
    fine = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    sharp = cv2.Laplacian(fine, cv2.CV_64F).std()
    for sensor in (Sensor(defocus_px=4, snr_db=90), Sensor(motion_px=30, snr_db=90), Sensor(resolution=0.4, snr_db=90)):
        assert cv2.Laplacian(_shot(DAYLIGHT, sensor, fine), cv2.CV_64F).std() < 0.5 * sharp


def test_a_smaller_file_can_be_delivered() -> None:
    assert _shot(DAYLIGHT, Sensor(resolution=0.5, smaller_file=True)).shape == (120, 160, 3)


def test_encoding_saturates_and_compresses() -> None:
    assert encoded(np.array([[[0.0, 1.0, 7.0]]], np.float32)).tolist() == [[[0, 255, 255]]]
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(jpeg(noise, 8)) < len(jpeg(noise, 60)) < len(jpeg(noise, 95))
