"""The room's door: one camera's frames in, views (or the reason why not) out."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize import gate, light
from edge_runtime.normalize.features import ORB_WIDTH, Grey
from edge_runtime.normalize.parallax import NO_PARALLAX, PacksPlane
from edge_runtime.normalize.probes import Probes
from edge_runtime.normalize.quality import SharpnessGauge, noise_of, saturated_share
from edge_runtime.normalize.raw import RawNormalizer
from edge_runtime.normalize.relight import Relighter
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.track import MOVED_PX, Place, Tracker
from edge_runtime.normalize.warp import Warp, scaling
from edge_runtime.records import (
    CropSpec,
    Frame,
    Image,
    Layout,
    Light,
    Reason,
    Registration,
    RegistrationStatus,
    Remark,
    SlotQuality,
    Unusable,
    View,
)

__all__ = ["Normalizer", "RawNormalizer", "saturated_share"]


WHOLLY = 0.98
"""Share of a slot in the picture from which it counts as seen wholly."""


class Normalizer:
    """Implements `pipeline.Normalizer` for one camera stream; one thread at a time."""

    def __init__(
        self, layout: Layout, reference: Image, crop: CropSpec, settings: NormalizeSettings | None = None
    ) -> None:
        self._size = layout.image_size
        self._settings = settings or NormalizeSettings()
        self._margin = crop.margin
        self._sampler = SlotSampler(layout, crop)
        self._tracker = Tracker(layout, reference)
        self._packs = PacksPlane(layout, self._tracker.registrar.anchors)
        self._probes = Probes(layout, reference)
        self._relighter = Relighter(self._sampler.reference_grid, layout.image_size)
        self._sharpness = SharpnessGauge(self._tracker.registrar.anchors.static_points, reference)
        self._watch = gate.FrozenWatch(self._settings.frozen_frames, self._settings.frozen_s)
        self._reference_small = gate.small_grey(reference)
        self._reference_crops = SlotSampler(layout, crop).sample(reference, None)[0]
        self._corners = np.asarray([s.polygon for s in layout.slots], np.float64).reshape(-1, 2)

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots as they were when the camera was commissioned."""
        return self._reference_crops

    def normalize(self, frame: Frame) -> View | Unusable:
        """Register, relight and resample; or say why not. Never raises for what a camera may show."""
        return self._normalize(frame, self._settings.stateless)

    def single(self, frame: Frame) -> View | Unusable:
        """Normalize a photograph of its own: full registration, nothing remembered."""
        return self._normalize(frame, True)

    def _normalize(self, frame: Frame, alone: bool) -> View | Unusable:
        began = time.perf_counter()
        small = gate.small_grey(frame.pixels)
        verdict = self._gated(frame, small, alone)
        if verdict is not None:
            refused = Registration(RegistrationStatus.REFUSED, None, detail="not tried")
            return Unusable(frame, verdict.reason, verdict.detail, refused, Light(False), _ms(began))
        place = self._located(frame, small, alone)
        if place.fit.warp is None:
            return self._refused(frame, small, place, began)
        return self._view(frame, place, place.fit.warp, began)

    def _gated(self, frame: Frame, small: Grey, alone: bool) -> gate.Verdict | None:
        if not self._settings.gate:
            return None
        verdict = gate.unseeable(frame.pixels, small, self._size)
        if verdict is None and not alone:
            verdict = self._watch.frozen(small, frame.captured_monotonic_s)
        return verdict

    def _located(self, frame: Frame, small: Grey, alone: bool) -> Place:
        if not self._settings.register:
            size = (frame.pixels.shape[1], frame.pixels.shape[0])
            return self._tracker.assumed(Warp(scaling(self._size, size), size))
        return self._tracker.single(frame.pixels) if alone else self._tracker.locate(frame.pixels, small)

    def _refused(self, frame: Frame, small: Grey, place: Place, began: float) -> Unusable:
        fit = place.fit
        refused = Registration(RegistrationStatus.REFUSED, None, fit.inliers, detail=fit.detail)
        verdict = gate.unmatched(small, self._reference_small)
        reason = verdict.reason if verdict else Reason.WRONG_SCENE
        detail = verdict.detail if verdict else f"this is not the commissioned view: {fit.detail}"
        return Unusable(frame, reason, detail, refused, Light(False), _ms(began))

    def _view(self, frame: Frame, place: Place, warp: Warp, began: float) -> View:
        packs = self._packs.plane(frame.pixels, warp) if self._settings.register else NO_PARALLAX
        seen = packs.warp or warp
        registered = time.perf_counter()
        crops, inside, density = self._sampler.sample(frame.pixels, seen.homography, seen.lens)
        inside = place.fit.certain(inside, self._size)
        saturated = saturated_share(crops, self._margin)
        cut = time.perf_counter()
        means, spreads = self._probes.read(frame.pixels, warp)
        lit = self._relit(crops, means, seen)
        relit = time.perf_counter()
        noise = noise_of(spreads, self._probes.seen)
        sharpness = self._sharpness.read(frame.pixels, warp, noise)
        # What is seen within a probe was amplified with the crops; what is seen between probes is measured after that.
        gain = max(1.0, float(np.mean(lit.gain))) if lit.applied else 1.0
        noise = float(np.hypot(noise * gain, lit.scatter))
        registration = Registration(
            RegistrationStatus.OK if self._settings.register else RegistrationStatus.OFF,
            warp.best_homography(self._corners),
            place.fit.inliers,
            place.fit.residual_px,
            place.moved,
            place.how,
            packs.shift_px,
            self._remarks(warp, inside),
        )
        ended = time.perf_counter()
        ms = {
            "register": 1e3 * (registered - began),
            "light": 1e3 * (relit - cut),
            "crops": 1e3 * (cut - registered),
            "quality": 1e3 * (ended - relit),
        }
        return View(frame, registration, lit, crops, SlotQuality(inside, saturated, density), sharpness, noise, ms)

    def _remarks(self, warp: Warp, inside: NDArray[np.float32]) -> tuple[Remark, ...]:
        if not self._settings.register:
            return ()
        plain = Warp(scaling(self._size, warp.size), warp.size)
        off = np.hypot(*(warp.points(self._corners) - plain.points(self._corners)).T) * self._size[0] / warp.size[0]
        moved = not bool((off < MOVED_PX * max(1.0, self._size[0] / ORB_WIDTH)).all())
        partly = bool((inside < WHOLLY).any())
        return (Remark.CAMERA_MOVED,) * moved + (Remark.PARTLY_OUT_OF_VIEW,) * partly

    def _relit(self, crops: Image, means: np.ndarray[tuple[int, ...], np.dtype[np.float32]], seen_by: Warp) -> Light:
        if not self._settings.light:
            return Light(False, detail="off")
        probes = self._probes
        seen = probes.seen
        found, field = light.match(
            probes.unit[seen],
            probes.reference_mean[seen].astype(np.float64),
            means[seen].astype(np.float64),
            probes.rows[seen],
            probes.trust[seen],
        )
        if field is not None:
            self._relighter.apply(crops, field, seen_by)
        return found


def _ms(began: float) -> dict[str, float]:
    return {"register": 1e3 * (time.perf_counter() - began), "light": 0.0, "crops": 0.0, "quality": 0.0}
