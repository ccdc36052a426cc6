"""Boxes to slots: how much of each slot is covered, and what that says.

A slot is a lattice of points; a point's evidence is the best score of the boxes over it, so boxes that overlap count once
(the union) and a box that lies over two slots counts for the share of each that it covers. Evidence is put together by
Dempster's rule (Dempster 1967, Shafer 1976): stock and voids are two sources, each with what it leaves open; what both leave
open goes to what the decoder says of `nothing`, and what contradicts itself is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.decoder import Decoder
from edge_runtime.inference.detect.boxes import Boxes, Floats
from edge_runtime.records import Layout

LATTICE = 10
"""Points along a side of a slot: shares are told to one hundredth."""
BLOCK = 32
"""Boxes compared with all points at once; bounds the memory."""
NEVER = 1e-4
"""No evidence is sure; keeps probabilities off 0 and 1."""
Points = NDArray[np.float32]


class SlotCover:
    """The slots of one layout as points, and what boxes say of them."""

    def __init__(self, layout: Layout, decoder: Decoder) -> None:
        self._decoder = decoder
        corners = np.asarray([slot.polygon for slot in layout.slots], np.float64)
        self._points = np.concatenate([_lattice(quad) for quad in corners])
        self._count = len(corners)
        self._largest = decoder.largest * float(np.median(_area(corners)))

    def probabilities(self, found: Sequence[Boxes], places: NDArray[np.float64]) -> Floats:
        """(slots, 3 or 4) over stocked, low, empty [, blocked]; rows sum to one.

        `found` are the boxes of each tile, `places` (tiles, 4) where the tiles lie (`records.Canvas`).
        """
        decoder, cover = self._decoder, self._decoder.cover
        facing = [_facings(boxes, place, self._largest) for boxes, place in zip(found, places, strict=True)]
        product, product_score = self._covered(facing, places, decoder.products)
        void, void_score = self._covered(facing, places, decoder.voids)
        low = np.clip(product / cover.low, 0.0, 1.0) if cover.low else np.zeros_like(product)
        full = np.clip((product - cover.low) / (cover.stocked - cover.low), 0.0, 1.0)
        stocked, partly = product_score * full, product_score * np.maximum(low - full, 0.0)
        empty = void_score * np.clip(void / cover.empty, 0.0, 1.0)
        answers = _combined(stocked, partly, empty, _open(decoder))
        if not decoder.blockers:
            return answers
        blocker, blocker_score = self._covered(found, places, decoder.blockers)
        blocked = blocker_score * np.clip(blocker / cover.blocked, 0.0, 1.0)
        return np.concatenate([answers * (1.0 - blocked[:, None]), blocked[:, None]], 1).astype(np.float32)

    def _covered(
        self, found: Sequence[Boxes], places: NDArray[np.float64], classes: tuple[int, ...]
    ) -> tuple[Floats, Floats]:
        """(slots,) share of each slot under boxes of these classes, and their mean score where they are; 0 without any."""
        best = np.zeros(len(self._points), np.float32)
        for boxes, place in zip(found, places, strict=True):
            chosen = np.isin(boxes.labels, classes)
            corners = boxes.corners[chosen] * np.tile(place[2:], 2) + np.tile(place[:2], 2)
            _paint(best, self._points, corners.astype(np.float32), boxes.scores[chosen])
        by_slot = best.reshape(self._count, -1)
        covered = (by_slot > 0).sum(1)
        score = by_slot.sum(1) / np.maximum(covered, 1)
        return (covered / by_slot.shape[1]).astype(np.float32), score.astype(np.float32)


def _facings(boxes: Boxes, place: NDArray[np.float64], largest: float) -> Boxes:
    """Without boxes of more than `largest` square pixels of the reference."""
    sides = (boxes.corners[:, 2:] - boxes.corners[:, :2]) * place[2:]
    return boxes.taken(sides[:, 0] * sides[:, 1] <= largest)


def _area(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4, 2) to (n,), by the shoelace formula."""
    x, y = quads[..., 0], quads[..., 1]
    return np.asarray(0.5 * np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1)), np.float64)


def _paint(best: Floats, points: Points, corners: Floats, scores: Floats) -> None:
    """Raise `best` to the score of every box over a point, in place."""
    x, y = points[:, 0], points[:, 1]
    for start in range(0, len(corners), BLOCK):
        part = corners[start : start + BLOCK, :, None]
        over = (x >= part[:, 0]) & (x < part[:, 2]) & (y >= part[:, 1]) & (y < part[:, 3])
        shown = np.where(over, scores[start : start + BLOCK, None], np.float32(0.0))
        np.maximum(best, shown.max(0), out=best)


def _open(decoder: Decoder) -> NDArray[np.float64]:
    """How what no box tells is shared between stocked, low and empty."""
    if decoder.nothing == "unknown":
        return np.full(3, 1.0 / 3.0)
    rest = (1.0 - decoder.absence) / 2
    return np.array([rest, rest, decoder.absence])


def _combined(stock: Floats, partly: Floats, void: Floats, left: NDArray[np.float64]) -> Floats:
    """Dempster's rule for stock (stocked, low, open) and voids (empty, open); what is open is shared as `left` says."""
    stocked, low, empty = (np.clip(part, 0.0, 1.0 - NEVER).astype(np.float64) for part in (stock, partly, void))
    no_stock = np.maximum(1.0 - stocked - low, NEVER)
    mass = np.stack([stocked * (1.0 - empty), low * (1.0 - empty), empty * no_stock], 1)
    mass += (no_stock * (1.0 - empty))[:, None] * left
    return np.asarray(mass / mass.sum(1, keepdims=True), np.float32)


def _lattice(corners: NDArray[np.float64]) -> Points:
    """Points of a slot's quad, bilinear between its corners; as edge coordinates (a pixel's centre plus one half)."""
    ticks = (np.arange(LATTICE) + 0.5) / LATTICE
    u, v = (part.reshape(-1, 1) for part in np.meshgrid(ticks, ticks))
    top, bottom = corners[0] * (1 - u) + corners[1] * u, corners[3] * (1 - u) + corners[2] * u
    return np.asarray(top * (1 - v) + bottom * v + 0.5, np.float32)
