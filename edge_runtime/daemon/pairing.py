"""Two models' answers to the same slots, side by side, with what the pixels say: `SlotPair`s for the guard.

A look is what a slot shows until its pixels change. Answers to one look are one piece of evidence, however many pictures
were taken of it, so each pair says whether its slot shows something new. A shopper who passes does not end a look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.lifecycle.guard import SlotPair
from edge_runtime.records import Image, SlotReading
from edge_runtime.shelf.witness import Looks, looks

SAME = 0.85
"""Correlation with the kept look down to which a slot still shows the same."""
FOLLOW = 0.2
"""Weight of a newer picture in the kept look: slow changes of light are followed."""


class Pairing:
    """The slots of one camera. Pure but for what it remembers of them."""

    def __init__(self, camera: str, reference_crops: Image) -> None:
        """`reference_crops` (slots, h, w, 3): the slots as commissioned, in the crops that `pair` is given."""
        self._camera = camera
        self._reference = looks(reference_crops)
        self._kept = np.zeros_like(self._reference)

    def pair(
        self, crops: Image, moved: bool, mine: Sequence[SlotReading], theirs: Sequence[SlotReading]
    ) -> tuple[SlotPair, ...]:
        """One pair a slot, in the order of the layout. `moved`: the camera moved in this picture, so that every slot
        looks different although nothing was sold."""
        return self.pair_looks(looks(crops), moved, mine, theirs)

    def pair_looks(
        self, seen: Looks, moved: bool, mine: Sequence[SlotReading], theirs: Sequence[SlotReading]
    ) -> tuple[SlotPair, ...]:
        """As `pair`, from the looks of the crops, (slots, LOOK) float32."""
        alike = np.einsum("ij,ij->i", seen, self._kept)
        unknown = np.logical_not(self._kept.any(axis=1))
        fresh: NDArray[np.bool_] = unknown if moved else np.logical_or(unknown, alike < SAME)
        likeness = np.einsum("ij,ij->i", seen, self._reference)
        told = np.logical_and(seen.any(axis=1), self._reference.any(axis=1))
        pairs = tuple(
            SlotPair(
                self._camera,
                a.slot,
                a.state,
                b.state,
                a.confidence,
                b.confidence,
                float(new),
                near if sure else None,
            )
            for a, b, new, near, sure in zip(
                mine, theirs, fresh.tolist(), likeness.tolist(), told.tolist(), strict=True
            )
        )
        answered = np.array([pair.comparable for pair in pairs], np.bool_) & seen.any(axis=1)
        self._follow(seen, answered & (fresh | moved), answered & ~fresh)
        return pairs

    def _follow(self, seen: Looks, fresh: NDArray[np.bool_], same: NDArray[np.bool_]) -> None:
        self._kept[fresh] = seen[fresh]
        mixed = (1.0 - FOLLOW) * self._kept[same] + FOLLOW * seen[same]
        lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
        self._kept[same] = mixed / np.maximum(lengths, 1e-6)
