"""Textures of what does not sell: back panels, boards, rails with their price tags, walls, floors."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_runtime.simulator import designs
from edge_runtime.simulator.bay import Bay, Look
from edge_runtime.simulator.geometry import Raster

PX_PER_M = 700
"""Texture density of fixtures."""


Band = tuple[float, float]
"""From and to, metres below the panel's upper edge."""


def panel(look: Look, rng: np.random.Generator, width: float, height: float, shadows: Sequence[Band]) -> Raster:
    """Back panel, (height, width, 4) BGRA opaque, width and height in metres; boards throw `shadows` on it."""
    w, h = int(width * PX_PER_M), int(height * PX_PER_M)
    picture = _plain(look.panel_colour, w, h)
    picture *= 1 + (designs.noise(rng, h, w, 3)[..., None] - 0.5) * float(rng.uniform(0.02, 0.15))
    _perforate(look, rng, picture)
    picture *= 1 - 0.8 * look.interior
    for top, low in shadows:
        y0, y1 = max(0, int(top * PX_PER_M)), min(h, int(low * PX_PER_M))
        picture[y0:y1] *= 1 - 0.8 * look.board_shadow * np.linspace(1, 0, y1 - y0, dtype=np.float32)[:, None, None]
    return opaque(picture)


def _perforate(look: Look, rng: np.random.Generator, picture: Raster) -> None:
    """Holes, slats, mottles or wires, as the look of the panel has them."""
    h, w = picture.shape[:2]
    ink = 0.55 if sum(look.panel_colour) > 240 else 1.9
    if look.panel == "pegboard":
        step, radius = int(rng.integers(16, 30)), int(rng.integers(2, 4))
        for y in range(step // 2, h, step):
            for x in range(step // 2, w, step):
                cv2.circle(picture, (x, y), radius, tuple(c * ink * 0.7 for c in look.panel_colour), -1, cv2.LINE_AA)
    elif look.panel == "slatted":
        step = int(rng.integers(30, 80))
        for y in range(0, h, step):
            picture[y : y + max(2, step // 14)] *= ink
    elif look.panel == "mottled":
        picture *= 0.75 + 0.5 * designs.noise(rng, h, w, int(rng.integers(8, 40)))[..., None]
    elif look.panel == "mesh":
        step = int(rng.integers(18, 46))
        for x in range(0, w, step):
            picture[:, x : x + 2] *= ink
        for y in range(0, h, step * 2):
            picture[y : y + 2] *= ink


def board(look: Look, rng: np.random.Generator, width: float, depth: float, interior: float) -> Raster:
    """Upper surface of a board, darker towards the back (the texture's upper edge)."""
    w, h = int(width * PX_PER_M / 2), max(24, int(depth * PX_PER_M / 2))
    picture = _plain(look.board_colour, w, h)
    grain = rng.random((h, max(2, w // int(rng.integers(2, 60)))), np.float32)
    picture *= 1 + (cv2.resize(grain, (w, h))[..., None] - 0.5) * float(rng.uniform(0.0, 0.25))
    picture *= np.linspace(1 - interior, 1.0, h, dtype=np.float32)[:, None, None]
    return opaque(picture)


def rail(look: Look, rng: np.random.Generator, width: float, height: float, slots: int) -> Raster:
    """Front of a board with its price tags."""
    density = 1000
    w, h = int(width * density), max(10, int(height * density))
    picture = _plain(look.rail_colour, w, h)
    picture *= (1.06 - 0.18 * np.linspace(0, 1, h, dtype=np.float32))[:, None, None]
    picture[: max(1, h // 16)] *= 0.7
    picture[-max(1, h // 12) :] *= 0.6
    if rng.random() < 0.3:
        stripe = int(rng.integers(2, max(3, h // 3)))
        picture[h - stripe :] = designs.colour(rng)
    for _ in range(round(slots * look.tags)):
        _tag(rng, picture, look.promo)
    return opaque(picture)


def _tag(rng: np.random.Generator, picture: Raster, promo: float) -> None:
    height, width = picture.shape[:2]
    h = int(height * rng.uniform(0.6, 0.95))
    w = min(int(h * rng.uniform(1.2, 2.8)), width - 2)
    x, y = int(rng.uniform(0, width - w)), (height - h) // 2
    paper = (40, 215, 250) if rng.random() < promo else (240, 243, 245)
    if rng.random() < 0.06:
        paper = (50, 50, 225)
    tag = np.empty((h, w, 3), np.uint8)
    tag[:] = paper
    price = f"{rng.integers(0, 40)}.{rng.integers(0, 100):02d}"
    scale = h / 34
    cv2.putText(tag, price, (int(w * 0.3), int(h * 0.8)), cv2.FONT_HERSHEY_DUPLEX, scale, (25, 25, 25), 1, cv2.LINE_AA)
    cv2.putText(tag, designs.word(rng), (2, int(h * 0.35)), cv2.FONT_HERSHEY_SIMPLEX, scale * 0.4, (60, 60, 60), 1)
    bars = np.flatnonzero(rng.random(w // 4) < 0.5) + 2
    tag[int(h * 0.5) : int(h * 0.9), bars] = 40
    picture[y : y + h, x : x + w] = tag


def wobbler(rng: np.random.Generator) -> Raster:
    """A small advertising card, BGRA."""
    colours = (((40, 215, 250), (40, 40, 220), (245, 245, 245))[int(rng.integers(3))], *designs.palette(rng)[1:])
    card = opaque(designs.face(rng, 90, 70, colours).astype(np.float32))
    if rng.random() < 0.5:
        mask = np.zeros(card.shape[:2], np.uint8)
        cv2.ellipse(mask, (45, 35), (45, 35), 0, 0, 360, 255, -1, cv2.LINE_AA)
        card[..., 3] = mask
        card[..., :3] = (card[..., :3] * (mask[..., None] / 255)).astype(np.uint8)
    return card


def fence(rng: np.random.Generator, width: float) -> Raster | None:
    """What stands on some rails so that nothing falls off: wires, or a strip of clear plastic. BGRA; else None."""
    kind = rng.random()
    if kind > 0.22:
        return None
    w, h = int(width * PX_PER_M), 32
    picture = np.zeros((h, w, 4), np.uint8)
    if kind < 0.12:
        tone = int(rng.uniform(60, 230))
        step = int(rng.integers(10, 40))
        for x in range(0, w, step):
            picture[:, x : x + 2] = (tone, tone, tone, 255)
        for y in (0, 14, 28):
            picture[y : y + 3] = (tone, tone, tone, 255)
        return picture
    alpha = float(rng.uniform(0.06, 0.25))
    picture[...] = int(255 * alpha)
    picture[:3] = int(255 * min(1.0, 3 * alpha))
    return picture


def stop(colour: tuple[int, int, int]) -> Raster:
    """The wall of a tray, lighter along its upper edge."""
    picture = _plain(colour, 64, 32)
    picture[:4] *= 1.3
    picture *= np.linspace(1.0, 0.8, 32, dtype=np.float32)[:, None, None]
    return opaque(picture)


def upright(look: Look, rng: np.random.Generator, height: float) -> Raster:
    """A perforated post."""
    w, h = 28, int(height * 500)
    picture = _plain(tuple(int(0.85 * c) for c in look.board_colour), w, h)
    picture *= (0.75 + 0.35 * np.sin(np.linspace(0.3, 2.6, w, dtype=np.float32)))[None, :, None]
    if rng.random() < 0.7:
        for y in range(6, h, 18):
            picture[y : y + 8, w // 2 - 2 : w // 2 + 2] *= 0.35
    return opaque(picture)


def wall(bay: Bay, rng: np.random.Generator) -> Raster:
    """What is behind and beside the bay: a wall, blurred store, a few lamps; BGR uint8."""
    w, h = 512, 384
    picture = _plain(bay.look.wall_colour, w, h)
    picture *= 0.7 + 0.6 * designs.noise(rng, h, w, int(rng.integers(2, 6)))[..., None]
    for _ in range(int(rng.integers(0, 40))):
        x, y = int(rng.uniform(0, w)), int(rng.uniform(0, h))
        corner = (x + int(rng.uniform(5, 60)), y + int(rng.uniform(5, 50)))
        cv2.rectangle(picture, (x, y), corner, tuple(float(c) for c in designs.colour(rng)), -1)
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(2, 14)))
    for _ in range(int(rng.integers(0, 3))):
        x, y = int(rng.uniform(0, w)), int(rng.uniform(0, h * 0.25))
        cv2.rectangle(blurred, (x, y), (x + 80, y + 5), (255, 255, 255), -1)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def floor(look: Look, rng: np.random.Generator) -> Raster:
    """Tiles or plain flooring, BGR uint8."""
    w, h = 384, 256
    picture = _plain(look.floor_colour, w, h)
    picture *= 0.85 + 0.3 * designs.noise(rng, h, w, 6)[..., None]
    if rng.random() < 0.6:
        step = int(rng.integers(24, 64))
        picture[::step] *= 0.7
        picture[:, ::step] *= 0.7
    return np.clip(picture, 0, 255).astype(np.uint8)


def shade(top: float, bottom: float) -> Raster:
    """A translucent black sheet, alpha from `top` to `bottom` (0..1), BGRA."""
    ramp = np.zeros((32, 8, 4), np.float32)
    ramp[..., 3] = np.linspace(top, bottom, 32, dtype=np.float32)[:, None] * 255
    return ramp.astype(np.uint8)


def contact() -> Raster:
    """A soft-edged shadow, BGRA."""
    mask = np.zeros((48, 48), np.float32)
    mask[10:-10, 10:-10] = 255
    picture = np.zeros((48, 48, 4), np.uint8)
    picture[..., 3] = cv2.GaussianBlur(mask, (0, 0), 4.5)
    return picture


def plinth(look: Look, rng: np.random.Generator) -> Raster:
    picture = _plain(tuple(int(c * 0.6) for c in look.board_colour), 256, 32)
    picture *= 0.9 + 0.2 * designs.noise(rng, 32, 256, 2)[..., None]
    return opaque(picture)


def header(look: Look, rng: np.random.Generator) -> Raster:
    """The sign above a bay."""
    return opaque(designs.face(rng, 600, 80, (look.rail_colour, *designs.palette(rng)[1:])).astype(np.float32))


def _plain(colour: tuple[int, ...], width: int, height: int) -> Raster:
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = colour
    return picture


def opaque(picture: Raster) -> Raster:
    """float32 BGR -> uint8 BGRA without transparency."""
    whole = np.full((*picture.shape[:2], 4), 255, np.uint8)
    whole[..., :3] = np.clip(picture, 0, 255)
    return whole
