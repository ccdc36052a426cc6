"""Probes: small flat patches on structure that does not sell, where light and noise can be measured."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.structure import at, bay_mask, rail_mask, slot_mask
from edge_runtime.normalize.warp import Points, Warp
from edge_runtime.records import Image, Layout

SIDE = 5
"""Reference pixels along a probe."""
COLUMNS, ROWS = 16, 24
"""Of the grid over the reference; each cell gives its flattest place."""
DARK, BRIGHT = 14.0, 240.0
FLAT_LEVELS, FLAT_SHARE = 3.0, 0.05
"""A probe's spread in the reference is at most this many grey levels plus this share of its mean."""
OFF_RAIL = 0.4
"""Trust in a probe that does not lie on a slot's own rail."""

F32 = NDArray[np.float32]


class Probes:
    """Where the reference is flat, lit and does not sell; reads the same places in a frame with one lookup."""

    def __init__(self, layout: Layout, reference: Image) -> None:
        self.points = _places(layout, reference)
        size = layout.image_size
        self.unit = np.asarray((self.points - (np.array(size) - 1) / 2) / (size[0] / 2), np.float64)
        """(n, 2) the probes' places; the middle of the reference is 0, its half width 1."""
        self.trust = np.where(at(rail_mask(layout), self.points), 1.0, OFF_RAIL)
        """(n,) 1 on a slot's own rail; less beside the slots, where the neighbour's stock may stand."""
        offsets = np.arange(SIDE, dtype=np.float64) - SIDE // 2
        xs = self.points[:, 0, None, None] + np.broadcast_to(offsets[None, None, :], (1, SIDE, SIDE))
        ys = self.points[:, 1, None, None] + np.broadcast_to(offsets[None, :, None], (1, SIDE, SIDE))
        self._grid = np.stack([xs, ys], -1).reshape(-1, 2).astype(np.float32)
        self._aimed: Warp | None = None
        self._maps = np.zeros((0, SIDE, 2), np.float32)
        self.seen: NDArray[np.bool_] = np.ones(len(self.points), np.bool_)
        self.rows = np.zeros(len(self.points))
        self.reference_mean, _ = self.read(reference, Warp(np.eye(3), size))

    def read(self, image: Image, warp: Warp) -> tuple[F32, F32]:
        """Mean (n, 3) of each probe and spread (n,) of its green, slopes taken out.

        `seen` and `rows` then tell which probes lie in the frame, and at what share of its height.
        """
        if len(self.points) == 0:
            return np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        if warp is not self._aimed:
            self._aim(warp)
        read = cv2.remap(image, self._maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        values = np.asarray(read, np.float32).reshape(len(self.points), SIDE * SIDE, 3)
        mean = values.mean(1)
        green = values[:, :, 1].reshape(-1, SIDE, SIDE)
        rough = green[:, 1:, 1:] - green[:, :-1, 1:] - green[:, 1:, :-1] + green[:, :-1, :-1]
        return mean, np.sqrt((rough**2).mean((1, 2)) / 4.0)

    def _aim(self, warp: Warp) -> None:
        maps = warp.grid(self._grid)
        middles = maps.reshape(len(self.points), -1, 2).mean(1)
        self.seen = np.asarray((middles > 3).all(1) & (middles < np.array(warp.size) - 4).all(1), np.bool_)
        self.rows = middles[:, 1] / warp.size[1]
        self._maps = maps.reshape(-1, SIDE, 2)
        self._aimed = warp


def _places(layout: Layout, reference: Image) -> Points:
    """The flattest lit place that does not sell of each cell of a grid over the reference."""
    grey = cv2.cvtColor(reference, cv2.COLOR_BGR2GRAY).astype(np.float32)
    window = (SIDE + 2, SIDE + 2)
    brightest = cv2.max(cv2.max(reference[..., 0], reference[..., 1]), reference[..., 2])
    top = cv2.dilate(brightest, np.ones(window, np.uint8))
    static = cv2.bitwise_and(cv2.bitwise_not(slot_mask(layout)), bay_mask(layout))
    # One reference pixel of play: the finest rails are only a few pixels high.
    static = cv2.erode(static, np.ones((SIDE + 1, SIDE + 1), np.uint8))
    margin = SIDE
    static[:margin], static[-margin:], static[:, :margin], static[:, -margin:] = 0, 0, 0, 0
    ys, xs = np.nonzero(static)
    mean = np.asarray(cv2.boxFilter(grey, cv2.CV_32F, window), np.float32)[ys, xs]
    power = np.asarray(cv2.boxFilter(grey * grey, cv2.CV_32F, window), np.float32)[ys, xs]
    spread = np.sqrt(np.maximum(power - mean**2, 0.0))
    fit = (mean > DARK) & (top[ys, xs] < BRIGHT) & (spread < FLAT_LEVELS + FLAT_SHARE * mean)
    ys, xs, spread = ys[fit], xs[fit], spread[fit]
    if len(xs) == 0:
        return np.zeros((0, 2))
    height, width = grey.shape
    cell = (ys * ROWS // height) * COLUMNS + xs * COLUMNS // width
    order = np.lexsort((spread, cell))
    chosen = order[np.r_[True, np.diff(cell[order]) > 0]]
    return np.stack([xs[chosen], ys[chosen]], 1).astype(np.float64)
