"""Is a homography one that a camera before this shelf can have? Pure geometry."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.warp import Matrix, Points, project

SCALE = (0.3, 3.0)
"""Frame pixels per reference pixel, after the sizes of the two pictures are taken out."""
STRETCH = 3.0
"""A corner of the view may be this much larger or smaller than the middle."""
CELLS = (6, 5)
"""Columns and rows of the grid in which the spread of inliers is counted."""
_RIGHT, _DOWN = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def implausible(homography: Matrix, reference: tuple[int, int], frame: tuple[int, int]) -> str:
    """Why no mounted camera gives this homography; empty if one may."""
    width, height = reference
    outline = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
    seen = project(homography, outline)
    if not np.isfinite(seen).all() or np.abs(seen).max() > 20 * max(frame):
        return "the horizon crosses the shelf"
    if not cv2.isContourConvex(seen.astype(np.float32)):
        return "the shelf would be folded"
    local = _local_scale(homography, reference) / (frame[0] / width)
    if not np.isfinite(local).all() or (local <= 0).any():
        return "the shelf would be mirrored"
    if not SCALE[0] <= local[0] <= SCALE[1]:
        return f"the shelf would be {local[0]:.2f} times its commissioned size"
    if local.max() > STRETCH * local[0] or local.min() < local[0] / STRETCH:
        return "the shelf would be seen too much from the side"
    return _skewed(homography, reference)


def spread(points: Points, size: tuple[int, int]) -> tuple[int, float]:
    """Cells of a 6 x 5 grid over the reference that hold a point, and the share of its area inside their hull."""
    if len(points) < 3:
        return len(points), 0.0
    cell = (points / np.array(size, np.float64) * np.array(CELLS)).astype(int).clip(0, np.array(CELLS) - 1)
    hull = cv2.convexHull(points.astype(np.float32))
    return len(np.unique(cell @ np.array([1, CELLS[0]]))), float(cv2.contourArea(hull) / (size[0] * size[1]))


def _local_scale(homography: Matrix, size: tuple[int, int]) -> NDArray[np.float64]:
    """Signed length scale at the middle and the four corners."""
    width, height = size
    places = np.array([[0.5, 0.5], [0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]]) * (width, height)
    step = 4.0
    here = project(homography, places)
    right = (project(homography, places + _RIGHT * step) - here) / step
    down = (project(homography, places + _DOWN * step) - here) / step
    area = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
    return np.asarray(np.sign(area) * np.sqrt(np.abs(area)), np.float64)


def _skewed(homography: Matrix, size: tuple[int, int]) -> str:
    middle = np.array([[size[0] / 2, size[1] / 2]])
    here = project(homography, middle)[0]
    right = project(homography, middle + _RIGHT * 4.0)[0] - here
    down = project(homography, middle + _DOWN * 4.0)[0] - here
    aspect = float(np.hypot(*right) / max(np.hypot(*down), 1e-9))
    cosine = abs(float(right @ down)) / max(float(np.hypot(*right) * np.hypot(*down)), 1e-9)
    if not 0.4 <= aspect <= 2.5:
        return f"width to height would have changed by {aspect:.2f}"
    if cosine > 0.5:
        return "the shelf would be sheared"
    if abs(np.degrees(np.arctan2(right[1], right[0]))) > 40.0:
        return "the camera would have been turned by more than 40 degrees"
    return ""
