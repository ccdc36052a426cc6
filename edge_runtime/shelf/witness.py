"""Does a slot look as it did when its state was last known? Fusion of pixels, without an opinion on what they show.

A model that errs on a picture errs on the next one too, for it is the same picture: repeating it is no new evidence.
So each slot keeps how it looked while its known state was confirmed, a coarse grey picture free of brightness and
contrast, and each new one is compared with that. Where the two agree nothing has been sold or filled, whatever the
model says today; where they differ something has changed, and the model must say what. A camera that moved makes every
slot look a little different at one moment: what is known is carried over it, as stock does not sell by a knock; over a
model that wants other crops as well. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Image

_SIDE, _CORE = 16, 12
"""A crop is seen as so many cells along a side; those in the middle are compared, for the margin shows neighbours."""
LOOK = _CORE * _CORE
"""Length of a look."""
_LEAST_CONTRAST = 1.0
"""Grey levels of deviation over the cells below which a crop is flat and says nothing."""

Looks = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Differences are one minus the correlation of two looks."""

    same: float = 0.03
    """Up to here, or twice what is usual for the slot, two looks are the same ..."""
    other: float = 1.5
    """... and from this many times as much they surely differ."""
    follow: float = 0.2
    """Weight of a new look in the kept one: slow changes of light are followed."""
    calm: int = 10
    """A camera that has been still for fewer pictures moves too often for anything to be carried over."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the pixels of one slot say in one picture."""

    novelty: float = 1.0
    """0: as when the known state was confirmed; 1: surely different, or nothing to compare with."""
    still: bool = False
    """As in the picture before."""


NO_SIGHTING = Sighting()


class Witness:
    """The looks of all slots of one camera. A look of zeros is none."""

    def __init__(self, count: int, settings: WitnessSettings) -> None:
        self._settings = settings
        self._kept: Looks = np.zeros((count, LOOK), np.float32)
        self._last: Looks = np.zeros((count, LOOK), np.float32)
        self._usual = np.zeros(count, np.float32)
        self._carry = np.zeros(count, np.bool_)
        self._shape: tuple[int, ...] = ()
        self._calm = settings.calm

    def compare(self, crops: Image, moved: bool) -> list[Sighting]:
        """Take the crops of one picture, (slots, h, w, 3) uint8."""
        before, self._last = self._last, looks(crops)
        if moved or (self._shape and crops.shape != self._shape):
            self._move()
        else:
            self._calm += 1
        self._shape = crops.shape
        novelty = np.where(self._carry, 0.0, self._novelty(self._last, self._kept))
        still = self._novelty(self._last, before) == 0.0
        return [Sighting(n, s) for n, s in zip(novelty.tolist(), still.tolist(), strict=True)]

    def follow(self, slots: Sequence[int]) -> None:
        """Nothing stands in front of these, and they look as they did or as the known state does: keep up with slow
        changes, and with a camera that has moved."""
        chosen = np.asarray(slots, np.intp)
        fresh = self._carry[chosen] | ~self._kept[chosen].any(axis=1)
        self.learn(chosen[fresh].tolist())
        chosen = chosen[~fresh]
        chosen = chosen[self._last[chosen].any(axis=1)]
        kept, rate = self._kept[chosen], self._settings.follow
        difference = 1.0 - (self._last[chosen] * kept).sum(axis=1)
        self._usual[chosen] += rate * (difference - self._usual[chosen])
        self._kept[chosen] = _unit(kept + rate * (self._last[chosen] - kept))

    def learn(self, slots: Sequence[int]) -> None:
        """This is how these slots look in the state that is now known."""
        chosen = np.asarray(slots, np.intp)
        chosen = chosen[self._last[chosen].any(axis=1)]
        self._kept[chosen] = self._last[chosen]
        self._carry[chosen] = False

    def _move(self) -> None:
        if self._calm >= self._settings.calm:
            self._carry[:] = self._kept.any(axis=1)
        else:
            self._kept[:] = 0.0
            self._carry[:] = False
        self._calm = 0

    def _novelty(self, these: Looks, those: Looks) -> Looks:
        same = np.maximum(self._settings.same, 2.0 * self._usual)
        difference = 1.0 - (these * those).sum(axis=1)
        novelty = np.clip((difference / same - 1.0) / (self._settings.other - 1.0), 0.0, 1.0)
        seen = these.any(axis=1) & those.any(axis=1)
        return np.asarray(np.where(seen, novelty, 1.0), np.float32)


def looks(crops: Image) -> Looks:
    """(slots, LOOK) float32 of mean 0 and length 1; zeros for crops that are flat, or smaller than 16 pixels."""
    count, height, width, _ = crops.shape
    if not count or height < _SIDE or width < _SIDE:
        return np.zeros((count, LOOK), np.float32)
    # Crops one above another: each cell's rows are those of one crop, whatever its height.
    tall = np.ascontiguousarray(crops).reshape(count * height, width, 3)
    cells = cv2.resize(tall, (_SIDE, count * _SIDE), interpolation=cv2.INTER_AREA)
    edge = (_SIDE - _CORE) // 2
    core = cells.reshape(count, _SIDE, _SIDE, 3)[:, edge:-edge, edge:-edge]
    flat = core.mean(axis=3, dtype=np.float32).reshape(count, LOOK)
    flat = flat - flat.mean(axis=1, keepdims=True)
    seen = flat.std(axis=1, keepdims=True) >= _LEAST_CONTRAST
    return np.asarray(np.where(seen, _unit(flat), 0.0), np.float32)


def _unit(vectors: Looks) -> Looks:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), np.float32)
