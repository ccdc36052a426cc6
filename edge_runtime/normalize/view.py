"""The room's door: one camera's frames in, views (or the reason why not) out."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edge_runtime.normalize.register import Registrar
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.warp import scaling
from edge_runtime.records import (
    CropSpec,
    Frame,
    Image,
    Layout,
    Light,
    Reason,
    Registration,
    RegistrationStatus,
    SlotQuality,
    Unusable,
    View,
)

CEILING = 250
"""A grey level at or above this is the sensor's ceiling."""


class Normalizer:
    """Implements `pipeline.Normalizer` for one camera; not for two threads at once."""

    def __init__(
        self, layout: Layout, reference: Image, crop: CropSpec, settings: NormalizeSettings | None = None
    ) -> None:
        self._layout = layout
        self._settings = settings or NormalizeSettings()
        self._sampler = SlotSampler(layout, crop)
        self._registrar = Registrar(layout, _grey(reference))
        self._reference_crops = SlotSampler(layout, crop).sample(reference, None)[0]
        self._corners = np.asarray([s.polygon for s in layout.slots], np.float64).reshape(-1, 2)

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots as they were when the camera was commissioned."""
        return self._reference_crops

    def normalize(self, frame: Frame) -> View | Unusable:
        """Register, relight and resample; or say why not. Never raises for what a camera may show."""
        began = time.perf_counter()
        fit = self._registrar.register(_grey(frame.pixels))
        registered = time.perf_counter()
        ms = {"register": 1e3 * (registered - began)}
        if fit.warp is None:
            refused = Registration(RegistrationStatus.REFUSED, None, fit.inliers, detail=fit.detail)
            return Unusable(frame, Reason.WRONG_SCENE, fit.detail, refused, Light(False), ms)
        crops, inside, density = self._sampler.sample(frame.pixels, fit.warp.homography, fit.warp.lens)
        ms["crops"] = 1e3 * (time.perf_counter() - registered)
        homography = fit.warp.best_homography(self._corners)
        registration = Registration(RegistrationStatus.OK, homography, fit.inliers, fit.residual_px, detail=fit.detail)
        quality = SlotQuality(inside, saturated_share(crops), density)
        return View(frame, registration, Light(False), crops, quality, 1.0, 0.0, ms)

    def single(self, frame: Frame) -> View | Unusable:
        """Normalize a photograph of its own, whatever came before."""
        return self.normalize(frame)


class RawNormalizer:
    """The "before": polygons scaled to the frame, light as it is, nothing refused."""

    def __init__(self, layout: Layout, reference: Image, crop: CropSpec) -> None:
        self._size = layout.image_size
        self._sampler = SlotSampler(layout, crop)
        self._reference_crops = SlotSampler(layout, crop).sample(reference, None)[0]

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots as they were when the camera was commissioned."""
        return self._reference_crops

    def normalize(self, frame: Frame) -> View | Unusable:
        """Cut the scaled polygons; always a View."""
        began = time.perf_counter()
        matrix = scaling(self._size, (frame.pixels.shape[1], frame.pixels.shape[0]))
        crops, inside, density = self._sampler.sample(frame.pixels, matrix)
        ms = {"register": 0.0, "light": 0.0, "crops": 1e3 * (time.perf_counter() - began), "quality": 0.0}
        quality = SlotQuality(inside, saturated_share(crops), density)
        return View(frame, Registration(RegistrationStatus.OFF, matrix), Light(False), crops, quality, 1.0, 0.0, ms)


def saturated_share(crops: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Share of each crop, (n, h, w, 3), where all three channels stand at the ceiling."""
    return np.asarray((crops.min(3) >= CEILING).mean((1, 2)), np.float32)


def _grey(pixels: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
