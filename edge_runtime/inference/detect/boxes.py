"""Boxes of one tile, and the suppression of those that say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """What a detector found in one tile, best first."""

    corners: Floats
    """(n, 4) left, top, right, bottom in pixels of the tile, pixel edges at integers; within the tile after `clipped`."""
    scores: Floats
    """(n,) 0..1."""
    labels: Indices
    """(n,) class indices."""

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, chosen: Indices | NDArray[np.bool_]) -> Boxes:
        return Boxes(self.corners[chosen], self.scores[chosen], self.labels[chosen])

    def clipped(self, size: tuple[int, int]) -> Boxes:
        """Cut to a tile of (width, height); what has no area there is left out."""
        limit = np.array([size[0], size[1], size[0], size[1]], np.float32)
        corners = np.clip(self.corners, 0.0, limit)
        seen = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        return Boxes(corners[seen], self.scores[seen], self.labels[seen])


def suppress(boxes: Boxes, iou: float, most: int) -> Boxes:
    """Greedy suppression within each class (Viola & Jones 2004; Felzenszwalb et al. 2010), best first, at most `most`.

    Of two boxes of one class whose intersection over union is above `iou` the better stays; of equal scores the earlier.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    if iou >= 1.0:
        return boxes.taken(order[:most])
    corners = boxes.corners.astype(np.float64)
    areas = _areas(corners)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        shared = _shared(corners[best], corners[rest])
        union = areas[best] + areas[rest] - shared
        same = (shared > iou * union) & (boxes.labels[rest] == boxes.labels[best])
        order = rest[~same]
    return boxes.taken(np.asarray(kept, np.intp))


def overlap(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of one box (4,) with others (n, 4); 0 where neither has an area."""
    shared = _shared(one, others)
    union = _areas(one[None])[0] + _areas(others) - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)


def _shared(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = np.minimum(one[2], others[:, 2]) - np.maximum(one[0], others[:, 0])
    high = np.minimum(one[3], others[:, 3]) - np.maximum(one[1], others[:, 1])
    return np.asarray(np.maximum(wide, 0.0) * np.maximum(high, 0.0), np.float64)


def _areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0.0)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float64)
