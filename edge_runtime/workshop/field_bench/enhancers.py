"""Textbook picture enhancers, ungated: what people put in front of a model when the light is wrong.

Each takes a picture and the commissioned one, both (h, w, 3) BGR uint8, and returns a new picture of the first's size.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Image

CLIP_LIMIT, TILES = 2.0, (8, 8)
SURROUND = 80.0
"""Sigma in pixels of the single-scale surround (Jobson et al. 1997a)."""
SURROUNDS = (15.0, 80.0, 250.0)
"""Those of the multi-scale one (Jobson et al. 1997b), equal weights."""
RESTORE_GAIN, RESTORE_SLOPE = 125.0, 46.0
TAILS = (1.0, 99.0)
"""Percentiles that become black and white after a Retinex."""
_FINE = 8.0
"""A surround wider than this is blurred at a coarser scale: the same result within a grey level, 50 times sooner."""
_ROUNDING = 1e-9

F32 = NDArray[np.float32]


def grey_world(picture: Image, reference: Image) -> Image:
    """Scale the channels so that their means are equal (Buchsbaum, A spatial processor model, 1980)."""
    del reference
    means = np.maximum(picture.reshape(-1, 3).mean(0), 1.0)
    return _bytes(picture * (means.mean() / means).astype(np.float32))


def clahe(picture: Image, reference: Image) -> Image:
    """Contrast-limited adaptive histogram equalization of the lightness (Zuiderveld, Graphics Gems IV, 1994)."""
    del reference
    lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)
    lab[..., 0] = cv2.createCLAHE(CLIP_LIMIT, TILES).apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.uint8)


def match_histogram(picture: Image, reference: Image) -> Image:
    """Give every channel the reference's histogram (Gonzalez and Woods, Digital Image Processing, 3.3.2)."""
    matched = np.empty_like(picture)
    for channel in range(3):
        own, wanted = (_cumulative(p[..., channel]) for p in (picture, reference))
        levels = np.minimum(np.searchsorted(wanted, own - _ROUNDING), 255).astype(np.uint8)
        matched[..., channel] = cv2.LUT(np.ascontiguousarray(picture[..., channel]), levels)
    return matched


def retinex(picture: Image, reference: Image) -> Image:
    """Single-scale Retinex (Jobson, Rahman, Woodell, Properties of a center/surround Retinex, 1997)."""
    del reference
    light = picture.astype(np.float32) + 1.0
    return _stretched(np.log(light) - np.log(_surround(light, SURROUND)))


def multi_retinex(picture: Image, reference: Image) -> Image:
    """Multi-scale Retinex with colour restoration (Jobson, Rahman, Woodell, A multiscale Retinex, 1997)."""
    del reference
    light = picture.astype(np.float32) + 1.0
    logs = np.log(light)
    detail = np.mean([logs - np.log(_surround(light, sigma)) for sigma in SURROUNDS], axis=0)
    colour = RESTORE_SLOPE * (np.log(RESTORE_GAIN * light) - np.log(light.sum(2, keepdims=True)))
    return _stretched(np.asarray(detail * colour, np.float32))


def _surround(light: F32, sigma: float) -> F32:
    """A Gaussian blur of any width."""
    shrink = max(1.0, sigma / _FINE)
    height, width = light.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA) if shrink > 1 else light
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    wide = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR) if shrink > 1 else blurred
    return np.maximum(np.asarray(wide, np.float32), 1.0)


def _stretched(values: F32) -> Image:
    low, high = np.percentile(values[::4, ::4], TAILS)
    return _bytes((values - low) * (255.0 / max(1e-6, float(high - low))))


def _cumulative(channel: NDArray[np.uint8]) -> NDArray[np.float64]:
    counts = np.bincount(channel.ravel(), minlength=256)
    return np.asarray(np.cumsum(counts) / channel.size, np.float64)


def _bytes(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values + 0.5, 0, 255), np.uint8)
