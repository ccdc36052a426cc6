"""Which parts of the reference do not sell: rails, price strips and uprights are what lies between and beside slots."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.warp import Points
from edge_runtime.records import Layout

GROW = 0.04
"""The bay reaches this share of the picture's width beyond the slots' hull: uprights stand there."""
RAIL = 0.22
"""Height of a slot's rail as a share of the slot's; rails lie in the front plane, and so does all that hangs on them."""


def slot_mask(layout: Layout, grow_px: int = 2) -> Grey:
    """255 inside any slot polygon (grown by a few pixels), at the reference's size."""
    mask = np.zeros((layout.image_size[1], layout.image_size[0]), np.uint8)
    for slot in layout.slots:
        cv2.fillConvexPoly(mask, np.asarray(slot.polygon, np.float32).round().astype(np.int32), 255)
    if grow_px:
        mask = np.asarray(cv2.dilate(mask, np.ones((2 * grow_px + 1, 2 * grow_px + 1), np.uint8)), np.uint8)
    return mask


def rail_mask(layout: Layout) -> Grey:
    """255 where the rail of a slot runs: the strip under its polygon, RAIL of its height, outside every polygon."""
    mask = np.zeros((layout.image_size[1], layout.image_size[0]), np.uint8)
    for slot in layout.slots:
        a, b, c, d = np.asarray(slot.polygon, np.float64)
        strip = np.array([d, c, c + RAIL * (c - b), d + RAIL * (d - a)])
        cv2.fillConvexPoly(mask, strip.round().astype(np.int32), 255)
    return np.asarray(cv2.bitwise_and(mask, cv2.bitwise_not(slot_mask(layout, 0))), np.uint8)


def bay_mask(layout: Layout) -> Grey:
    """255 inside the convex hull of all slots, grown sideways and up and down: the front plane of the shelf."""
    corners = np.asarray([s.polygon for s in layout.slots], np.float32).reshape(-1, 2)
    mask = np.zeros((layout.image_size[1], layout.image_size[0]), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners).round().astype(np.int32), 255)
    reach = max(1, round(2 * GROW * layout.image_size[0]) // 2)
    return np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=reach), np.uint8)


def at(mask: Grey, points: Points) -> NDArray[np.bool_]:
    """Whether each (n, 2) reference point lies in the mask."""
    x = points[:, 0].round().astype(int).clip(0, mask.shape[1] - 1)
    y = points[:, 1].round().astype(int).clip(0, mask.shape[0] - 1)
    return np.asarray(mask[y, x] > 0, np.bool_)
