"""A painted shelf: rails with price tags, packs with print, and the layout that goes with it. Flat, so exactly warpable."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.records import Frame, Image, Layout, Slot

SIZE = (960, 720)
ROWS, COLUMNS = 3, 5
LEFT, TOP, WIDTH, HEIGHT, RAIL = 110, 60, 148, 160, 36


def layout() -> Layout:
    """3 x 5 slots in a 960 x 720 reference."""
    slots = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            x0, y0 = float(LEFT + column * WIDTH), float(TOP + row * (HEIGHT + RAIL))
            quad = ((x0, y0), (x0 + WIDTH, y0), (x0 + WIDTH, y0 + HEIGHT), (x0, y0 + HEIGHT))
            slots.append(Slot(f"r{row}c{column}", "sku", quad))
    return Layout(Path("layout.json"), Path("reference.jpg"), SIZE, tuple(slots))


def shelf(seed: int = 1, empty: Collection[int] = (), swapped: Collection[int] = (), packs: int | None = None) -> Image:
    """The shelf with the given seed's rails; `packs` is the seed of its products (the same unless given)."""
    image = np.full((SIZE[1], SIZE[0], 3), (96, 90, 88), np.uint8)
    rng = np.random.default_rng((seed, 0))
    wall = rng.integers(60, 120, (12, 16, 3)).astype(np.uint8)
    image[:] = cv2.resize(wall, SIZE, interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(image, (LEFT - 10, TOP - 20), (LEFT + COLUMNS * WIDTH + 10, SIZE[1] - 40), (70, 66, 64), -1)
    for x in (LEFT - 34, LEFT + COLUMNS * WIDTH + 12):
        cv2.rectangle(image, (x, 20), (x + 22, SIZE[1] - 20), (150, 148, 146), -1)
        for y in range(40, SIZE[1] - 40, 24 + int(rng.integers(0, 9))):
            cv2.rectangle(image, (x + 8, y), (x + 13, y + 9), (40, 40, 40), -1)
    for row in range(ROWS):
        _rail(image, TOP + row * (HEIGHT + RAIL) + HEIGHT, rng)
    for index, slot in enumerate(layout().slots):
        if index not in empty:
            own = (packs if packs is not None else seed, 7, index + (1000 if index in swapped else 0))
            _pack(image, slot, np.random.default_rng(own))
    return image


def _rail(image: Image, y: int, rng: np.random.Generator) -> None:
    cv2.rectangle(image, (LEFT - 10, y), (LEFT + COLUMNS * WIDTH + 10, y + RAIL - 6), (196, 200, 204), -1)
    x = LEFT + int(rng.integers(0, 30))
    while x < LEFT + COLUMNS * WIDTH - 60:
        colour = (235, 236, 235) if rng.random() < 0.7 else (60, 220, 235)
        cv2.rectangle(image, (x, y + 3), (x + 52, y + RAIL - 9), colour, -1)
        price = f"{rng.integers(0, 30)}.{rng.integers(10, 99)}"
        cv2.putText(image, price, (x + 3, y + 21), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
        x += 64 + int(rng.integers(0, 40))


def _pack(image: Image, slot: Slot, rng: np.random.Generator) -> None:
    (x0, y0), _, (x1, y1), _ = slot.polygon
    count = int(rng.integers(1, 4))
    width = int((x1 - x0 - 8) / count)
    height = int((y1 - y0) * rng.uniform(0.6, 0.95))
    face = np.full((height, width - 2, 3), rng.integers(40, 220, 3), np.uint8)
    for _ in range(9):
        a = rng.integers(0, [width, height])
        b = a + rng.integers(6, 40, 2)
        cv2.rectangle(face, a.tolist(), b.tolist(), rng.integers(0, 255, 3).tolist(), -1)
    for k in range(3):
        word = "".join(chr(int(c)) for c in rng.integers(65, 90, 4))
        at = (3, 20 + int(k * height / 3))
        cv2.putText(face, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, rng.integers(0, 255, 3).tolist(), 2, cv2.LINE_AA)
    for k in range(count):
        left = int(x0) + 4 + k * width
        image[int(y1) - height : int(y1), left : left + width - 2] = face


def view_from(yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    """Homography of a camera that walked around the shelf's middle."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    ry = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    rx = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    rz = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turn, focal, away = rz @ rx @ ry, 1100.0, 1100.0
    middle = np.array([[1, 0, -(SIZE[0] - 1) / 2], [0, 1, -(SIZE[1] - 1) / 2], [0, 0, 1.0]])
    plane = np.column_stack([turn[:, 0], turn[:, 1], [0, 0, away]])
    camera = np.diag([focal * zoom, focal * zoom, 1.0])
    h = np.linalg.inv(middle) @ camera @ plane @ middle
    return np.asarray(h / h[2, 2])


def seen(image: Image, homography: np.ndarray, size: tuple[int, int] = SIZE) -> Image:
    return np.asarray(
        cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR, borderValue=(80, 80, 80)), np.uint8
    )


def crowd(reach: int) -> Image:
    """People before the left part of the shelf, as far as this column."""
    image = shelf()
    cv2.rectangle(image, (0, 0), (reach, 719), (70, 110, 60), -1)
    rng = np.random.default_rng(4)
    for _ in range(60):
        x, y = rng.integers(0, reach - 40), rng.integers(0, 700)
        cv2.circle(image, (int(x), int(y)), 14, rng.integers(0, 255, 3).tolist(), -1)
    return image


def noisy(image: Image, sigma: float = 1.5, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def frame(image: Image, second: float = 0.0) -> Frame:
    return Frame("cam", int(second), image, 1.7e9 + second, second)
