"""Bodies of packs: a printed face becomes a box, carton, bottle, can, bag, jar, tub or multi-pack seen from the front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.simulator import designs
from edge_runtime.simulator.designs import Colour
from edge_runtime.simulator.geometry import Raster
from edge_runtime.simulator.produce import heap

TALL_PX = 220
"""Height of the picture of a pack."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A pack as drawn. Pictures are BGRA uint8, colour not yet multiplied with alpha."""

    front: Raster
    side: Raster | None
    """Right-hand face of a body with corners; None for round and soft ones."""
    top: Colour | None
    depth: float
    """Depth as a share of the width."""
    gloss: float
    """0 matt .. 1 wet."""
    stacks: bool
    """May stand on its like."""


def body(family: str, rng: np.random.Generator) -> Body:
    """A pack of `family` (a key of FAMILIES)."""
    return FAMILIES[family](rng)


def _size(rng: np.random.Generator, low: float, high: float) -> tuple[int, int]:
    """(width, height) in pixels; low and high bound width / height."""
    aspect = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return (
        (max(24, int(TALL_PX * aspect)), TALL_PX) if aspect < 1.6 else (int(1.6 * TALL_PX), int(1.6 * TALL_PX / aspect))
    )


def _opaque(picture: Raster) -> Raster:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def _lit(picture: Raster, shade: Raster) -> Raster:
    """Multiply a BGR picture with a (height, width) or (1, width) shade; above 1 adds a highlight."""
    full = picture.astype(np.float32) * np.minimum(shade, 1)[..., None] + 190 * np.maximum(shade - 1, 0)[..., None]
    return np.asarray(np.clip(full, 0, 255), np.uint8)


def _profile(half: Raster, width: int) -> tuple[Raster, Raster]:
    """Silhouette from half widths per line (share of the picture's width): alpha uint8 and u in -1..1 across it."""
    x = np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2
    reach = np.maximum(half[:, None] * width, 0.5)
    alpha = np.clip(reach - np.abs(x) + 0.5, 0, 1) * 255
    return alpha.astype(np.uint8), np.clip(x / reach, -1, 1)


def _round(rng: np.random.Generator, u: Raster, gloss: float) -> Raster:
    """Shade of a cylinder: darker edges, a lamp's streak."""
    edge = rng.uniform(0.35, 0.75)
    shade = edge + (1 - edge) * np.sqrt(np.maximum(1 - u * u, 0))
    streak = gloss * rng.uniform(0.1, 0.5) * np.exp(-(((u - rng.uniform(-0.5, 0.5)) / rng.uniform(0.06, 0.2)) ** 2))
    return np.asarray(shade + streak, np.float32)


def _sides(rng: np.random.Generator, picture: Raster, colours: tuple[Colour, ...], depth: float) -> Raster:
    height, width = picture.shape[:2]
    w = max(8, int(width * depth))
    if rng.random() < 0.5:
        return _opaque(designs.face(rng, w, height, colours))
    edge = cv2.resize(picture[:, -3:], (w, height), interpolation=cv2.INTER_AREA)
    return _opaque(cv2.GaussianBlur(edge, (0, 0), 2))


def _box(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.4, 2.6)
    colours = designs.palette(rng)
    picture = designs.face(rng, width, height, colours)
    depth = float(rng.uniform(0.15, 0.9))
    shade = np.linspace(1.0, rng.uniform(0.8, 1.0), height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    shade[:, :2] *= 0.7
    shade[:, -2:] *= 0.7
    side = _sides(rng, picture, colours, depth)
    return Body(_opaque(_lit(picture, shade)), side, colours[0], depth, float(rng.uniform(0, 0.6)), width > height)


def _carton(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.34, 0.6)
    colours = designs.palette(rng)
    picture = designs.face(rng, width, height, colours)
    gable = int(height * rng.uniform(0.1, 0.2))
    slope = np.linspace(1.08, 0.9, gable, dtype=np.float32)
    shade = np.ones((height, width), np.float32)
    shade[:gable] = slope[:, None]
    shade[gable : gable + 2] = 0.75
    picture = _lit(picture, shade)
    ridge = max(3, gable // 4)
    cv2.rectangle(picture, (0, 0), (width, ridge), tuple(int(c * 0.85) for c in colours[0]), -1)
    if rng.random() < 0.6:
        cap = (int(width * rng.uniform(0.4, 0.6)), gable // 2)
        cv2.circle(picture, cap, max(4, width // 8), designs.colour(rng), -1, cv2.LINE_AA)
    depth = float(rng.uniform(0.6, 1.0))
    side = _sides(rng, picture, colours, depth)
    return Body(_opaque(picture), side, None, depth, float(rng.uniform(0, 0.5)), False)


def _bottle(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.22, 0.5)
    colours = designs.palette(rng)
    neck, shoulder = rng.uniform(0.08, 0.2), rng.uniform(0.28, 0.5)
    y = np.linspace(0, 1, height, dtype=np.float32)
    slim = rng.uniform(0.12, 0.24)
    swell = np.clip((y - neck) / (shoulder - neck), 0, 1)
    half = (slim + (0.49 - slim) * (swell**2 * (3 - 2 * swell))).astype(np.float32)
    half -= (rng.uniform(0, 0.07) * np.exp(-(((y - rng.uniform(0.6, 0.8)) / 0.1) ** 2))).astype(np.float32)
    alpha, u = _profile(half, width)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = colours[1]
    top, bottom = int(height * rng.uniform(shoulder, 0.55)), int(height * rng.uniform(0.82, 0.96))
    picture[top:bottom] = designs.face(rng, width, bottom - top, colours)
    cap = int(height * rng.uniform(0.05, neck))
    picture[:cap] = colours[2]
    gloss = float(rng.uniform(0.3, 1.0))
    return Body(np.dstack([_lit(picture, _round(rng, u, gloss)), alpha]), None, None, 0.95, gloss, False)


def _can(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.45, 1.0)
    colours = designs.palette(rng)
    picture = designs.face(rng, width, height, colours)
    rim = max(3, int(height * 0.035))
    picture[:rim] = picture[-rim:] = rng.integers(150, 215)
    half = np.full(height, 0.495, np.float32)
    taper = rng.uniform(0, 0.07)
    n = height // 12
    half[:n] -= np.linspace(taper, 0, n, dtype=np.float32)
    half[-n:] -= np.linspace(0, taper, n, dtype=np.float32)
    alpha, u = _profile(half, width)
    return Body(np.dstack([_lit(picture, _round(rng, u, 0.8)), alpha]), None, (190, 190, 190), 0.95, 0.8, True)


def _bag(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.5, 1.2)
    picture = designs.face(rng, width, height, designs.palette(rng))
    y = np.linspace(0, 1, height, dtype=np.float32)
    wave = designs.noise(rng, 2, height, 3)[0] * rng.uniform(0.02, 0.06)
    half = 0.5 - wave - 0.04 * np.cos(2 * np.pi * y).astype(np.float32) * (rng.random() < 0.6)
    alpha, u = _profile(half.astype(np.float32), width)
    crease = 1 + (designs.noise(rng, height, width, int(rng.integers(3, 9))) - 0.5) * rng.uniform(0.2, 0.9)
    shade = _round(rng, u, 0.3) * crease
    seam = int(height * rng.uniform(0.04, 0.08))
    shade[:seam] *= 0.85 + 0.15 * np.sin(np.arange(width) * 1.2)[None, :]
    return Body(np.dstack([_lit(picture, shade), alpha]), None, None, float(rng.uniform(0.25, 0.5)), 0.6, False)


def _jar(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.5, 0.95)
    colours = designs.palette(rng)
    lid = int(height * rng.uniform(0.12, 0.22))
    half = np.full(height, 0.49, np.float32)
    half[:lid] = rng.uniform(0.36, 0.46)
    half[lid : lid + 8] = np.linspace(half[0], 0.49, 8)
    alpha, u = _profile(half, width)
    content = designs.noise(rng, height, width, int(rng.integers(4, 14)))[..., None]
    picture = (np.array(colours[1], np.float32) * (0.4 + 0.7 * content)).clip(0, 255).astype(np.uint8)
    top, bottom = int(height * rng.uniform(0.3, 0.42)), int(height * rng.uniform(0.78, 0.92))
    picture[top:bottom] = designs.face(rng, width, bottom - top, colours)
    picture[:lid] = colours[2]
    return Body(np.dstack([_lit(picture, _round(rng, u, 1.0)), alpha]), None, colours[2], 0.95, 1.0, True)


def _tub(rng: np.random.Generator) -> Body:
    width, height = _size(rng, 0.8, 2.0)
    colours = designs.palette(rng)
    picture = designs.face(rng, width, height, colours)
    lid = max(4, int(height * rng.uniform(0.06, 0.16)))
    half = np.linspace(0.47, rng.uniform(0.36, 0.45), height, dtype=np.float32)
    half[:lid] = 0.495
    alpha, u = _profile(half, width)
    picture[:lid] = colours[1]
    shade = _round(rng, u, 0.4)
    shade[lid : lid + 3] *= 0.6
    return Body(np.dstack([_lit(picture, shade), alpha]), None, colours[1], 0.9, 0.4, True)


def _multipack(rng: np.random.Generator) -> Body:
    unit = (_can if rng.random() < 0.5 else _bottle)(rng).front
    count = int(rng.integers(2, 5))
    picture = np.tile(unit, (1, count, 1))
    height, width = picture.shape[:2]
    if width > 1.8 * TALL_PX:
        picture = cv2.resize(
            picture, (int(1.8 * TALL_PX), int(height * 1.8 * TALL_PX / width)), interpolation=cv2.INTER_AREA
        )
        height, width = picture.shape[:2]
    wrap = int(height * rng.uniform(0.25, 0.6))
    sleeve = designs.face(rng, width, wrap, designs.palette(rng))
    top = height - wrap if rng.random() < 0.6 else int((height - wrap) * 0.6)
    picture[top : top + wrap] = _opaque(sleeve)
    return Body(np.ascontiguousarray(picture), None, None, float(rng.uniform(0.4, 0.8)), 0.5, rng.random() < 0.5)


def _produce(rng: np.random.Generator) -> Body:
    return Body(heap(rng, TALL_PX), None, None, 0.8, float(rng.uniform(0, 0.6)), False)


FAMILIES: Mapping[str, Callable[[np.random.Generator], Body]] = {
    "box": _box,
    "carton": _carton,
    "bottle": _bottle,
    "can": _can,
    "bag": _bag,
    "jar": _jar,
    "tub": _tub,
    "multipack": _multipack,
    "produce": _produce,
}
