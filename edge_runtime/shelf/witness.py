"""Does a slot look as it did when its state was last known? Fusion of pixels, without an opinion on what they show.

A model that errs on a picture errs on the next one too, for it is the same picture: repeating it is no new evidence.
So each slot keeps how it looked while its known state was confirmed, a coarse grey picture free of brightness and
contrast, and each new one is compared with that. Where the two agree nothing has been sold or filled, whatever the
model says today; where they differ something has changed, and the model must say what. A camera that moved makes every
slot look a little different at one moment: what is known is carried over it, as stock does not sell by a knock.
No clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Image

CELLS = 12
"""A slot is compared in so many cells along a side."""
_CORE = 0.75
"""Share of a crop's side that is compared: the margin shows the neighbours."""
_LEAST_CONTRAST = 1.0
"""Grey levels over the cells below which a crop is flat and says nothing."""

Looks = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Differences are one minus the correlation of two looks."""

    same: float = 0.05
    """Up to here, or twice what is usual for the slot, two looks are the same ..."""
    other: float = 1.5
    """... and from this many times as much they surely differ."""
    follow: float = 0.2
    """Weight of a new look in the kept one: slow changes of light are followed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the pixels of one slot say in one picture."""

    novelty: float = 1.0
    """0: as when the known state was confirmed; 1: surely different, or nothing to compare with."""
    still: bool = False
    """As in the picture before."""


NOTHING_KNOWN = Sighting()


class Witness:
    """The looks of all slots of one camera."""

    def __init__(self, count: int, settings: WitnessSettings) -> None:
        self._settings = settings
        self._kept: list[Looks | None] = [None] * count
        self._usual = np.zeros(count, np.float32)
        self._last: Looks | None = None
        self._carry = [False] * count

    def compare(self, crops: Image, moved: bool) -> tuple[Sighting, ...]:
        """Take the crops of one picture, (slots, h, w, 3) uint8."""
        before, self._last = self._last, looks(crops)
        if moved:
            self._carry = [kept is not None for kept in self._kept]
        return tuple(self._sighting(slot, look, before) for slot, look in enumerate(self._last))

    def _sighting(self, slot: int, look: Looks, before: Looks | None) -> Sighting:
        if not look.any():
            return NOTHING_KNOWN
        still = before is not None and self._novelty(slot, look, before[slot]) == 0.0
        kept = self._kept[slot]
        if kept is None:
            return Sighting(still=still)
        return Sighting(0.0 if self._carry[slot] else self._novelty(slot, look, kept), still)

    def _novelty(self, slot: int, look: Looks, other: Looks) -> float:
        same = max(self._settings.same, 2.0 * float(self._usual[slot]))
        difference = 1.0 - float(look @ other)
        return min(1.0, max(0.0, (difference / same - 1.0) / (self._settings.other - 1.0)))

    def follow(self, slot: int) -> None:
        """Nothing stands in front, and the slot looks as it did: keep up with slow changes, and with a moved camera."""
        look, kept = self._newest(slot), self._kept[slot]
        if look is None:
            return
        if kept is None or self._carry[slot]:
            self.learn(slot)
            return
        rate = self._settings.follow
        self._usual[slot] += rate * (1.0 - float(look @ kept) - self._usual[slot])
        mixed = kept + rate * (look - kept)
        self._kept[slot] = np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-6), np.float32)

    def learn(self, slot: int) -> None:
        """This is how the slot looks in the state that is now known."""
        look = self._newest(slot)
        if look is not None:
            self._kept[slot] = look
            self._carry[slot] = False

    def _newest(self, slot: int) -> Looks | None:
        if self._last is None or not self._last[slot].any():
            return None
        look: Looks = self._last[slot]
        return look


def looks(crops: Image) -> Looks:
    """(slots, CELLS * CELLS) float32 of mean 0 and length 1; all zero for crops that are flat or too small."""
    count, height, width, _ = crops.shape
    tall, wide = (max(0, int(side * _CORE) // CELLS) for side in (height, width))
    if not count or not tall or not wide:
        return np.zeros((count, CELLS * CELLS), np.float32)
    top, left = (height - tall * CELLS) // 2, (width - wide * CELLS) // 2
    core = crops[:, top : top + tall * CELLS, left : left + wide * CELLS]
    cells = core.reshape(count, CELLS, tall, CELLS, wide, 3).mean(axis=(2, 4, 5), dtype=np.float32)
    flat = cells.reshape(count, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    seen = length >= _LEAST_CONTRAST * CELLS
    return np.asarray(np.where(seen, flat / np.maximum(length, 1e-6), 0.0), np.float32)
