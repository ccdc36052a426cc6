"""What optics, sensor and encoder do to a lit scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from edge_runtime.records import Image
from edge_runtime.simulator.conditions import Conditions
from edge_runtime.simulator.geometry import Raster

_MID_GREY = 115.0
_BANK = (1200, 1600)
NOMINAL_WIDTH = 960.0
"""Blurs are given in pixels of a picture of this width."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """Optics, sensor and encoder of one frame. The defaults are a good camera."""

    defocus_px: float = 0.0
    motion_px: float = 0.0
    motion_angle: float = 0.0
    """Degrees."""
    resolution: float = 1.0
    snr_db: float = 44.0
    jpeg: int = 93
    smaller_file: bool = False
    """Deliver the resolved size instead of enlarging to the nominal one."""


def draw_sensor(rng: np.random.Generator, wanted: Conditions) -> Sensor:
    """Random directions for the magnitudes of `wanted`; the dark costs signal."""
    lost_db = 12.0 * math.log10(1 / wanted.night)
    return Sensor(
        wanted.defocus_px,
        wanted.motion_px,
        float(rng.uniform(0, 180)),
        wanted.resolution,
        max(8.0, wanted.snr_db - lost_db),
        round(wanted.jpeg),
    )


def exposed(scene: Raster, sensor: Sensor, rng: np.random.Generator) -> Image:
    """Expose a linear scene (float32 BGR, 1 = ceiling): blur, sampling, saturation, gamma, noise; uint8 BGR."""
    height, width = scene.shape[:2]
    scale = width / NOMINAL_WIDTH
    if sensor.defocus_px:
        scene = cv2.GaussianBlur(scene, (0, 0), sensor.defocus_px * scale)
    if sensor.motion_px * scale > 1:
        scene = cv2.filter2D(scene, -1, _path(sensor.motion_px * scale, sensor.motion_angle))
    if sensor.resolution < 1:
        small = (max(16, round(width * sensor.resolution)), max(12, round(height * sensor.resolution)))
        scene = cv2.resize(scene, small, interpolation=cv2.INTER_AREA)
    picture = _noisy(encoded(scene), sensor.snr_db, rng)
    if sensor.resolution < 1 and not sensor.smaller_file:
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return picture


def encoded(scene: Raster) -> Image:
    """Linear light, float32 and not negative -> uint8 with the gamma of `light.GAMMA`; above 1 saturates."""
    return np.asarray(cv2.convertScaleAbs(cv2.sqrt(scene), alpha=255), np.uint8)


def jpeg(picture: Image, quality: int) -> bytes:
    """A JPEG file's bytes."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise AssertionError("OpenCV did not encode a JPEG")
    return data.tobytes()


def _path(length: float, angle: float) -> Raster:
    """A straight motion path as a filter kernel."""
    size = int(length) | 1
    kernel = np.zeros((size, size), np.float32)
    c, reach = size // 2, length / 2
    dx, dy = reach * math.cos(math.radians(angle)), reach * math.sin(math.radians(angle))
    cv2.line(kernel, (round(c - dx), round(c - dy)), (round(c + dx), round(c + dy)), 1.0, 1, cv2.LINE_AA)
    return np.asarray(kernel / kernel.sum(), np.float32)


@lru_cache(maxsize=1)
def _bank() -> Raster:
    """Gaussian noise, sigma 32, int16, drawn from once: making it anew would cost more than the picture."""
    noise = np.random.default_rng(20_11).standard_normal((*_BANK, 3), np.float32) * 32
    return noise.astype(np.int16)


def _noisy(picture: Image, snr_db: float, rng: np.random.Generator) -> Image:
    """Add noise of even strength: shot noise goes with the root of the light, which the root of gamma evens out again."""
    sigma = _MID_GREY / 10 ** (snr_db / 20)
    height, width = picture.shape[:2]
    bank = _bank()
    if height > _BANK[0] or width > _BANK[1]:
        bank = np.tile(bank, (-(-height // _BANK[0]), -(-width // _BANK[1]), 1))
    y, x = (int(rng.integers(0, n + 1)) for n in (bank.shape[0] - height, bank.shape[1] - width))
    piece = bank[y : y + height, x : x + width][:: 1 if rng.random() < 0.5 else -1]
    grown = cv2.addWeighted(picture.astype(np.int16), 1.0, piece, sigma / 32, 0.0)
    return np.clip(grown, 0, 255).astype(np.uint8)
