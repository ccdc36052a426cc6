"""The room's door: one camera's frames in, views (or the reason why not) out."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize import gate, light
from edge_runtime.normalize.canvas import CanvasPainter
from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.field import Field
from edge_runtime.normalize.parallax import NO_PARALLAX, PacksPlane, Parallax
from edge_runtime.normalize.probes import Probes
from edge_runtime.normalize.quality import SharpnessGauge, noise_of, saturated_share
from edge_runtime.normalize.raw import RawNormalizer
from edge_runtime.normalize.relight import Relighter
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.track import Place, Tracker, moved_px
from edge_runtime.normalize.warp import Matrix, Warp, scaling
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


@dataclass(frozen=True, slots=True, eq=False)
class _Stand:
    """What is to be said of one registration in each of its frames."""

    warp: Warp
    homography: Matrix
    """The lens folded in as well as a 3x3 can."""
    displaced: bool
    """The camera does not stand where it was commissioned."""


@dataclass(slots=True, eq=False)
class _Newest:
    """The newest frame that could be used, and where the shelf lay in it."""

    frame: Frame | None = None
    place: Place | None = None


class Normalizer:
    """Implements `pipeline.Normalizer` for one camera stream; one thread at a time."""

    def __init__(
        self, layout: Layout, reference: Image, crop: CropSpec, settings: NormalizeSettings | None = None
    ) -> None:
        self._size = layout.image_size
        self._layout, self._reference = layout, reference
        self._settings = settings or NormalizeSettings()
        self._tracker = Tracker(layout, reference)
        self._packs = PacksPlane(layout, self._tracker.registrar.anchors)
        self._probes = Probes(layout, reference)
        self._sharpness = SharpnessGauge(self._tracker.registrar.anchors.static_points, reference)
        self._watch = gate.FrozenWatch(self._settings.frozen_frames, self._settings.frozen_s)
        self._reference_small = gate.small_grey(reference)
        self._stand: _Stand | None = None
        self._newest = _Newest()
        self._corners = np.asarray([s.polygon for s in layout.slots], np.float64).reshape(-1, 2)
        self._cut_for(crop)

    def _cut_for(self, crop: CropSpec) -> None:
        """What depends on the model's crops; all else depends on the camera alone."""
        self.crop = crop
        self._margin = crop.margin
        self._sampler = SlotSampler(self._layout, crop)
        self._relighter = Relighter(self._sampler.reference_grid, self._layout.image_size)
        self._reference_crops = SlotSampler(self._layout, crop).sample(self._reference, None)[0]
        self._painter = CanvasPainter(self._layout, crop.canvas) if crop.canvas else None

    def recut(self, crop: CropSpec) -> Normalizer:
        """The same camera cut for another model: what is known of camera and light is shared, and costs nothing.

        May be called in another thread while this one works. Of the two only one may take a frame by `normalize`, or
        the camera would count as frozen; the other takes it by `again`, in the same thread.
        """
        other = copy.copy(self)
        other._cut_for(crop)
        return other

    def again(self, frame: Frame) -> View | None:
        """The frame that the normalizer this one was recut from has just found usable, in this one's crops; None if
        it was another frame. Nothing is looked for again."""
        place = self._newest.place
        if frame is not self._newest.frame or place is None or place.fit.warp is None:
            return None
        return self._view(frame, place, self._stood(place.fit.warp), self._settings.stateless, time.perf_counter())

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
        self._newest.frame, self._newest.place = frame, place
        return self._view(frame, place, self._stood(place.fit.warp), alone, began)

    def _gated(self, frame: Frame, small: Grey, alone: bool) -> gate.Verdict | None:
        if not self._settings.gate:
            return None
        verdict = gate.unseeable(frame.pixels, small, self._size)
        if verdict is None and not alone:
            verdict = self._watch.frozen(small, frame.captured_monotonic_s)
        return verdict

    def _located(self, frame: Frame, small: Grey, alone: bool) -> Place:
        if not self._settings.register:
            return self._tracker.assumed((frame.pixels.shape[1], frame.pixels.shape[0]))
        return self._tracker.single(frame.pixels) if alone else self._tracker.locate(frame.pixels, small)

    def _refused(self, frame: Frame, small: Grey, place: Place, began: float) -> Unusable:
        fit = place.fit
        refused = Registration(RegistrationStatus.REFUSED, None, fit.inliers, detail=fit.detail)
        verdict = gate.unmatched(small, self._reference_small)
        reason = verdict.reason if verdict else Reason.WRONG_SCENE
        detail = verdict.detail if verdict else f"this is not the commissioned view: {fit.detail}"
        return Unusable(frame, reason, detail, refused, Light(False), _ms(began))

    def _view(self, frame: Frame, place: Place, stand: _Stand, alone: bool, began: float) -> View:
        packs = self._packs_of(frame, stand.warp, alone)
        cut_by = packs.warp or stand.warp
        registered = time.perf_counter()
        crops, inside, density = self._sampler.sample(frame.pixels, cut_by.homography, cut_by.lens)
        saturated = saturated_share(crops, self._margin)
        cut = time.perf_counter()
        means, spreads = self._probes.read(frame.pixels, stand.warp)
        lit, field = self._relit(crops, means, cut_by)
        relit = time.perf_counter()
        canvas = self._painter.paint(frame.pixels, cut_by, field) if self._painter else None
        painted = time.perf_counter()
        noise = noise_of(spreads, self._probes.seen)
        sharpness = self._sharpness.read(frame.pixels, stand.warp, noise)
        registration = self._registration(place, stand, packs, inside)
        quality = SlotQuality(place.fit.certain(inside, self._size), saturated, density)
        ended = time.perf_counter()
        ms = {
            "register": 1e3 * (registered - began),
            "light": 1e3 * (relit - cut),
            "crops": 1e3 * (cut - registered + painted - relit),
            "quality": 1e3 * (ended - painted),
        }
        return View(frame, registration, lit, crops, quality, sharpness, _noise_left(noise, lit), ms, canvas)

    def _packs_of(self, frame: Frame, rail: Warp, alone: bool) -> Parallax:
        if not self._settings.register:
            return NO_PARALLAX
        return self._packs.plane(frame.pixels, rail) if alone else self._packs.kept(frame.pixels, rail)

    def _stood(self, warp: Warp) -> _Stand:
        """Worked out once per registration: a still camera's warp is the same object from frame to frame."""
        if self._stand is None or self._stand.warp is not warp:
            plain = Warp(scaling(self._size, warp.size), warp.size)
            off = np.hypot(*(warp.points(self._corners) - plain.points(self._corners)).T) * self._size[0] / warp.size[0]
            displaced = not bool((off < moved_px(self._size)).all())
            self._stand = _Stand(warp, warp.best_homography(self._corners), displaced)
        return self._stand

    def _registration(self, place: Place, stand: _Stand, packs: Parallax, inside: NDArray[np.float32]) -> Registration:
        fit, sought = place.fit, self._settings.register
        remarks: tuple[Remark, ...] = ()
        if sought and stand.displaced:
            remarks += (Remark.CAMERA_MOVED,)
        if sought and (inside < WHOLLY).any():
            remarks += (Remark.PARTLY_OUT_OF_VIEW,)
        status = RegistrationStatus.OK if sought else RegistrationStatus.OFF
        return Registration(
            status,
            stand.homography,
            fit.inliers,
            fit.residual_px,
            place.moved,
            place.how,
            packs.shift_px,
            remarks,
        )

    def _relit(self, crops: Image, means: NDArray[np.float32], cut_by: Warp) -> tuple[Light, Field | None]:
        if not self._settings.light:
            return Light(False, detail="off"), None
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
            self._relighter.apply(crops, field, cut_by)
        return found, field


def _noise_left(noise: float, lit: Light) -> float:
    """Noise in the crops: what is seen within a probe was amplified with them, what is seen between probes is left of it."""
    gain = max(1.0, float(np.mean(lit.gain))) if lit.applied else 1.0
    return float(np.hypot(noise * gain, lit.scatter))


def _ms(began: float) -> dict[str, float]:
    return {"register": 1e3 * (time.perf_counter() - began), "light": 0.0, "crops": 0.0, "quality": 0.0}
