"""Fusion of pixels: the median of a slot's last still crops."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Image

STILL = 0.9
"""Two crops of an unchanged slot correlate at least so much, after what light and noise do to them."""


class CropMedian:
    """Keeps up to `size` crops of each slot and gives their median, pixel by pixel.

    Crops in which something may stand in front are left out, all go when the camera has moved, and a slot's own go
    once two crops in a row look alike but not like the median: then something else stands there.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[list[Image]] = []

    def fuse(self, crops: Image, clear: NDArray[np.bool_], moved: bool) -> Image:
        """(slots, h, w, 3) uint8: the medians with this capture in them."""
        if moved or not self._kept:
            self._kept = [[] for _ in crops]
        fused = crops.copy()
        for slot, kept in enumerate(self._kept):
            if not clear[slot]:
                if kept:
                    fused[slot] = self._median(kept)
                continue
            kept.append(crops[slot].copy())
            del kept[: -self._size]
            if len(kept) >= 3 and not _alike(kept[-1], self._median(kept[:-2])) and _alike(kept[-1], kept[-2]):
                del kept[:-2]
            fused[slot] = self._median(kept)
        return fused

    @staticmethod
    def _median(kept: list[Image]) -> Image:
        """Odd-even transposition sort (Knuth, vol. 3, 5.3.4): whole crops are compared at once."""
        lanes = list(kept)
        for turn in range(len(lanes)):
            for k in range(turn % 2, len(lanes) - 1, 2):
                lanes[k], lanes[k + 1] = np.minimum(lanes[k], lanes[k + 1]), np.maximum(lanes[k], lanes[k + 1])
        return lanes[len(lanes) // 2] if len(lanes) > 2 else kept[-1]


def _alike(a: Image, b: Image) -> bool:
    small = [cv2.resize(p, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() for p in (a, b)]
    first, second = (p - p.mean() for p in small)
    return float(first @ second) >= STILL * float(np.linalg.norm(first) * np.linalg.norm(second))
