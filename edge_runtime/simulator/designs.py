"""Printed faces of invented packs: blocks, stripes, gradients, pictures, logos and lettering, from a seed."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.simulator.geometry import Raster

_SYLLABLES = [
    "ba",
    "be",
    "bo",
    "cre",
    "da",
    "del",
    "fa",
    "fro",
    "ga",
    "go",
    "hu",
    "ka",
    "ki",
    "la",
    "lo",
    "ma",
    "mi",
    "mo",
    "na",
    "ni",
    "nu",
    "o",
    "pa",
    "po",
    "ra",
    "ri",
    "ro",
    "sa",
    "so",
    "ta",
    "ti",
    "to",
    "va",
    "vi",
    "zo",
]
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)

Colour = tuple[int, int, int]


def word(rng: np.random.Generator) -> str:
    """An invented brand."""
    name = "".join(rng.choice(_SYLLABLES) for _ in range(int(rng.integers(2, 4))))
    return name.upper() if rng.random() < 0.6 else name.capitalize()


def colour(rng: np.random.Generator) -> Colour:
    """BGR; saturated, pastel, dark and near-white ones all occur."""
    kind = rng.random()
    saturation, value = (
        (rng.uniform(150, 255), rng.uniform(120, 245))
        if kind < 0.5
        else (rng.uniform(20, 110), rng.uniform(170, 250))
        if kind < 0.75
        else (rng.uniform(0, 140), rng.uniform(20, 80))
        if kind < 0.87
        else (rng.uniform(0, 18), rng.uniform(215, 250))
    )
    hsv = np.array([[[rng.uniform(0, 180), saturation, value]]], np.uint8)
    b, g, r = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0]
    return int(b), int(g), int(r)


def palette(rng: np.random.Generator) -> tuple[Colour, ...]:
    """Five colours of one brand; the last one reads on the first."""
    first = colour(rng)
    ink = (245, 248, 250) if sum(first) < 380 else tuple(int(c * 0.18) for c in first)
    return first, colour(rng), colour(rng), colour(rng), (int(ink[0]), int(ink[1]), int(ink[2]))


def noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Raster:
    """Smooth noise over three octaves, float32 (height, width), about 0..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        n = max(2, cells << octave)
        grid = rng.random((n, max(2, n * width // max(height, 1))), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total / 1.75


def face(rng: np.random.Generator, width: int, height: int, colours: tuple[Colour, ...]) -> Raster:
    """One printed face, (height, width, 3) BGR uint8."""
    picture = _ground(rng, width, height, colours)
    for _ in range(int(rng.integers(0, 4))):
        _block(rng, picture, colours[int(rng.integers(1, 4))])
    if rng.random() < 0.6:
        _photograph(rng, picture, colours)
    _logo(rng, picture, colours)
    for _ in range(int(rng.integers(1, 5))):
        _line(rng, picture, colours)
    if rng.random() < 0.15:
        _barcode(rng, picture)
    return picture


def _ground(rng: np.random.Generator, width: int, height: int, colours: tuple[Colour, ...]) -> Raster:
    a, b = np.array(colours[0], np.float32), np.array(colours[1], np.float32)
    kind = rng.random()
    if kind < 0.4:
        share = np.zeros((height, width), np.float32)
    elif kind < 0.65:
        angle = rng.uniform(0, np.pi)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        ramp = x * np.cos(angle) + y * np.sin(angle)
        share = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    elif kind < 0.85:
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 50)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        share = (np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period) > 0).astype(np.float32)
    else:
        share = np.clip(noise(rng, height, width, int(rng.integers(2, 8))) * 2 - 0.6, 0, 1)
    return (a + (b - a) * share[..., None]).astype(np.uint8)


def _block(rng: np.random.Generator, picture: Raster, ink: Colour) -> None:
    height, width = picture.shape[:2]
    kind = rng.random()
    if kind < 0.4:
        top = int(rng.uniform(-0.1, 0.9) * height)
        cv2.rectangle(picture, (0, top), (width, top + int(rng.uniform(0.06, 0.4) * height)), ink, -1)
    elif kind < 0.6:
        corners = (rng.random((4, 2)) * (width, height)).astype(np.int32)
        cv2.fillConvexPoly(picture, cv2.convexHull(corners), ink, cv2.LINE_AA)
    elif kind < 0.85:
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (int(rng.uniform(0.1, 0.6) * width), int(rng.uniform(0.06, 0.35) * height))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, ink, -1, cv2.LINE_AA)
    else:
        edge = int(rng.uniform(0.02, 0.09) * width) + 1
        cv2.rectangle(picture, (edge, edge), (width - edge, height - edge), ink, edge)


def _photograph(rng: np.random.Generator, picture: Raster, colours: tuple[Colour, ...]) -> None:
    """A patch that looks like a photograph of food from afar: mottled, shaded, with a few round things."""
    height, width = picture.shape[:2]
    w, h = int(rng.uniform(0.35, 1.0) * width), int(rng.uniform(0.18, 0.5) * height)
    x, y = int(rng.uniform(0, width - w + 1)), int(rng.uniform(0.15 * height, height - h + 1))
    a, b = (np.array(colour(rng), np.float32) for _ in range(2))
    patch = a + (b - a) * np.clip(noise(rng, h, w, int(rng.integers(2, 10))), 0, 1)[..., None]
    patch = patch.astype(np.uint8)
    for _ in range(int(rng.integers(0, 7))):
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        radius, ink = int(rng.uniform(0.06, 0.25) * min(w, h)) + 2, colour(rng)
        cv2.circle(patch, centre, radius, ink, -1, cv2.LINE_AA)
        light = tuple(min(255, c + 60) for c in ink)
        cv2.circle(patch, (centre[0] - radius // 3, centre[1] - radius // 3), radius // 3, light, -1, cv2.LINE_AA)
    if rng.random() < 0.5:
        mask = np.zeros((h, w), np.uint8)
        cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 255, -1)
        patch = np.where(mask[..., None] > 0, patch, picture[y : y + h, x : x + w])
    picture[y : y + h, x : x + w] = patch


def _logo(rng: np.random.Generator, picture: Raster, colours: tuple[Colour, ...]) -> None:
    height, width = picture.shape[:2]
    centre = (width // 2, int(rng.uniform(0.12, 0.45) * height))
    ink = colours[4]
    if rng.random() < 0.6:
        ground = colours[int(rng.integers(1, 4))]
        half = (int(rng.uniform(0.25, 0.5) * width), int(rng.uniform(0.06, 0.14) * height))
        if rng.random() < 0.5:
            cv2.ellipse(picture, centre, half, float(rng.uniform(-12, 12)), 0, 360, ground, -1, cv2.LINE_AA)
        else:
            corner = (centre[0] - half[0], centre[1] - half[1])
            cv2.rectangle(picture, corner, (centre[0] + half[0], centre[1] + half[1]), ground, -1)
        ink = (245, 248, 250) if sum(ground) < 380 else (30, 25, 35)
    _text(rng, picture, word(rng), centre, rng.uniform(0.5, 0.95) * width, ink)


def _line(rng: np.random.Generator, picture: Raster, colours: tuple[Colour, ...]) -> None:
    height, width = picture.shape[:2]
    place = (int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.3, 0.97) * height))
    text = (
        " ".join(word(rng) for _ in range(int(rng.integers(1, 3))))
        if rng.random() < 0.7
        else f"{rng.integers(50, 999)} g"
    )
    _text(rng, picture, text, place, rng.uniform(0.25, 0.8) * width, colours[4 if rng.random() < 0.6 else 2])


def _text(
    rng: np.random.Generator, picture: Raster, text: str, centre: tuple[int, int], width: float, ink: Colour
) -> None:
    font = int(rng.choice(_FONTS))
    (w, h), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(width / max(w, 1), 0.25 * picture.shape[0] / max(h, 1))
    thickness = max(1, round(scale * rng.uniform(1.5, 4)))
    corner = (int(centre[0] - w * scale / 2), int(centre[1] + h * scale / 2))
    cv2.putText(picture, text, corner, font, scale, ink, thickness, cv2.LINE_AA)


def _barcode(rng: np.random.Generator, picture: Raster) -> None:
    height, width = picture.shape[:2]
    w, h = max(12, int(0.35 * width)), max(6, int(0.08 * height))
    x, y = int(rng.uniform(0, max(1, width - w))), int(rng.uniform(0.7 * height, height - h))
    picture[y : y + h, x : x + w] = 250
    bars = np.flatnonzero(rng.random(w - 4) < 0.5) + x + 2
    picture[y + 1 : y + h - 1, bars] = 15
