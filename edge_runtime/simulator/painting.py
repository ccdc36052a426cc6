"""Flat textured sheets in space, painted back to front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.simulator.geometry import CameraPose, Points, Raster, project

_NEAR = 0.05
"""Metres; a sheet that comes closer to the camera's own plane is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A sheet as the camera sees it: where in the picture, its colour times alpha, and what shines through."""

    x: int
    y: int
    colour: Raster
    """(height, width, 3) uint8."""
    through: Raster
    """(height, width, 3) uint8; 255 where the sheet is clear."""


def rectangle(x0: float, x1: float, y0: float, y1: float, z: float) -> Points:
    """Corners of an upright sheet that faces the camera, clockwise from the top left."""
    return np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], np.float64)


def level_of(x0: float, x1: float, y: float, near: float, far: float) -> Points:
    """Corners of a level sheet; the texture's upper edge is the far one."""
    return np.array([(x0, y, far), (x1, y, far), (x1, y, near), (x0, y, near)], np.float64)


def seen(
    camera: CameraPose, levels: Sequence[Raster], corners: Points, gain: float = 1.0, border: int = 0
) -> Patch | None:
    """Project a sheet.

    `levels` are BGRA uint8 textures with colour multiplied by alpha, largest first, each half as large, each with
    `border` clear pixels around it. None when the sheet is outside the picture or behind the camera.
    """
    pixels, depths = project(camera, corners)
    if depths.min() < _NEAR:
        return None
    width, height = camera.size
    left, top = (max(0, math.floor(v) - 1) for v in pixels.min(0))
    right, bottom = min(width, math.ceil(pixels[:, 0].max()) + 2), min(height, math.ceil(pixels[:, 1].max()) + 2)
    if right - left < 2 or bottom - top < 2:
        return None
    texture = _level_for(levels, pixels, border)
    h, w = texture.shape[:2]
    low, x1, y1 = border - 0.5, w - border - 0.5, h - border - 0.5
    source = np.array([(low, low), (x1, low), (x1, y1), (low, y1)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (pixels - (left, top)).astype(np.float32))
    warped = cv2.warpPerspective(texture, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    if gain != 1.0:
        warped = cv2.multiply(warped, np.array((gain, gain, gain, 1.0)))
    blue, green, red, alpha = cv2.split(warped)
    clear = cv2.bitwise_not(alpha)
    return Patch(left, top, cv2.merge((blue, green, red)), cv2.merge((clear, clear, clear)))


def paste(canvas: Raster, patch: Patch | None) -> None:
    """Paint a patch over the canvas, (height, width, 3) BGR uint8."""
    if patch is None:
        return
    height, width = patch.colour.shape[:2]
    view = canvas[patch.y : patch.y + height, patch.x : patch.x + width]
    view[:] = cv2.add(cv2.multiply(view, patch.through, scale=1 / 255), patch.colour)


def spread(canvas: Raster, camera: CameraPose, texture: Raster, corners: Points) -> None:
    """Paint a large opaque sheet, BGR uint8; quicker than `paste`, with hard edges."""
    pixels, depths = project(camera, corners)
    if depths.min() < _NEAR:
        return
    h, w = texture.shape[:2]
    source = np.array([(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, pixels.astype(np.float32))
    cv2.warpPerspective(texture, matrix, camera.size, dst=canvas, borderMode=cv2.BORDER_TRANSPARENT)


def _level_for(levels: Sequence[Raster], pixels: Points, border: int) -> Raster:
    """The smallest texture that is not magnified, so that nothing is skipped when it is warped."""
    if len(levels) == 1:
        return levels[0]
    tall = max(math.dist(pixels[0], pixels[3]), math.dist(pixels[1], pixels[2]), 1.0)
    wide = max(math.dist(pixels[0], pixels[1]), math.dist(pixels[3], pixels[2]), 1.0)
    h, w = levels[0].shape[0] - 2 * border, levels[0].shape[1] - 2 * border
    step = int(max(0.0, math.log2(max(min(h / tall, w / wide), 1.0)) + 0.25))
    return levels[min(step, len(levels) - 1)]
