"""The "before": what a model sees without any normalization."""

from __future__ import annotations

import time

from edge_runtime.normalize.canvas import CanvasPainter
from edge_runtime.normalize.quality import saturated_share
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.warp import Warp, scaling
from edge_runtime.records import (
    CropSpec,
    Frame,
    Image,
    Layout,
    Light,
    Registration,
    RegistrationStatus,
    SlotQuality,
    Unusable,
    View,
)


class RawNormalizer:
    """Polygons scaled to the frame, light as it is, nothing refused. Implements `pipeline.Normalizer`."""

    def __init__(self, layout: Layout, reference: Image, crop: CropSpec) -> None:
        self._size, self._margin = layout.image_size, crop.margin
        self._sampler = SlotSampler(layout, crop)
        self._reference_crops = SlotSampler(layout, crop).sample(reference, None)[0]
        self._painter = CanvasPainter(layout, crop.canvas) if crop.canvas else None

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots as they were when the camera was commissioned."""
        return self._reference_crops

    def normalize(self, frame: Frame) -> View | Unusable:
        """Cut the scaled polygons; always a View."""
        began = time.perf_counter()
        size = (frame.pixels.shape[1], frame.pixels.shape[0])
        matrix = scaling(self._size, size)
        crops, inside, density = self._sampler.sample(frame.pixels, matrix)
        canvas = self._painter.paint(frame.pixels, Warp(matrix, size)) if self._painter else None
        ms = {"register": 0.0, "light": 0.0, "crops": 1e3 * (time.perf_counter() - began), "quality": 0.0}
        quality = SlotQuality(inside, saturated_share(crops, self._margin), density)
        registration = Registration(RegistrationStatus.OFF, matrix)
        return View(frame, registration, Light(False), crops, quality, 1.0, 0.0, ms, canvas)

    def single(self, frame: Frame) -> View | Unusable:
        """The same: nothing is kept between frames."""
        return self.normalize(frame)
