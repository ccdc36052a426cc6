"""Where a reference point lies in a frame: a homography of the shelf's front plane, then a radial lens."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2) x, y in pixels."""
Matrix = NDArray[np.float64]
"""3x3."""
Lens = tuple[float, float]
"""a, b of the radial factor (1 + a r^2) / (1 + b r^2); only their difference bends at first order.

One term over another (Fitzgibbon 2001 is a = 0) follows a strong lens to the picture's corners, in either direction of
the usual k1, where r^2 and r^4 are several pixels off.
"""
NO_LENS: Lens = (0.0, 0.0)
LEAST = 0.05
"""Of 1 + b r^2: beyond it a lens shows nothing, and points land far outside the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Reference pixels -> frame pixels: x = c + (p - c)(1 + a r^2) / (1 + b r^2), p = H x_ref, r in half frame widths."""

    homography: Matrix
    size: tuple[int, int]
    """(width, height) of the frame."""
    lens: Lens = NO_LENS

    def points(self, reference: Points) -> Points:
        """Take (n, 2) reference points into the frame; points behind the camera become NaN."""
        return bend(project(self.homography, reference), self.size, self.lens)

    def grid(self, reference: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `points`, in single precision and much faster, for (..., 2) grids; far outside the frame for NaN."""
        flat = reference.reshape(-1, 2)
        if self._horizon_near(flat):
            seen = self.points(flat.astype(np.float64)).astype(np.float32)
            return np.nan_to_num(seen, nan=-1e4).clip(-1e4, 3e4).reshape(reference.shape)
        seen = np.asarray(cv2.perspectiveTransform(flat[None], self.homography)[0], np.float32)
        if self.lens != NO_LENS:
            centre = np.array([(self.size[0] - 1) / 2, (self.size[1] - 1) / 2], np.float32)
            seen -= centre
            r2 = (seen[:, 0] ** 2 + seen[:, 1] ** 2) * np.float32((self.size[0] / 2) ** -2)
            seen *= ((1 + np.float32(self.lens[0]) * r2) / np.maximum(1 + np.float32(self.lens[1]) * r2, LEAST))[
                :, None
            ]
            seen += centre
        return seen.clip(-1e4, 3e4).reshape(reference.shape)

    def _horizon_near(self, flat: NDArray[np.float32]) -> bool:
        low, high = flat.min(0), flat.max(0)
        corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]], np.float64)
        depth = (corners @ self.homography[2, :2] + self.homography[2, 2]).min()
        return not depth >= 0.02  # so said, a homography that is not a number is near it too

    def best_homography(self, corners: Points) -> Matrix:
        """The 3x3 that is nearest to this warp over the given reference points (n >= 4), lens included."""
        if self.lens == NO_LENS:
            return self.homography
        found, _ = cv2.findHomography(corners, self.points(corners), 0)
        return self.homography if found is None else np.asarray(found, np.float64)


def scaling(source: tuple[int, int], target: tuple[int, int]) -> Matrix:
    """Homography of a plain resize between two (width, height), pixel centres at integers."""
    sx, sy = target[0] / source[0], target[1] / source[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5], [0.0, 0.0, 1.0]])


def project(homography: Matrix, points: Points) -> Points:
    """Apply a 3x3 to (n, 2) points; NaN where the point lies on or behind the horizon."""
    xyw = points @ homography[:, :2].T + homography[:, 2]
    w = np.where(xyw[:, 2] > 1e-9, xyw[:, 2], np.nan)
    return np.asarray(xyw[:, :2] / w[:, None], np.float64)


def bend(points: Points, size: tuple[int, int], lens: Lens) -> Points:
    """Apply the radial terms about the middle of a (width, height) frame."""
    if lens == NO_LENS:
        return points
    centre = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    offset = points - centre
    r2 = (offset**2).sum(1, keepdims=True) / (size[0] / 2) ** 2
    return np.asarray(centre + offset * (1.0 + lens[0] * r2) / np.maximum(1.0 + lens[1] * r2, LEAST), np.float64)
