"""The declared feature sets of scikit-learn models: slot crops to a vector of a few hundred numbers.

`grid/1` compares the current crop with the commissioned one, block by block; `grid-alone/1` looks at the current crop
only. What a set computes never changes: a better one gets a new name. `features_graph` writes the same as ONNX.

A crop is divided into GRID x GRID blocks. With pixels centred on 128 every sum over a block of at most 1,024 pixels is
a whole number below 2^24, which float32 holds exactly in any order: numpy and any ONNX runtime agree to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused

GRID = 4
MAX_BLOCK = 1024
"""Pixels of a block."""
CENTRE = 128
SPREAD_UNIT, SLOPE_UNIT, LEVELS = 64.0, 32.0, 255.0
FLOOR = 1.0
"""Added to variances (grey levels squared): a flat block has a spread, and its correlation is small, not undefined."""
GLOBAL_FLOOR = 1e-6
PAIR_COLUMNS = (
    "difference_b",
    "difference_g",
    "difference_r",
    "spread",
    "spread_reference",
    "correlation",
    "change",
    "slope_x",
    "slope_y",
    "slope_x_reference",
    "slope_y_reference",
)
ALONE_COLUMNS = ("mean_b", "mean_g", "mean_r", "spread", "slope_x", "slope_y")
_CHUNK = 128

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One declared set; `columns` are computed for each block, then their mean and their spread over the blocks."""

    name: str
    columns: tuple[str, ...]
    pair: bool
    """Whether the reference crop is looked at."""

    @property
    def width(self) -> int:
        """Length of the vector."""
        return len(self.columns) * (GRID * GRID + 2)

    @property
    def names(self) -> tuple[str, ...]:
        """What each number of the vector is, such as `row0_column3_correlation`."""
        places = [f"row{row}_column{column}" for row in range(GRID) for column in range(GRID)]
        return tuple(f"{place}_{column}" for place in (*places, "mean", "deviation") for column in self.columns)


PAIR = FeatureSet("grid/1", PAIR_COLUMNS, pair=True)
ALONE = FeatureSet("grid-alone/1", ALONE_COLUMNS, pair=False)
FEATURE_SETS = {entry.name: entry for entry in (PAIR, ALONE)}


def feature_set(name: str) -> FeatureSet:
    """The set of that name. Raises Refused if there is none."""
    if name not in FEATURE_SETS:
        raise Refused(f"there is no feature set {name!r}", f"Take one of {', '.join(FEATURE_SETS)}")
    return FEATURE_SETS[name]


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a crop to those of a block. Raises Refused if the crop can not be divided into blocks."""
    width, height = size
    block = width // GRID, height // GRID
    if width % GRID or height % GRID or min(block) < 2 or block[0] * block[1] > MAX_BLOCK:
        raise Refused(
            f"crops of {width}x{height} pixels can not be divided into {GRID}x{GRID} blocks of 4 to {MAX_BLOCK} pixels",
            f"Take a size that {GRID} divides, such as 80x80; at most 128x128",
        )
    return block


def features(current: NDArray[np.uint8], reference: NDArray[np.uint8] | None = None) -> Floats:
    """Crops (n, h, w, 3) uint8 BGR to float32 (n, width): `grid/1` with a reference, `grid-alone/1` without.

    Raises Refused for crops of a size that has no grid.
    """
    check_size((current.shape[2], current.shape[1]))
    chosen = ALONE if reference is None else PAIR
    made = np.empty((len(current), chosen.width), np.float32)
    for begin in range(0, len(current), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        now = _centred(current[rows])
        blocks = _alone(now) if reference is None else _pair(now, _centred(reference[rows]))
        made[rows] = _with_summary(blocks)
    return made


def _pair(now: Floats, then: Floats) -> Floats:
    """(n, blocks, columns) of `grid/1`."""
    area = _area(now)
    mean_now, spread_now = _moments(now, area)
    mean_then, spread_then = _moments(then, area)
    shared = (_block_sums(now * then) / area - mean_now * mean_then).sum(-1, keepdims=True) / np.float32(3)
    change = _block_sums(np.abs(now - then)).sum(-1, keepdims=True) / (3 * area * np.float32(SPREAD_UNIT))
    columns = (
        (mean_now - mean_then) / np.float32(LEVELS),
        spread_now / np.float32(SPREAD_UNIT),
        spread_then / np.float32(SPREAD_UNIT),
        shared / (spread_now * spread_then),
        change,
        _slopes(now, area),
        _slopes(then, area),
    )
    return np.concatenate(columns, -1)


def _alone(now: Floats) -> Floats:
    """(n, blocks, columns) of `grid-alone/1`."""
    area = _area(now)
    mean, spread = _moments(now, area)
    return np.concatenate((mean / np.float32(LEVELS), spread / np.float32(SPREAD_UNIT), _slopes(now, area)), -1)


def _centred(crops: NDArray[np.uint8]) -> Floats:
    return crops.astype(np.float32) - np.float32(CENTRE)


def _area(crops: Floats) -> np.float32:
    return np.float32((crops.shape[1] // GRID) * (crops.shape[2] // GRID))


def _block_sums(maps: Floats) -> Floats:
    """(n, h, w, k) to (n, GRID * GRID, k)."""
    rows, height, width, kinds = maps.shape
    strips = maps.reshape(rows, GRID, height // GRID, width * kinds).sum(2)
    sums: Floats = strips.reshape(rows, GRID * GRID, width // GRID, kinds).sum(2)
    return sums


def _moments(crops: Floats, area: np.float32) -> tuple[Floats, Floats]:
    """Mean of each colour (n, blocks, 3), and the spread of all three together (n, blocks, 1), in grey levels."""
    mean = _block_sums(crops) / area
    variance = (_block_sums(crops * crops) / area - mean * mean).sum(-1, keepdims=True) / np.float32(3)
    return mean, np.sqrt(np.maximum(variance, np.float32(0)) + np.float32(FLOOR))


def _slopes(crops: Floats, area: np.float32) -> Floats:
    """Mean absolute difference of neighbours, along x and along y: (n, blocks, 2). The last column and row have none."""
    across = np.zeros((*crops.shape[:3], 1), np.float32)
    down = np.zeros_like(across)
    across[:, :, :-1] = np.abs(crops[:, :, 1:] - crops[:, :, :-1]).sum(-1, keepdims=True)
    down[:, :-1] = np.abs(crops[:, 1:] - crops[:, :-1]).sum(-1, keepdims=True)
    return _block_sums(np.concatenate((across, down), -1)) / (3 * area * np.float32(SLOPE_UNIT))


def _with_summary(blocks: Floats) -> Floats:
    """(n, blocks, columns) to (n, width): the blocks in reading order, then mean and deviation over them."""
    mean = blocks.mean(1, keepdims=True)
    away = blocks - mean
    deviation = np.sqrt((away * away).mean(1) + np.float32(GLOBAL_FLOOR))
    return np.concatenate((blocks.reshape(len(blocks), -1), mean[:, 0], deviation), 1)
