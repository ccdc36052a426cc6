"""Has the camera moved since it was last registered? A few hundred microseconds on a 320 px grey.

Anchors on what does not sell are tracked from the picture of the last registration. Their shift, by quarter of the
picture, is the answer; how many of them look the same says how far it can be trusted (a shopper hides some).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.warp import Points, Warp

COUNT = 90
PATCH = 7
WINDOW = (11, 11)
SAME = 0.7
"""Normalized correlation at which an anchor looks the same."""
STILL_PX = 0.22
"""In the small grey (0.7 px at 960 px width)."""
MIN_SEEN = 10
MIN_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Motion:
    """How the picture moved against the last registration."""

    still: bool
    """Enough anchors look the same and none of the quarters has moved."""
    shift_px: float
    """The largest median shift of a quarter, in pixels of the small grey."""
    share: float
    """Anchors that look the same."""
    seen: int


class StillSensor:
    """Remembers one picture and compares others with it."""

    def __init__(self, points: Points) -> None:
        """`points` (n, 2): the anchors' places in the reference, best first."""
        self._reference = points
        self._points = np.zeros((0, 2), np.float32)
        self._key: Grey | None = None
        self._patches = np.zeros((0, PATCH * PATCH), np.float32)

    def remember(self, small: Grey, warp: Warp) -> None:
        """Take the small grey of a frame that was just registered."""
        height, width = small.shape
        scale = np.array([width / warp.size[0], height / warp.size[1]])
        places = (warp.points(self._reference) + 0.5) * scale - 0.5
        reach = PATCH
        shown = (places > reach).all(1) & (places < np.array([width, height]) - 1 - reach).all(1)
        self._points = places[shown][:COUNT].astype(np.float32)
        self._key = _even(small)
        self._patches = _patches(self._key, self._points)

    def compare(self, small: Grey) -> Motion:
        """Track the anchors into another small grey."""
        if self._key is None or self._key.shape != small.shape or len(self._points) < MIN_SEEN:
            return Motion(False, float("inf"), 0.0, 0)
        flat = _even(small)
        tracked, status, _ = cv2.calcOpticalFlowPyrLK(
            self._key, flat, self._points, self._points.copy(), winSize=WINDOW, maxLevel=1, criteria=(3, 10, 0.02)
        )
        found = np.asarray(tracked, np.float32)
        same = (status.ravel() == 1) & ((self._patches * _patches(flat, found)).sum(1) > SAME)
        seen = int(same.sum())
        if seen < MIN_SEEN:
            return Motion(False, float("inf"), seen / len(same), seen)
        shift = _largest_shift(self._points[same], (found - self._points)[same], small.shape)
        share = seen / len(same)
        return Motion(share >= MIN_SHARE and shift < STILL_PX, shift, share, seen)


def _largest_shift(points: NDArray[np.float32], moved: NDArray[np.float32], shape: tuple[int, ...]) -> float:
    """Median shift over all anchors and over each quarter of the picture that holds at least five."""
    quarter = (points[:, 0] > shape[1] / 2) * 2 + (points[:, 1] > shape[0] / 2)
    groups = [moved, *(moved[quarter == k] for k in range(4) if (quarter == k).sum() >= 5)]
    return max(float(np.hypot(*np.median(group, axis=0))) for group in groups)


def _even(grey: Grey) -> Grey:
    """The light taken out: local mean 128, one common contrast."""
    mean = cv2.blur(grey, (15, 15))
    flat = grey.astype(np.float32) - np.asarray(mean, np.float32)
    spread = max(2.0, float(cv2.norm(flat, cv2.NORM_L1)) / flat.size)
    return np.asarray(np.clip(flat * np.float32(24.0 / spread) + 128.0, 0, 255), np.uint8)


def _patches(grey: Grey, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, PATCH * PATCH) nearest-pixel surroundings, zero mean, unit length."""
    reach = PATCH // 2
    x = points[:, 0].round().astype(np.intp).clip(reach, grey.shape[1] - 1 - reach)
    y = points[:, 1].round().astype(np.intp).clip(reach, grey.shape[0] - 1 - reach)
    offset = np.arange(-reach, reach + 1)
    rows, columns = np.meshgrid(offset, offset, indexing="ij")
    values = grey[y[:, None] + rows.ravel(), x[:, None] + columns.ravel()].astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-3), np.float32)
