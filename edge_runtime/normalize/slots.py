"""Slot crops: lens, homography, perspective of each slot and resolution, in one lookup per pyramid level."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.warp import NO_LENS, Lens, Matrix, Warp, scaling
from edge_runtime.records import CropSpec, Image, Layout, Slot

MAX_REMAP_ROWS = 16_384
"""cv2.remap holds less than 32,768 rows; crops are stacked, so many slots go in several calls."""
COARSE_ABOVE = 1.5
"""A crop pixel that covers more than this many frame pixels along a side is read from a coarser level."""
MAX_LEVEL = 5

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    """Maps of the slots that share a pyramid level, in the coordinates of that level's region."""

    level: int
    slots: NDArray[np.intp]
    region: tuple[int, int, int, int]
    """left, top, right, bottom in frame pixels."""
    coarse: tuple[NDArray[np.int16], NDArray[np.uint16]]
    """cv2.convertMaps' fixed-point pair."""


class SlotSampler:
    """Cuts every slot of a layout out of a picture, rectified, with a margin, at the model's crop size."""

    def __init__(self, layout: Layout, crop: CropSpec, coarse_above: float = COARSE_ABOVE) -> None:
        self._size = layout.image_size
        self._crop = crop
        self._coarse_above = coarse_above
        count, (width, height) = len(layout.slots), crop.size
        self._grid = np.stack([_slot_grid(slot, crop) for slot in layout.slots])
        self._core = _core_points(crop)
        self._crops: Image = np.zeros((count, height, width, 3), np.uint8)
        self._key: tuple[bytes, tuple[int, int], Lens] | None = None
        self._lookups: tuple[_Lookup, ...] = ()
        self._inside = np.ones(count, np.float32)
        self._density = np.ones(count, np.float32)

    @property
    def reference_grid(self) -> F32:
        """(slots, height, width, 2) reference coordinates of every crop pixel."""
        return self._grid

    def sample(self, image: Image, homography: Matrix | None, lens: Lens = NO_LENS) -> tuple[Image, F32, F32]:
        """Crops (n, h, w, 3) uint8 in a buffer that the next call reuses, `inside` (n,) and `density` (n,).

        `homography` takes reference pixels to pixels of `image` (None: the layout is scaled to the image); `lens` are the
        radial terms of `warp.Warp`. Beyond the picture its edge is repeated, and `inside` says how much of a slot that is.
        """
        size = (image.shape[1], image.shape[0])
        matrix = scaling(self._size, size) if homography is None else homography
        key = (matrix.tobytes(), size, lens)
        if key != self._key:
            self._aim(Warp(matrix, size, lens))
            self._key = key
        for lookup in self._lookups:
            self._read(image, lookup)
        return self._crops, self._inside, self._density

    def _aim(self, warp: Warp) -> None:
        count = len(self._grid)
        maps = warp.grid(self._grid)
        self._inside = _share_inside(maps[:, self._core[0], self._core[1]], warp.size)
        scale = _pixel_scale(maps)
        own = _pixel_scale(self._grid)
        self._density = (scale / np.maximum(own, 1e-6) * _spare(own, self._size, warp.size)).astype(np.float32)
        levels = np.clip(np.ceil(np.log2(np.maximum(scale, 1e-3) / self._coarse_above)), 0, MAX_LEVEL).astype(int)
        lookups = []
        for level in np.unique(levels):
            chosen = np.flatnonzero(levels == level)
            step = max(1, MAX_REMAP_ROWS // self._crop.size[1])
            parts = [chosen[start : start + step] for start in range(0, count, step)]
            lookups += [_lookup(maps, part, int(level), warp.size) for part in parts if len(part)]
        self._lookups = tuple(lookups)

    def _read(self, image: Image, lookup: _Lookup) -> None:
        left, top, right, bottom = lookup.region
        source = image[top:bottom, left:right]
        for _ in range(lookup.level):
            half = (max(1, source.shape[1] // 2), max(1, source.shape[0] // 2))
            source = np.asarray(cv2.resize(source, half, interpolation=cv2.INTER_AREA), np.uint8)
        _, height, width, _ = self._crops.shape
        whole = len(lookup.slots) == len(self._crops)
        target = self._crops.reshape(-1, width, 3) if whole else None
        read = cv2.remap(source, *lookup.coarse, cv2.INTER_LINEAR, dst=target, borderMode=cv2.BORDER_REPLICATE)
        if not whole:
            self._crops[lookup.slots] = read.reshape(-1, height, width, 3)


def _lookup(maps: F32, slots: NDArray[np.intp], level: int, size: tuple[int, int]) -> _Lookup:
    chosen = maps if len(slots) == len(maps) else maps[slots]
    left, top, right, bottom = _region(chosen, level, size)
    shrink = 0.5**level
    shift = ((0.5 - left) * shrink - 0.5, (0.5 - top) * shrink - 0.5)
    matrix = np.array([[shrink, 0.0, shift[0]], [0.0, shrink, shift[1]]])
    flat = cv2.transform(chosen.reshape(-1, chosen.shape[2], 2), matrix)
    near, weights = cv2.convertMaps(flat, None, cv2.CV_16SC2)  # type: ignore[call-overload]
    return _Lookup(level, slots, (left, top, right, bottom), (near, weights))


def _region(maps: F32, level: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of the frame that the maps need, whole blocks of the level, at least one block."""
    block = 2**level
    # Between horizon and camera a quad's extremes lie on its outline; a crop's outline holds those of its pixels.
    outline = np.concatenate([maps[:, [0, -1]].reshape(-1, 2), maps[:, :, [0, -1]].reshape(-1, 2)])
    low = np.floor(outline.min(0) / block - 1) * block
    high = np.ceil(outline.max(0) / block + 2) * block
    bounds = []
    for axis in (0, 1):
        top = max(block, size[axis] // block * block)
        start = int(np.clip(low[axis], 0, top - block))
        bounds.append((start, min(size[axis], int(np.clip(high[axis], start + block, top)))))
    return bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1]


def _slot_grid(slot: Slot, crop: CropSpec) -> F32:
    """(h, w, 2): reference coordinates of the crop pixels of the slot, grown by the margin in its own perspective."""
    width, height = crop.size
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    square = cv2.getPerspectiveTransform(unit, np.asarray(slot.polygon, np.float32))
    u, v = np.meshgrid(_ticks(width, crop.margin), _ticks(height, crop.margin))
    points = np.stack([u, v, np.ones_like(u)], -1) @ square.T
    w = np.maximum(points[..., 2:], 0.05)
    return np.asarray(points[..., :2] / w, np.float32)


def _spare(own: F32, reference: tuple[int, int], frame: tuple[int, int]) -> F32:
    """What a smaller picture than the reference is forgiven: pixels of the reference that the crops never held.

    `own` is reference pixels per crop pixel. Half the picture's size takes nothing from a slot that the crop shows at
    half the reference's size.
    """
    smaller = float(np.sqrt(reference[0] * reference[1] / (frame[0] * frame[1])))
    return np.asarray(np.clip(own, 1.0, max(1.0, smaller)), np.float32)


def _ticks(count: int, margin: float) -> NDArray[np.float64]:
    return np.asarray(-margin + (np.arange(count) + 0.5) / count * (1 + 2 * margin), np.float64)


def _core_points(crop: CropSpec) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of a lattice of crop pixels that belong to the slot itself, not to the margin."""
    u, v = _ticks(crop.size[0], crop.margin), _ticks(crop.size[1], crop.margin)
    columns, rows = np.flatnonzero((u >= 0) & (u <= 1)), np.flatnonzero((v >= 0) & (v <= 1))
    lattice = np.meshgrid(rows[:: max(1, len(rows) // 20)], columns[:: max(1, len(columns) // 20)], indexing="ij")
    return lattice[0].ravel(), lattice[1].ravel()


def _share_inside(points: F32, size: tuple[int, int]) -> F32:
    """Share of the points of each slot, (n, k, 2), that lie in the picture."""
    x, y = points[..., 0], points[..., 1]
    seen = (x >= -0.5) & (x <= size[0] - 0.5) & (y >= -0.5) & (y <= size[1] - 0.5)
    return np.asarray(seen.mean(1), np.float32)


def _pixel_scale(maps: F32) -> F32:
    """Source pixels per crop pixel along a side, by slot: square root of the area of the crop's outline."""
    corners = maps[:, [0, 0, -1, -1], [0, -1, -1, 0]].astype(np.float64)
    x, y = corners[..., 0], corners[..., 1]
    area = 0.5 * np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1))
    steps = max(1, (maps.shape[1] - 1) * (maps.shape[2] - 1))
    return np.asarray(np.sqrt(area / steps), np.float32)
