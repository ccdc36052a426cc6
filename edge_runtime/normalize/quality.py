"""Sharpness and noise of a registered frame, measured where nothing sells."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.warp import Points, Warp
from edge_runtime.records import Image

SIDE = 17
COUNT = 48
CEILING = 250
"""A level at or above this is the sensor's ceiling: what was there is not known."""

F32 = NDArray[np.float32]


class SharpnessGauge:
    """Fine against coarse detail around static corners of the reference, against the reference's own."""

    def __init__(self, points: Points, reference: Image) -> None:
        """`points` (n, 2): static corners in the reference, best first."""
        self._points = points[:COUNT]
        offsets = np.arange(SIDE, dtype=np.float64) - SIDE // 2
        dx, dy = np.meshgrid(offsets, offsets)
        ring = np.stack([dx.ravel(), dy.ravel()], 1)
        self._grid = (self._points[:, None, :] + ring[None]).reshape(-1, 2).astype(np.float32)
        self._aimed: Warp | None = None
        self._maps = np.zeros((0, SIDE, 2), np.float32)
        self._own: F32 = np.zeros(0, np.float32)
        if len(self._points):
            size = (reference.shape[1], reference.shape[0])
            self._own = self._fineness(reference, Warp(np.eye(3), size), 0.0)

    def read(self, image: Image, warp: Warp, noise: float) -> float:
        """1 is as sharp as at commissioning, 0 shows no fine detail at all; `noise` (levels) is taken out.

        Where too few corners can be seen to tell, the answer is 1.
        """
        if not (self._own > 0).any():
            return 1.0
        seen = self._fineness(image, warp, noise)
        usable = np.isfinite(seen) & (self._own > 0.02)
        if usable.sum() < 4:
            return 1.0
        return float(np.clip(np.median(seen[usable] / self._own[usable]), 0.0, 1.5))

    def _fineness(self, image: Image, warp: Warp, noise: float) -> F32:
        if warp is not self._aimed:
            self._aim(warp)
        green = cv2.remap(image, self._maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        values = np.asarray(green, np.float32)[:, :, 1].reshape(-1, SIDE, SIDE)
        fine = values[:, 1:-1, 1:-1] * 4 - values[:, :-2, 1:-1] - values[:, 2:, 1:-1] - values[:, 1:-1, :-2]
        fine = (fine - values[:, 1:-1, 2:]) / np.float32(np.sqrt(20.0))
        energy = np.maximum((fine**2).mean((1, 2)) - noise**2, 0.0)
        coarse = values.var((1, 2))
        ratio = np.sqrt(energy / np.maximum(coarse, 1.0))
        ratio[(coarse < 4.0 + 2.0 * noise**2) | ~self._shown] = np.nan
        return np.asarray(ratio, np.float32)

    def _aim(self, warp: Warp) -> None:
        maps = warp.grid(self._grid)
        parts = maps.reshape(len(self._points), -1, 2)
        limit = np.array(warp.size) - 1
        self._shown = np.asarray((parts >= 0).all((1, 2)) & (parts <= limit).all((1, 2)), np.bool_)
        self._maps = maps.reshape(-1, SIDE, 2)
        self._aimed = warp


def noise_of(spreads: F32, seen: NDArray[np.bool_]) -> float:
    """Noise sigma in grey levels from the spread of flat probes."""
    return float(np.percentile(spreads[seen], 40)) if seen.sum() >= 8 else 0.0


def saturated_share(crops: Image, margin: float = 0.0) -> F32:
    """(n,) share of each crop, (n, h, w, 3), where all three channels stand at the sensor's ceiling.

    Only the slot proper counts: `margin`, as in `CropSpec`, is left out. What the shelf around a slot has lost can not
    hide what stands in it.
    """
    inner = crops[:, _core(crops.shape[1], margin), _core(crops.shape[2], margin)]
    flat = np.ascontiguousarray(inner).reshape(-1, inner.shape[2], 3)
    lost = cv2.inRange(flat, (CEILING, CEILING, CEILING), (255, 255, 255))
    shares = np.asarray(lost, np.uint8).reshape(inner.shape[:3]).mean((1, 2), dtype=np.float32)
    return np.asarray(shares / np.float32(255.0), np.float32)


def _core(count: int, margin: float) -> slice:
    """The pixels along a side whose middles lie in the slot, not in its margin."""
    first = int(np.ceil(margin / (1 + 2 * margin) * count - 0.5))
    return slice(first, count - first)
