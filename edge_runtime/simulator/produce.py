"""Fruit and vegetables that nobody grew: lobed, mottled bodies alone or in a heap, from a seed."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.simulator import designs
from edge_runtime.simulator.geometry import Raster


def heap(rng: np.random.Generator, side: int) -> Raster:
    """One to four pieces of one kind, BGRA uint8, cropped to what is there; at most `side` pixels tall or wide."""
    kind = int(rng.integers(2**31))
    count = int(rng.choice([1, 1, 1, 2, 3, 4]))
    canvas = np.zeros((side, side, 4), np.uint8)
    for k in range(count):
        size = side * (0.96 if count == 1 else float(rng.uniform(0.5, 0.66)))
        piece = _piece(np.random.default_rng(kind), rng, int(size), count > 1)
        room = side - int(size)
        x = room // 2 if count == 1 else int(room * k / (count - 1))
        y = room if count == 1 or k % 2 == 0 else int(room * rng.uniform(0.2, 0.9))
        area = canvas[y : y + int(size), x : x + int(size)]
        solid = piece[..., 3:].astype(np.float32) / 255
        area[..., :3] = (area[..., :3] * (1 - solid) + piece[..., :3] * solid).astype(np.uint8)
        area[..., 3] = np.maximum(area[..., 3], piece[..., 3])
    x, y, w, h = cv2.boundingRect(canvas[..., 3])
    return np.ascontiguousarray(canvas[y : y + h, x : x + w])


def _piece(kind: np.random.Generator, rng: np.random.Generator, size: int, turned: bool) -> Raster:
    """One body: `kind` draws what all pieces share, `rng` what differs between them."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    angle = float(rng.uniform(0, 2 * np.pi)) if turned else float(kind.uniform(-0.4, 0.4))
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    slim = float(np.exp(kind.uniform(-1.1, 0.1)))
    theta = np.arctan2(v, u)
    lobes = 1 + float(kind.uniform(0, 0.1)) * np.cos(int(kind.integers(2, 6)) * theta + float(kind.uniform(0, 6)))
    taper = 1 + float(kind.uniform(-0.35, 0.35)) * u
    reach = np.sqrt(u**2 + (v / (slim * taper)) ** 2) / (0.93 * lobes)
    alpha = np.clip((1 - reach) * size * 0.25, 0, 1)
    skin, blush = (np.array(designs.colour(kind), np.float32) for _ in range(2))
    mottle = np.clip(designs.noise(rng, size, size, int(kind.integers(2, 9))) * 1.6 - 0.4, 0, 1)[..., None]
    fine = 1 + (designs.noise(rng, size, size, int(kind.integers(12, 40)))[..., None] - 0.5) * float(
        kind.uniform(0, 0.5)
    )
    bulge = np.sqrt(np.clip(1 - reach**2, 0, 1))
    lamp = np.exp(-((x + 0.25) ** 2 + (y + 0.4) ** 2) / float(kind.uniform(0.02, 0.2))) * float(kind.uniform(0, 90))
    colour = (skin + (blush - skin) * mottle * float(kind.uniform(0, 0.9))) * fine * (0.45 + 0.6 * bulge)[..., None]
    return np.dstack([np.clip(colour + lamp[..., None], 0, 255), alpha * 255]).astype(np.uint8)
