"""Where the shelf lies in a camera's frames over time: looks again only when the camera has moved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_runtime.normalize.features import ORB_WIDTH, Grey
from edge_runtime.normalize.fit import Fit
from edge_runtime.normalize.register import Registrar
from edge_runtime.normalize.still import StillSensor
from edge_runtime.normalize.warp import Warp, scaling
from edge_runtime.records import Image, Layout

CHECK_EVERY = 300
"""Frames after which even a still camera's registration is confirmed anew."""
FOLLOW_SHARE = 0.75
"""Following is believed while this share of the last registration's anchors still agrees."""
HELD_SEEN, HELD_PX = 12, 0.22
"""A registration is held through a refusal while this many anchors stand where they stood (small grey pixels) ..."""
HELD_FRAMES = 20
"""... and for this many frames at most: shoppers walk on."""
MOVED_PX = 2.0
"""A camera has moved when its view is displaced somewhere by more than this many reference pixels (at ORB_WIDTH)."""
SAME_PX = 0.4
"""A new registration that differs by less from the last one (reference pixels) says nothing new."""
RETRY_EVERY = 8
"""A picture that was refused and has not changed since is looked at again after this many frames: a registration that
finds nothing costs the most (about 0.6 s), and a stream of another scene would pay it for every frame."""
UNCHANGED_LEVELS = 2.0
"""Mean difference of the small grey pictures, in levels, up to which a picture counts as unchanged; sensor noise, averaged
over so many pixels, stays below 1."""
FOLLOWED_SEEN = 0.3
"""Share of the still sensor's anchors that must look the same for the last registration to be worth following."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the shelf lies in one frame, and how that was found."""

    fit: Fit
    moved: bool
    how: str
    """`registered`, `followed`, `still`, `held`, `refused` or `not sought`."""


class Tracker:
    """Registration of one camera stream."""

    def __init__(self, layout: Layout, reference: Image) -> None:
        grey = grey_of(reference)
        self._size = layout.image_size
        self.registrar = Registrar(layout, grey)
        self._sensor = StillSensor(self.registrar.anchors.steady_points)
        self._last: Fit | None = None
        self._assumed: Warp | None = None
        self._age = self._held = 0
        self._refused: tuple[Fit, Grey] | None = None
        """The last refusal and its picture, while nothing was found since."""
        self._spared = 0

    def single(self, image: Image) -> Place:
        """Register a picture of its own; nothing is remembered."""
        fit = self.registrar.register(grey_of(image))
        return Place(fit, False, "registered" if fit.warp else "refused")

    def assumed(self, size: tuple[int, int]) -> Place:
        """The commissioned place in a frame of this (width, height), taken for granted."""
        if self._assumed is None or self._assumed.size != size:
            self._assumed = Warp(scaling(self._size, size), size)
        return Place(Fit(self._assumed, 0, None, ""), False, "not sought")

    def locate(self, image: Image, small: Grey) -> Place:
        """Register the next picture of the stream. `small` is its `gate.small_grey`."""
        last = self._last
        if last is None or last.warp is None or last.warp.size != (image.shape[1], image.shape[0]):
            return self._refused_before(small) or self._anew(image, small)
        motion = self._sensor.compare(small)
        self._age += 1
        if motion.still and self._age < CHECK_EVERY:
            self._held, self._refused = 0, None
            return Place(last, False, "still")
        spared = self._refused_before(small)
        if spared is not None:
            return spared
        grey = grey_of(image)
        if motion.share > FOLLOWED_SEEN:
            fit = self.registrar.follow(grey, last.warp)
            if fit.warp is not None and fit.share >= FOLLOW_SHARE * last.share:
                return self._keep(fit, small, "followed")
        fit = self.registrar.register(grey)
        if fit.warp is not None:
            return self._keep(fit, small, "registered")
        self._held += 1
        if motion.seen >= HELD_SEEN and motion.shift_px < HELD_PX and self._held <= HELD_FRAMES:
            return Place(last, False, "held")
        return self._refuse(fit, small)

    def _refused_before(self, small: Grey) -> Place | None:
        """The last refusal again, without looking, while the picture is the one that was refused."""
        if self._refused is None or self._spared + 1 >= RETRY_EVERY:
            return None
        fit, picture = self._refused
        if picture.shape != small.shape or float(cv2.norm(picture, small, cv2.NORM_L1)) > UNCHANGED_LEVELS * small.size:
            return None
        self._spared += 1
        return Place(fit, False, "refused")

    def _refuse(self, fit: Fit, small: Grey) -> Place:
        self._refused, self._spared = (fit, small.copy()), 0
        return Place(fit, False, "refused")

    def _anew(self, image: Image, small: Grey) -> Place:
        fit = self.registrar.register(grey_of(image))
        if fit.warp is None:
            return self._refuse(fit, small)
        self._remember(fit, small)
        return Place(fit, False, "registered")

    def _keep(self, fit: Fit, small: Grey, how: str) -> Place:
        """Take a new registration; the old warp stays where the new one says the same to a fraction of a pixel."""
        last = self._last
        assert last is not None and last.warp is not None and fit.warp is not None
        step = self._largest_step(last, fit)
        self._remember(replace(fit, warp=last.warp) if step < SAME_PX else fit, small)
        assert self._last is not None
        return Place(self._last, step > moved_px(self._size), how)

    def _largest_step(self, last: Fit, fit: Fit) -> float:
        """Largest move of the reference's corners and middle between two registrations, in reference pixels."""
        assert last.warp is not None and fit.warp is not None
        width, height = self._size
        places = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9], [0.5, 0.5]]) * (width, height)
        step = np.hypot(*(fit.warp.points(places) - last.warp.points(places)).T)
        return float(np.nan_to_num(step, nan=1e3).max()) * width / fit.warp.size[0]

    def _remember(self, fit: Fit, small: Grey) -> None:
        assert fit.warp is not None
        self._last, self._age, self._held, self._refused = fit, 0, 0, None
        self._sensor.remember(small, fit.warp)


def moved_px(reference: tuple[int, int]) -> float:
    """MOVED_PX in pixels of a reference of this (width, height)."""
    return MOVED_PX * max(1.0, reference[0] / ORB_WIDTH)


def grey_of(pixels: Image) -> Grey:
    """BGR to grey."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
