"""Is this the commissioned shelf? What is written on its rails says so.

Bays of one chain share fixtures, rails and products; where every price tag hangs and what it says they do not share.
So identity is the correlation, over the rails, of how the picture changes along x, between the reference and the frame
brought to it. Boards, rail edges and shadows run along x and do not count; a fit that is off by a tag's stroke does not
correlate either, so a high figure also says that the geometry is right.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.structure import bay_mask, rail_mask, slot_mask
from edge_runtime.normalize.warp import Warp
from edge_runtime.records import Layout

STEP = 25
"""A horizontal change (Sobel, of the locally normalized picture) from which there is something to see ..."""
MOST = 60
"""... and above which more of it does not count for more: no single bright edge decides."""
MIN_PIXELS, MIN_COLUMNS = 300, 4
COLUMNS = 8
RAILS, ELSEWHERE = 0.40, 0.60
"""Least correlation that is believed, on rails and where rails show too little and fixtures must stand in."""

Steps = NDArray[np.float32]


class Identity:
    """What one reference shows on its rails, at the anchors' working size."""

    def __init__(self, layout: Layout, flat: Grey) -> None:
        """`flat` is the locally normalized working reference."""
        self._size = layout.image_size
        steps = _steps(flat)
        chosen, self.needed = _telling(layout, flat, np.abs(steps) >= STEP)
        chosen[1::2] = False  # what is written changes little from one line to the next
        self._places = np.flatnonzero(chosen)
        self._steps = _limited(steps, self._places)
        height, width = flat.shape
        scale = np.array([self._size[0] / width, self._size[1] / height])
        rows, columns = np.divmod(self._places, width)
        self._points = ((np.stack([columns, rows], 1) + 0.5) * scale - 0.5).astype(np.float32)

    def agreement(self, seen: Grey, warp: Warp) -> float:
        """-1..1 between the reference and the frame that `warp` brought to it, over what the frame shows; 0 for nothing.

        `seen` is `Anchors.unwarped` of the frame with that warp.
        """
        if len(self._places) == 0:
            return 0.0
        places = warp.grid(self._points)
        shown = (places > 2).all(1) & (places < np.array(warp.size, np.float32) - 3).all(1)
        if shown.sum() < MIN_PIXELS:
            return 0.0
        own = self._steps[shown]
        found = _limited(_steps(seen), self._places[shown])
        return float(own @ found / max(float(np.linalg.norm(own) * np.linalg.norm(found)), 1e-3))


def _telling(layout: Layout, flat: Grey, changes: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    """Where to look, and how much agreement is asked for there: rails; else all that is not slots; else everything."""
    size = (flat.shape[1], flat.shape[0])
    rails = rail_mask(layout)
    beside = np.asarray(cv2.bitwise_and(cv2.bitwise_not(slot_mask(layout)), bay_mask(layout)), np.uint8)
    for mask, needed in ((rails, RAILS), (beside, ELSEWHERE)):
        small = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)) > 0
        seen = changes & small
        if seen.sum() >= MIN_PIXELS and _columns(seen) >= MIN_COLUMNS:
            return small, needed
    return np.ones_like(changes), ELSEWHERE


def _columns(seen: NDArray[np.bool_]) -> int:
    """Of COLUMNS upright strips of the picture, those that hold a fair part of what is to be seen."""
    parts = np.array([part.sum() for part in np.array_split(seen, COLUMNS, axis=1)])
    return int((parts >= 0.02 * parts.sum()).sum())


def _steps(flat: Grey) -> NDArray[np.int16]:
    """(height, width) change along x."""
    return np.asarray(cv2.Sobel(cv2.GaussianBlur(flat, (5, 5), 1.0), cv2.CV_16S, 1, 0, ksize=3), np.int16)


def _limited(steps: NDArray[np.int16], places: NDArray[np.intp]) -> Steps:
    return np.asarray(np.clip(steps.ravel()[places], -MOST, MOST), np.float32)
