"""What stands before a shelf: people with textured clothes, arms that reach in, trolleys."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.simulator import designs
from edge_runtime.simulator.geometry import Raster
from edge_runtime.simulator.painting import Patch, paste

DRAWN_LINES = 480
"""Shoppers are drawn in a picture of at most so many lines: they stand nearer than the camera is focused."""


@dataclass(frozen=True, slots=True)
class Occluder:
    """Something in front of the bay. Shares are of the picture's height (x: of its width)."""

    kind: str
    """person, arm or trolley."""
    x: float
    """Centre; may lie outside 0..1."""
    y: float
    """Top of the head, tip of the hand, or upper edge of the trolley."""
    tall: float
    """Height of the whole thing."""
    phase: float
    """Radians: where in a step the limbs are."""
    seed: int
    """Build, clothes, colours."""


def draw_occluder(rng: np.random.Generator) -> Occluder:
    kind = str(rng.choice(["person", "person", "person", "arm", "trolley"]))
    x, seed = float(rng.uniform(0, 1)), int(rng.integers(2**31))
    phase = float(rng.uniform(0, 2 * math.pi))
    if kind == "person":
        return Occluder(kind, x, float(rng.uniform(-0.1, 0.5)), float(rng.uniform(0.8, 1.7)), phase, seed)
    if kind == "arm":
        return Occluder(kind, x, float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.5, 1.0)), phase, seed)
    return Occluder(kind, x, float(rng.uniform(0.45, 0.8)), float(rng.uniform(0.4, 0.7)), phase, seed)


def paint_occluder(canvas: Raster, cover: Raster, thing: Occluder) -> None:
    """Paint over `canvas` (BGR uint8) and add the outline to `cover` ((height, width) uint8, 255 is covered)."""
    height, width = canvas.shape[:2]
    small = min(1.0, DRAWN_LINES / height)
    rng = np.random.default_rng(thing.seed)
    mask = np.zeros((round(height * small), round(width * small)), np.uint8)
    layer = np.zeros((*mask.shape, 3), np.uint8)
    _DRAWN[thing.kind](rng, layer, mask, thing)
    x, y, w, h = cv2.boundingRect(mask)
    if not w or not h:
        return
    part = (slice(y, y + h), slice(x, x + w))
    soft = cv2.GaussianBlur(mask[part], (0, 0), 0.6)
    colour = cv2.multiply(_shaded(rng, layer[part], mask[part]), cv2.merge((soft, soft, soft)), scale=1 / 255)
    x0, y0 = round(x / small), round(y / small)
    x1, y1 = min(width, round((x + w) / small)), min(height, round((y + h) / small))
    colour, soft = (cv2.resize(p, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) for p in (colour, soft))
    clear = cv2.bitwise_not(soft)
    paste(canvas, Patch(x0, y0, colour, cv2.merge((clear, clear, clear))))
    area = (slice(y0, y1), slice(x0, x1))
    cover[area] = np.maximum(cover[area], soft)


def _shaded(rng: np.random.Generator, layer: Raster, mask: Raster) -> Raster:
    """Folds in the cloth, and darker edges, so that a figure looks round."""
    height, width = mask.shape
    folds = 0.75 + 0.5 * cv2.resize(designs.noise(rng, 48, 48, 5), (width, height), interpolation=cv2.INTER_CUBIC)
    reach = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / max(4.0, 0.05 * max(height, width))
    shaded = layer * (folds * (0.6 + 0.4 * np.clip(reach, 0, 1)))[..., None]
    return np.asarray(np.clip(shaded, 0, 255), np.uint8)


_SKIN = ((140, 175, 220), (95, 130, 185), (60, 90, 140), (35, 50, 80), (170, 200, 235))


def _skin(rng: np.random.Generator) -> tuple[int, int, int]:
    return _SKIN[int(rng.integers(len(_SKIN)))]


_HAIR = ((25, 25, 28), (30, 45, 70), (60, 100, 150), (120, 170, 205), (150, 150, 150), (45, 60, 120))


def _hair(rng: np.random.Generator) -> tuple[int, int, int]:
    """Natural, or a hat of any colour."""
    return _HAIR[int(rng.integers(len(_HAIR)))] if rng.random() < 0.75 else designs.colour(rng)


def _off(right: float, down: float) -> Raster:
    return np.array([right, down])


def _limb(layer: Raster, mask: Raster, a: Raster, b: Raster, thick: float, ink: tuple[int, int, int]) -> None:
    ends = tuple(int(v) for v in a), tuple(int(v) for v in b)
    for target, value in ((layer, ink), (mask, 255)):
        cv2.line(target, *ends, value, max(2, int(thick)), cv2.LINE_AA)


def _person(rng: np.random.Generator, layer: Raster, mask: Raster, thing: Occluder) -> None:
    height, width = mask.shape
    tall = thing.tall * height
    top = np.array([thing.x * width, thing.y * height])
    cloth, trousers, hair, skin = designs.colour(rng), designs.colour(rng), _hair(rng), _skin(rng)
    broad = tall * float(rng.uniform(0.1, 0.16))
    neck, hip = top + _off(0, 0.15 * tall), top + _off(0, 0.52 * tall)
    swing = math.sin(thing.phase)
    for side in (-1, 1):
        knee = hip + _off(side * broad * 0.35 + side * swing * 0.08 * tall, 0.24 * tall)
        ankle = knee + _off(-side * swing * 0.05 * tall, 0.24 * tall)
        _limb(layer, mask, hip + _off(side * broad * 0.3, 0), knee, broad * 0.75, trousers)
        _limb(layer, mask, knee, ankle, broad * 0.55, trousers)
    shoulders, waist = broad * 0.95, broad * float(rng.uniform(0.6, 0.9))
    torso = np.array(
        [
            neck + _off(-shoulders, 0.04 * tall),
            neck + _off(shoulders, 0.04 * tall),
            hip + _off(waist, 0.04 * tall),
            hip + _off(-waist, 0.04 * tall),
        ]
    )
    _printed(rng, layer, mask, torso, cloth)
    for side in (-1, 1):
        elbow = neck + _off(side * (shoulders + 0.02 * tall), 0.22 * tall) + _off(swing * side * 0.03 * tall, 0)
        hand = elbow + _off(side * float(rng.uniform(-0.1, 0.12)) * tall, float(rng.uniform(-0.2, 0.2)) * tall)
        _limb(layer, mask, neck + _off(side * shoulders * 0.85, 0.06 * tall), elbow, broad * 0.5, cloth)
        _limb(layer, mask, elbow, hand, broad * 0.4, cloth if rng.random() < 0.6 else skin)
        _ball(layer, mask, hand, broad * 0.25, broad * 0.25, skin)
    _limb(layer, mask, top + _off(0, 0.1 * tall), neck + _off(0, 0.05 * tall), broad * 0.5, skin)
    head = 0.075 * tall
    _ball(layer, mask, top + _off(0, head), head * 0.85, head * 1.05, hair)
    if rng.random() < 0.5:
        _ball(layer, mask, top + _off(swing * head * 0.3, head * 1.25), head * 0.65, head * 0.75, skin)


def _printed(rng: np.random.Generator, layer: Raster, mask: Raster, corners: Raster, ink: tuple[int, int, int]) -> None:
    """A garment; often with stripes or a print."""
    x, y, w, h = cv2.boundingRect(corners.astype(np.int32))
    cloth = np.empty((h, w, 3), np.uint8)
    cloth[:] = ink
    kind = rng.random()
    period = int(rng.integers(4, 24))
    if kind < 0.25:
        cloth[np.arange(h) // period % 2 == 0] = designs.colour(rng)
    elif kind < 0.4:
        cloth[:, np.arange(w) // period % 2 == 0] = designs.colour(rng)
    elif kind < 0.6:
        cloth[cv2.resize(designs.noise(rng, 48, 48, 6), (w, h)) > 0.55] = designs.colour(rng)
    height, width = mask.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x1 <= x0 or y1 <= y0:
        return
    area = (slice(y0, y1), slice(x0, x1))
    part = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(part, [(corners - (x0, y0)).astype(np.int32)], 255, cv2.LINE_AA)
    inside = part > 0
    layer[area][inside] = cloth[y0 - y : y1 - y, x0 - x : x1 - x][inside]
    mask[area] = np.maximum(mask[area], part)


def _ball(layer: Raster, mask: Raster, centre: Raster, a: float, b: float, ink: tuple[int, int, int]) -> None:
    place, axes = (int(centre[0]), int(centre[1])), (max(1, int(a)), max(1, int(b)))
    cv2.ellipse(layer, place, axes, 0, 0, 360, ink, -1, cv2.LINE_AA)
    cv2.ellipse(mask, place, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)


def _arm(rng: np.random.Generator, layer: Raster, mask: Raster, thing: Occluder) -> None:
    """An arm that comes in from below or from a side; the hand is at x, y."""
    height, width = mask.shape
    hand = np.array([thing.x * width, thing.y * height])
    angle = rng.uniform(0.15, 0.85) * math.pi
    way = np.array([math.cos(angle), math.sin(angle)]) * thing.tall * height
    cloth, skin = designs.colour(rng), _skin(rng)
    thick = height * float(rng.uniform(0.05, 0.1))
    bend = hand + way * 0.5 + np.array([-way[1], way[0]]) * float(rng.uniform(-0.15, 0.15))
    _limb(layer, mask, bend, hand + way * 1.6, thick * 1.2, cloth)
    _limb(layer, mask, hand + (bend - hand) * 0.4, bend, thick, cloth)
    _limb(layer, mask, hand, hand + (bend - hand) * 0.45, thick * 0.7, skin)
    _ball(layer, mask, hand, thick * 0.55, thick * 0.5, skin)
    for k in range(3):
        tip = hand + (np.array([math.cos(0.5 * (k - 1) - angle), -1.0]) * thick * 0.8)
        _limb(layer, mask, hand, tip, thick * 0.22, skin)


def _trolley(rng: np.random.Generator, layer: Raster, mask: Raster, thing: Occluder) -> None:
    """A wire basket, more or less full, and a handle."""
    height, width = mask.shape
    tall = thing.tall * height
    x, y = thing.x * width, thing.y * height
    wide = tall * float(rng.uniform(0.9, 1.5))
    ink = designs.colour(rng) if rng.random() < 0.4 else (170, 172, 175)
    corners = np.array(
        [(x - wide / 2, y), (x + wide / 2, y), (x + wide * 0.4, y + 0.55 * tall), (x - wide * 0.4, y + 0.55 * tall)]
    )
    wire = max(2, int(height / 240))
    for k in range(12):
        s = k / 11
        _limb(
            layer,
            mask,
            corners[0] + s * (corners[1] - corners[0]),
            corners[3] + s * (corners[2] - corners[3]),
            wire,
            ink,
        )
        _limb(
            layer,
            mask,
            corners[0] + s * (corners[3] - corners[0]),
            corners[1] + s * (corners[2] - corners[1]),
            wire,
            ink,
        )
    for _ in range(int(rng.integers(0, 9))):
        place = corners[3] + rng.random(2) * (wide * 0.8, -0.5 * tall)
        half = tall * rng.uniform(0.06, 0.18, 2)
        box = np.array([place - half, place + _off(half[0], -half[1]), place + half, place + _off(-half[0], half[1])])
        _printed(rng, layer, mask, box, designs.colour(rng))
    _limb(layer, mask, corners[3], corners[3] + _off(0.1 * wide, 0.42 * tall), wire * 2, ink)
    _limb(layer, mask, corners[2], corners[2] + _off(-0.1 * wide, 0.42 * tall), wire * 2, ink)
    _limb(layer, mask, corners[1], corners[1] + _off(0.14 * wide, -0.12 * tall), wire * 4, designs.colour(rng))


_DRAWN: Mapping[str, Callable[[np.random.Generator, Raster, Raster, Occluder], None]] = {
    "person": _person,
    "arm": _arm,
    "trolley": _trolley,
}
