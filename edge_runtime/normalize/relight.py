"""Applies a light field to slot crops, in place, with buffers that are made once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.field import Field
from edge_runtime.normalize.warp import Warp
from edge_runtime.records import Image


class Relighter:
    """Multiplies each crop by its own gain, log-linear across the crop: a row factor times a column factor."""

    def __init__(self, grid: NDArray[np.float32], size: tuple[int, int]) -> None:
        """`grid` (slots, h, w, 2): reference pixel of every crop pixel; `size`: (width, height) of the reference."""
        edges = np.stack(
            [grid.mean((1, 2)), grid[:, :, 0].mean(1), grid[:, :, -1].mean(1), grid[:, 0].mean(1), grid[:, -1].mean(1)],
            1,
        )
        self._places = ((edges - (np.array(size) - 1) / 2) / (size[0] / 2)).reshape(-1, 2).astype(np.float64)
        self._spine = grid[:, :, grid.shape[2] // 2].astype(np.float64)
        count, height, width, _ = grid.shape
        self._u = (np.arange(width) / max(1, width - 1) - 0.5)[None, :, None]
        self._v = (np.arange(height) / max(1, height - 1) - 0.5)[None, :, None]
        self._work = np.empty((count, height, width, 3), np.float32)

    def apply(self, crops: Image, field: Field, warp: Warp) -> None:
        """Relight `crops`, cut with `warp`, in place.

        What the sensor clipped was at least its ceiling, so a gain below one takes it to the ceiling times the gain, like
        all that is nearly as bright: painted white instead, a bright panel would come out mottled. `SlotQuality.saturated`
        is measured before.
        """
        value = field.at(self._places).reshape(len(crops), 5, 3)
        middle, left, right, top, bottom = (value[:, k, None, :] for k in range(5))
        across = np.exp(middle + (right - left) * self._u).astype(np.float32)
        down = (bottom - top) * self._v
        if field.band[0]:
            rows = warp.points(self._spine.reshape(-1, 2))[:, 1].reshape(self._spine.shape[:2]) / warp.size[1]
            down = down + field.of_rows(np.nan_to_num(rows))[:, :, None]
        np.multiply(crops, across[:, None], out=self._work)
        np.multiply(self._work, np.exp(down).astype(np.float32)[:, :, None], out=self._work)
        np.minimum(self._work, 255.0, out=self._work)
        np.add(self._work, 0.5, out=self._work)
        np.copyto(crops, self._work, casting="unsafe")
