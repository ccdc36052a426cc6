"""The whole normalized view as one picture, for models that look for things instead of at slots.

Registration, lens, the packs' plane and the light are those of the slot crops; a tile is cut like a large crop, by one
remap.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.field import Field
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.warp import Warp
from edge_runtime.records import Canvas, CanvasSpec, CropSpec, Image, Layout, Slot

COARSE_ABOVE = 2.0
"""As `slots.COARSE_ABOVE`, later: detectors are trained on pictures that were shrunk without any smoothing."""
STEP = 16
"""Pixels of a tile between places where the light's field is worked out; it is as smooth as that."""
Rect = tuple[float, float, float, float]
"""Left, top, width, height; pixel edges at integers."""


class CanvasPainter:
    """Paints frames of one camera into the canvas that a model wants, with buffers that are made once."""

    def __init__(self, layout: Layout, spec: CanvasSpec) -> None:
        self._size = layout.image_size
        rects = tiles_of(region_of(layout, spec), spec)
        inner, shift = fitted(rects[0][2:], spec)
        self._places = np.array(
            [
                (x - shift[0] * w / inner[0], y - shift[1] * h / inner[1], w / inner[0], h / inner[1])
                for x, y, w, h in rects
            ]
        )
        slots = tuple(Slot(str(number), "", _quad(rect)) for number, rect in enumerate(rects))
        shown = Layout(layout.path, layout.reference, layout.image_size, slots)
        self._sampler = SlotSampler(shown, CropSpec(inner, 0.0), COARSE_ABOVE)
        self._light = _Light(self._sampler.reference_grid, layout.image_size)
        width, height = spec.size
        self._pixels = np.empty((len(rects), height, width, 3), np.uint8)
        self._pixels[:] = spec.pad
        left, top = shift
        self._inner = self._pixels[:, top : top + inner[1], left : left + inner[0]]

    def paint(self, image: Image, warp: Warp, field: Field | None = None) -> Canvas:
        """The canvas of one frame; `warp` takes reference pixels to its pixels, `field` is the light to be evened out."""
        read, _, _ = self._sampler.sample(image, warp.homography, warp.lens)
        if field is not None:
            self._light.apply(read, field, warp)
        self._inner[:] = read
        return Canvas(self._pixels, self._places)


class _Light:
    """Multiplies tiles by the gain of a field, worked out on a lattice and interpolated between its points."""

    def __init__(self, grid: NDArray[np.float32], size: tuple[int, int]) -> None:
        """`grid` (tiles, h, w, 2): reference pixel of every tile pixel; `size`: (width, height) of the reference."""
        self._half, self._centre = size[0] / 2, (np.array(size) - 1) / 2
        _, height, width, _ = grid.shape
        self._work = np.empty((height, width, 3), np.float32)
        rows, columns = (np.linspace(0, side - 1, 2 + side // STEP).astype(np.float32) for side in (height, width))
        self._lattice = grid[:, rows.round().astype(np.intp)][:, :, columns.round().astype(np.intp)].astype(np.float64)
        self._down, self._across = (
            np.interp(np.arange(side), ticks.round(), np.arange(len(ticks))).astype(np.float32)
            for side, ticks in ((height, rows), (width, columns))
        )

    def apply(self, tiles: Image, field: Field, warp: Warp) -> None:
        """Relight tiles that were cut with `warp`, in place; what is clipped is treated as `Relighter.apply` does."""
        work = self._work
        for tile, lattice in zip(tiles, self._lattice, strict=True):
            places = ((lattice - self._centre) / self._half).reshape(-1, 2)
            gain = self._spread(field.at(places).reshape(*lattice.shape[:2], 3).astype(np.float32))
            if field.band[0]:
                seen = warp.points(lattice.reshape(-1, 2))[:, 1].reshape(lattice.shape[:2]) / warp.size[1]
                rows = self._spread(np.nan_to_num(seen).astype(np.float32))
                gain += field.of_rows(rows.astype(np.float64)).astype(np.float32)[..., None]
            np.multiply(tile, np.exp(gain, out=gain), out=work)
            np.minimum(work, 255.0, out=work)
            np.add(work, 0.5, out=work)
            np.copyto(tile, work, casting="unsafe")

    def _spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lattice values at every pixel, linear between lattice points."""
        x = np.broadcast_to(self._across, (len(self._down), len(self._across)))
        y = np.broadcast_to(self._down[:, None], x.shape)
        read = cv2.remap(values, np.ascontiguousarray(x), np.ascontiguousarray(y), cv2.INTER_LINEAR)
        return np.asarray(read, np.float32)


def region_of(layout: Layout, spec: CanvasSpec) -> Rect:
    """What of the reference picture the canvas shows."""
    width, height = layout.image_size
    if not spec.slots_only:
        return 0.0, 0.0, float(width), float(height)
    corners = np.asarray([slot.polygon for slot in layout.slots], np.float64).reshape(-1, 2) + 0.5
    low, high = corners.min(0), corners.max(0)
    grown = spec.margin * (high - low)
    low = np.maximum(low - grown, 0.0)
    high = np.minimum(high + grown, (width, height))
    span = np.maximum(high - low, 1.0)
    return float(low[0]), float(low[1]), float(span[0]), float(span[1])


def tiles_of(region: Rect, spec: CanvasSpec) -> list[Rect]:
    """Equal tiles that cover the region row by row, each sharing `overlap` of its side with the next."""
    left, top, width, height = region
    columns, rows = spec.tiles
    w = width / (columns - (columns - 1) * spec.overlap)
    h = height / (rows - (rows - 1) * spec.overlap)
    step = 1.0 - spec.overlap
    return [(left + column * w * step, top + row * h * step, w, h) for row in range(rows) for column in range(columns)]


def fitted(shown: tuple[float, float], spec: CanvasSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) that the shown rectangle takes of a tile, and (left, top) where it lies in it."""
    width, height = spec.size
    if not spec.letterbox:
        return spec.size, (0, 0)
    scale = min(width / shown[0], height / shown[1])
    inner = (min(width, max(1, round(shown[0] * scale))), min(height, max(1, round(shown[1] * scale))))
    shift = ((width - inner[0]) // 2, (height - inner[1]) // 2) if spec.centred else (0, 0)
    return inner, shift


def _quad(rect: Rect) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Corners as a slot's polygon has them: pixel centres at integers."""
    left, top = rect[0] - 0.5, rect[1] - 0.5
    right, bottom = left + rect[2], top + rect[3]
    return (left, top), (right, top), (right, bottom), (left, bottom)
