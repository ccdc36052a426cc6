"""Anchors: corners of the reference that are found again near where a first registration puts them.

They give the sub-pixel warp (pyramidal Lucas-Kanade on locally normalized pictures) and the evidence that this is the
commissioned shelf and not one that only shares its rails: an anchor agrees if its surroundings look the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.features import Grey, working_grey
from edge_runtime.normalize.structure import at, bay_mask, rail_mask, slot_mask
from edge_runtime.normalize.warp import Points, Warp
from edge_runtime.records import Layout

WIDTH = 640
"""Anchors are sought on a reference of at most this width."""
CELL = 54
"""Anchors are spread over square cells of this many working pixels ..."""
PER_CELL, STATIC_PER_CELL, RAIL_PER_CELL = 4, 4, 7
"""... and this many are taken in each, of all, outside slots, and on rails."""
CORNER = 6e-4
"""Least eigenvalue of a corner (cv2.cornerMinEigenVal); plain walls and rails with sensor noise stay under 0.5e-4."""
MIN_STATIC = 30
"""Anchors outside slots that are enough to watch a still camera by."""
PATCH = 13
"""Working pixels along the surroundings that must look the same."""
WINDOW = (17, 17)
AGREE = 0.6
"""Normalized correlation at which an anchor's surroundings are the same."""
REACH = 24.0
"""Working pixels within which an anchor is sought."""
RAIL_WEIGHT, STATIC_WEIGHT, SLOT_WEIGHT, FAR_WEIGHT = 1.0, 0.25, 0.3, 0.1
"""Rails lie in the front plane; panels stand behind it, products sell and stand at any depth, walls are far away."""


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Anchors found in one frame."""

    source: Points
    """(n, 2) reference pixels, all anchors that lie in the frame."""
    target: Points
    """(n, 2) frame pixels."""
    correlation: NDArray[np.float64]
    """(n,) -1..1 between the surroundings in reference and frame; -1 where tracking failed."""
    weights: NDArray[np.float64]
    """(n,) RAIL_WEIGHT, STATIC_WEIGHT, SLOT_WEIGHT or FAR_WEIGHT."""
    static: NDArray[np.bool_]
    """(n,) on what does not sell."""
    off: NDArray[np.float64]
    """(n,) how far from the expected place, in reference pixels."""
    picture: Grey | None = None
    """The frame brought to the working reference by the expected warp (`Anchors.unwarped`); None where that shows none."""

    @property
    def rail(self) -> NDArray[np.bool_]:
        return np.asarray(self.weights == RAIL_WEIGHT, np.bool_)

    @property
    def agree(self) -> NDArray[np.bool_]:
        return np.asarray(self.correlation >= AGREE, np.bool_)


class Anchors:
    """The anchors of one reference picture."""

    def __init__(self, layout: Layout, reference: Grey) -> None:
        self._size = layout.image_size
        self._grey = working_grey(reference, WIDTH)
        self._scale = np.array([self._size[0] / self._grey.shape[1], self._size[1] / self._grey.shape[0]])
        bay = bay_mask(layout)
        static = np.asarray(cv2.bitwise_and(cv2.bitwise_not(slot_mask(layout)), bay), np.uint8)
        rails = rail_mask(layout)
        wanted = ((rails, RAIL_PER_CELL), (static, STATIC_PER_CELL), (None, PER_CELL))
        found = [_corners(self._grey, m if m is None else _shrink(m, self._grey), count) for m, count in wanted]
        self._points = _apart(np.concatenate(found))
        full = (self._points + 0.5) * self._scale - 0.5
        self._full = full
        self.static = at(static, full)
        kinds = np.where(at(bay, full), SLOT_WEIGHT, FAR_WEIGHT)
        kinds = np.where(self.static, STATIC_WEIGHT, kinds)
        self._weights = np.asarray(np.where(at(rails, full), RAIL_WEIGHT, kinds), np.float64)
        self._flat = _locally_normalized(self._grey)
        self._patches = _patches(self._flat, self._points)

    @property
    def static_points(self) -> Points:
        """(n, 2) reference pixels of anchors on what does not sell, rails first, spread over the picture."""
        return self._ranked(np.flatnonzero(self.static))

    @property
    def steady_points(self) -> Points:
        """As `static_points`; where slots leave next to nothing else to see, anchors on products stand in."""
        static = np.flatnonzero(self.static)
        return self._ranked(static if len(static) >= MIN_STATIC else np.arange(len(self.static)))

    def _ranked(self, chosen: NDArray[np.intp]) -> Points:
        order = np.asarray(Random(0).sample(range(len(chosen)), len(chosen)), np.intp)  # numpy.random weighs 2.6 MB
        ranked = order[np.argsort(-self._weights[chosen[order]], kind="stable")]
        return np.asarray(self._full[chosen[ranked]], np.float64)

    def sight(self, grey: Grey, warp: Warp) -> Sightings:
        """Look for every anchor near where `warp` puts it; `grey` is the full-size frame."""
        expected = warp.points(self._full)
        shown = np.flatnonzero((expected > 2).all(1) & (expected < np.array(warp.size) - 3).all(1))
        if len(shown) == 0:
            return _nothing()
        seen = self.unwarped(grey, warp)
        start = self._points[shown].astype(np.float32)
        tracked, status, _ = cv2.calcOpticalFlowPyrLK(
            self._flat, seen, start, start.copy(), winSize=WINDOW, maxLevel=2, criteria=(3, 12, 0.02)
        )
        found = np.asarray(tracked, np.float32)
        off = np.hypot(*(found - start).T)
        correlation = (self._patches[shown] * _patches(seen, found)).sum(1)
        correlation[(status.ravel() == 0) | (off > REACH)] = -1.0
        target = warp.points((found.astype(np.float64) + 0.5) * self._scale - 0.5)
        correlation[~np.isfinite(target).all(1)] = -1.0
        return Sightings(
            self._full[shown],
            target,
            correlation.astype(np.float64),
            self._weights[shown],
            self.static[shown],
            off * self._scale[0],
            seen,
        )

    @property
    def flat(self) -> Grey:
        """The working reference, locally normalized."""
        return self._flat

    def unwarped(self, grey: Grey, warp: Warp) -> Grey:
        """The full-size frame brought to the anchors' working reference, locally normalized."""
        height, width = self._grey.shape
        small, factor = grey, 1.0
        while small.shape[1] >= 1.5 * width:
            small = np.asarray(cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            factor *= 0.5
        step = 16
        xs, ys = np.meshgrid(np.arange(0, width + step, step), np.arange(0, height + step, step))
        coarse = (np.stack([xs, ys], -1) + 0.5) * self._scale - 0.5
        maps = (warp.grid(coarse.astype(np.float32)) + np.float32(0.5)) * np.float32(factor) - np.float32(0.5)
        dense = _upsample(maps, step, (width, height))
        seen = cv2.remap(small, dense, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return _locally_normalized(np.asarray(seen, np.uint8))


def _nothing() -> Sightings:
    """No anchor lies in the frame."""
    none, nowhere = np.zeros(0), np.zeros((0, 2))
    return Sightings(nowhere, nowhere, none, none, np.zeros(0, np.bool_), none)


def _upsample(coarse: NDArray[np.float32], step: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear values at every pixel of maps that are given at every `step`-th."""
    width, height = size
    matrix = np.array([[1 / step, 0, 0], [0, 1 / step, 0]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(coarse, matrix, (width, height), flags=flags), np.float32)


def _corners(grey: Grey, mask: Grey | None, per_cell: int) -> Points:
    """Strong corners, spread over a grid so that no bright poster takes them all."""
    height, width = grey.shape
    strength = np.asarray(cv2.cornerMinEigenVal(grey, 5), np.float32)
    found = []
    for top in range(0, height, CELL):
        for left in range(0, width, CELL):
            part = grey[top : top + CELL, left : left + CELL]
            inside = None if mask is None else mask[top : top + CELL, left : left + CELL]
            corners = cv2.goodFeaturesToTrack(part, per_cell, 0.02, 5, mask=inside, blockSize=5)
            if corners is not None:
                found.append(np.asarray(corners, np.float64).reshape(-1, 2) + np.array([left, top]))
    points = np.concatenate(found) if found else np.zeros((0, 2))
    border = PATCH // 2 + 1
    keep = (points >= border).all(1) & (points < np.array([width - border, height - border])).all(1)
    points = points[keep]
    whole = points.astype(np.intp)
    return np.asarray(points[strength[whole[:, 1], whole[:, 0]] >= CORNER], np.float64)


def _apart(points: Points) -> Points:
    """Each place once: of points nearer than three working pixels the first stays."""
    _, first = np.unique((points / 3.0).round().astype(np.intp), axis=0, return_index=True)
    return points[np.sort(first)]


def _shrink(mask: Grey, like: Grey) -> Grey:
    return np.asarray(cv2.resize(mask, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)


def _locally_normalized(grey: Grey) -> Grey:
    """Local mean 128, local spread 40: the same for any gain, offset or slow gradient of the light."""
    values = np.asarray(cv2.GaussianBlur(grey, (3, 3), 0.8), np.float32)
    values -= np.asarray(cv2.boxFilter(values, cv2.CV_32F, (31, 31)), np.float32)
    spread = cv2.sqrt(cv2.max(cv2.sqrBoxFilter(values, cv2.CV_32F, (31, 31)), 0.0))  # type: ignore[call-overload]
    even = cv2.divide(values, cv2.add(spread, 4.0), scale=40.0)  # type: ignore[call-overload]
    return np.asarray(cv2.add(even, 128.0, dtype=cv2.CV_8U), np.uint8)  # type: ignore[call-overload]


def _patches(grey: Grey, points: Points | NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, PATCH * PATCH) surroundings, zero mean, unit length."""
    if len(points) == 0:
        return np.zeros((0, PATCH * PATCH), np.float32)
    offsets = np.arange(PATCH, dtype=np.float32) - PATCH // 2
    x = points[:, 0, None, None].astype(np.float32) + offsets[None, None, :]
    y = points[:, 1, None, None].astype(np.float32) + offsets[None, :, None]
    shape = (len(points) * PATCH, PATCH)
    x, y = np.broadcast_to(x, (len(points), PATCH, PATCH)), np.broadcast_to(y, (len(points), PATCH, PATCH))
    read = cv2.remap(grey, x.reshape(shape).copy(), y.reshape(shape).copy(), cv2.INTER_LINEAR)
    values = np.asarray(read, np.float32).reshape(len(points), -1)
    values = values - values.mean(1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-3), np.float32)
