"""All packs the simulator knows: photographs that ship with it, and invented ones from seeds.

A pack's name decides everything: its look, and whether it belongs to the training packs or to those held out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge_runtime.errors import Unavailable
from edge_runtime.simulator.geometry import Raster
from edge_runtime.simulator.shapes import FAMILIES, Body, body

PackSet = Literal["train", "heldout"]
HELD_OUT_FAMILY = "jar"
"""No jar is ever in the training packs."""
HELD_OUT_SHARE = 0.2
VARIANTS = 600
"""Invented packs per family."""
_PHOTOGRAPHS = Path(__file__).parent / "packs"
_PRODUCE_DEPTH = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A pack ready to be drawn. Pictures are BGRA uint8, colour multiplied with alpha, largest first, each half as large."""

    id: str
    front: tuple[Raster, ...]
    side: tuple[Raster, ...]
    """Empty for round and soft packs."""
    top: tuple[Raster, ...]
    aspect: float
    """Width / height of the front."""
    depth: float
    """Depth / width."""
    gloss: float
    stacks: bool


def digest(text: str) -> int:
    """A stable 64-bit number of a text: the same on every machine and run."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def is_held_out(pack: str) -> bool:
    family = pack.rpartition("-")[0]
    return family == HELD_OUT_FAMILY or digest("split:" + pack) % 1000 < 1000 * HELD_OUT_SHARE


@lru_cache(maxsize=1)
def photographs() -> tuple[str, ...]:
    """Names of the photographed packs. Raises Unavailable when the package lacks them."""
    names = tuple(sorted(path.stem.removesuffix("_Iconic") for path in _PHOTOGRAPHS.glob("*.jpg")))
    if not names:
        raise Unavailable(f"{_PHOTOGRAPHS} holds no pack pictures", "Install the package again")
    return names


@lru_cache(maxsize=2)
def invented(packs: PackSet) -> tuple[str, ...]:
    names = (f"{family}-{number:04d}" for family in FAMILIES for number in range(VARIANTS))
    return tuple(name for name in names if is_held_out(name) == (packs == "heldout"))


@lru_cache(maxsize=2)
def photographed(packs: PackSet) -> tuple[str, ...]:
    return tuple(name for name in photographs() if is_held_out(name) == (packs == "heldout"))


def draw_pack(rng: np.random.Generator, packs: PackSet, photograph_share: float) -> str:
    """A random pack's name."""
    names = photographed(packs) if rng.random() < photograph_share else invented(packs)
    return names[int(rng.integers(len(names)))]


@lru_cache(maxsize=160)
def load_pack(pack: str) -> Pack:
    """The pack of that name. Raises Unavailable for a name that is neither photographed nor of a known family."""
    family = pack.rpartition("-")[0]
    if family in FAMILIES and pack.rpartition("-")[2].isdigit():
        shape = body(family, np.random.default_rng(digest(pack)))
    elif pack in photographs():
        shape = _cut_out(_PHOTOGRAPHS / f"{pack}_Iconic.jpg")
    else:
        raise Unavailable(f"no pack is called {pack!r}", "See edge_runtime.simulator.catalogue.invented")
    return _packed(pack, shape)


def _packed(name: str, shape: Body) -> Pack:
    height, width = shape.front.shape[:2]
    top: tuple[Raster, ...] = ()
    if shape.top is not None and shape.side is not None:
        top = _levels(np.full((16, 16, 4), (*shape.top, 255), np.uint8))
    side = () if shape.side is None else _levels(shape.side)
    return Pack(name, _levels(shape.front), side, top, width / height, shape.depth, shape.gloss, shape.stacks)


def _levels(picture: Raster) -> tuple[Raster, ...]:
    """Multiply with alpha, add a clear border of a pixel (smooth outlines), and halve while anything is left."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    solid = np.dstack([(picture[..., :3] * alpha).astype(np.uint8), picture[..., 3]])
    levels = []
    while True:
        levels.append(cv2.copyMakeBorder(solid, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)))
        height, width = solid.shape[:2]
        if min(height, width) < 16:
            return tuple(levels)
        solid = cv2.resize(solid, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _cut_out(path: Path) -> Body:
    """A photograph on white: what is connected to the picture's edge and white is not the pack."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise Unavailable(f"{path} is not a picture", "Install the package again")
    framed = cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    mask = np.zeros((framed.shape[0] + 2, framed.shape[1] + 2), np.uint8)
    cv2.floodFill(
        framed.copy(), mask, (0, 0), (0, 0, 0), (7,) * 3, (7,) * 3, 4 | cv2.FLOODFILL_FIXED_RANGE | (255 << 8)
    )
    pack = cv2.morphologyEx(255 - mask[1:-1, 1:-1], cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    pack = cv2.erode(pack, np.ones((3, 3), np.uint8))
    x, y, w, h = cv2.boundingRect(pack)
    alpha = cv2.GaussianBlur(pack, (0, 0), 0.8)[y : y + h, x : x + w]
    cut = np.dstack([framed[y : y + h, x : x + w], alpha])
    return Body(cut, None, None, _PRODUCE_DEPTH, 0.3, False)
