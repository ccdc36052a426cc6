"""Where things are in the picture: a pinhole camera in front of a bay.

World: metres, x to the right, y down, z away from the camera; the front edge of the boards is the plane z = 0.
Pictures: pixels, pixel centres at integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Raster = NDArray[Any]
"""Pixels of any depth: (height, width, channels) or (height, width)."""
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where a camera stands, where it looks, and its lens."""

    x: float
    y: float
    z: float
    """Metres; negative, the camera stands before the front plane."""
    yaw_deg: float
    """Positive looks to the right."""
    pitch_deg: float
    """Positive looks down."""
    roll_deg: float
    focal_px: float
    size: tuple[int, int]
    """(width, height) of the picture."""
    centre: tuple[float, float]
    """Principal point."""
    k1: float = 0.0
    """Radial distortion, radius in half diagonals; positive is a barrel. Scaled so that the corners stay in place."""


@lru_cache(maxsize=64)
def rotation(camera: CameraPose) -> Points:
    """3x3, world directions -> camera directions."""
    yaw, pitch, roll = (math.radians(a) for a in (camera.yaw_deg, camera.pitch_deg, camera.roll_deg))
    ry = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
    rx = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    rz = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return np.asarray(rz @ rx @ ry, np.float64)


@lru_cache(maxsize=64)
def projection(camera: CameraPose) -> Points:
    """3x4, homogeneous world points -> homogeneous pixels, before the lens distorts."""
    r = rotation(camera)
    k = np.array([[camera.focal_px, 0, camera.centre[0]], [0, camera.focal_px, camera.centre[1]], [0, 0, 1]])
    place = np.array([camera.x, camera.y, camera.z])
    return np.asarray(k @ np.column_stack([r, -r @ place]), np.float64)


def project(camera: CameraPose, points: Points) -> tuple[Points, Points]:
    """(n, 3) world points -> (n, 2) pixels and (n,) depths in metres; before the lens distorts."""
    p = projection(camera)
    h = points @ p[:, :3].T + p[:, 3]
    return h[:, :2] / h[:, 2:], h[:, 2]


def front_plane(camera: CameraPose) -> Points:
    """3x3, (x, y) of the front plane in metres -> pixels, before the lens distorts."""
    return projection(camera)[:, [0, 1, 3]]


def homography(reference: CameraPose, camera: CameraPose) -> Points:
    """3x3, pixels of `reference` -> pixels of `camera`, exact for the front plane and lenses without distortion."""
    h = front_plane(camera) @ np.linalg.inv(front_plane(reference))
    return np.asarray(h / h[2, 2], np.float64)


def orbited(
    camera: CameraPose, target: tuple[float, float, float], yaw_deg: float, pitch_deg: float, roll_deg: float
) -> CameraPose:
    """The camera walked around `target`, which keeps its place in the picture (roll apart)."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    dx, dy, dz = camera.x - target[0], camera.y - target[1], camera.z - target[2]
    dy, dz = dy * math.cos(pitch) + dz * math.sin(pitch), dz * math.cos(pitch) - dy * math.sin(pitch)
    dx, dz = dx * math.cos(yaw) + dz * math.sin(yaw), dz * math.cos(yaw) - dx * math.sin(yaw)
    return replace(
        camera,
        x=target[0] + dx,
        y=target[1] + dy,
        z=target[2] + dz,
        yaw_deg=camera.yaw_deg + yaw_deg,
        pitch_deg=camera.pitch_deg + pitch_deg,
        roll_deg=camera.roll_deg + roll_deg,
    )


@lru_cache(maxsize=8)
def lens_maps(size: tuple[int, int], k1: float) -> tuple[Raster, Raster]:
    """Fixed-point `cv2.remap` maps: pixels of the real lens -> pixels of the pinhole."""
    width, height = size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    cx, cy, reach = (width - 1) / 2, (height - 1) / 2, math.hypot(width, height) / 2
    r2 = ((x - cx) ** 2 + (y - cy) ** 2) / reach**2
    scale = (1 + k1 * r2) / (1 + max(k1, 0.0))
    return cv2.convertMaps(cx + (x - cx) * scale, cy + (y - cy) * scale, cv2.CV_16SC2)
