"""A detector's confidence fitted to labelled shelves: the temperature of `manifest.Confidence` that makes the truth most likely.

Boxes' scores only order; what they are worth as probabilities is found on a field dataset that nobody chose the description
by, with the detector's own evidence (`Detector.evidence`) and the quality that the device would measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.camera.still import decode_still
from edge_runtime.errors import Refused
from edge_runtime.inference.confidence import NOISE_UNIT
from edge_runtime.inference.detect.detector import Detector
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import open_session
from edge_runtime.manifest import Confidence, Manifest
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import Frame, View
from edge_runtime.workshop.calibrate import LIMITS, ROUNDS, T_RANGE
from edge_runtime.workshop.field_bench.dataset import BenchShelf

MIN_SLOTS = 100
"""Labelled slots that a fit needs."""
LEAST = 1e-7
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A confidence, and what it did to the calibration of the slots that it was fitted to."""

    confidence: Confidence
    slots: int
    loss_before: float
    """Mean negative log-likelihood at temperature one."""
    loss_after: float


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Labelled slots as the detector saw them."""

    shares: Floats
    """(n, labels) evidence."""
    covariates: Floats
    """(n, 5): one, and what `Confidence` weighs of blur, noise, density and glare."""
    truth: NDArray[np.intp]
    """(n,) column of the true label."""


def fit_detector(
    model: bytes, manifest: Manifest, shelves: Sequence[BenchShelf], progress: Callable[[int], None] = lambda done: None
) -> Fitted:
    """Run the detector over every frame and fit; `progress` is called with the number of frames done.

    Raises ModelFault if the model fails, Refused if the shelves hold too few slots that can be seen.
    """
    session = open_session(model, manifest)
    assert isinstance(session, DetectSession), "the manifest's task is detect"
    done, parts = 0, []
    for shelf in shelves:
        for seen in _watched(shelf, session, manifest):
            parts.append(seen)
            progress(done := done + 1)
    slots = sum(len(part.truth) for part in parts)
    if slots < MIN_SLOTS:
        raise Refused(
            f"the shelves hold {slots} labelled slots in usable frames; {MIN_SLOTS} were expected", "Give more"
        )
    return fit_to(Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in Seen.__slots__)))


def fit_to(seen: Seen) -> Fitted:
    """Coordinate search, each step on a grid that narrows, as for a classifier."""
    found = Confidence()
    for number in range(ROUNDS):
        for name, (low, high) in LIMITS.items():
            reach, middle = (high - low) / 2.0**number / 2, getattr(found, name)
            grid = np.clip(np.linspace(middle - reach, middle + reach, 13), low, high)
            tries = [msgspec.structs.replace(found, **{name: round(float(value), 4)}) for value in grid]
            found = min(tries, key=lambda each: _loss(each, seen))
    return Fitted(found, len(seen.truth), _loss(Confidence(), seen), _loss(found, seen))


def _watched(shelf: BenchShelf, session: DetectSession, manifest: Manifest) -> list[Seen]:
    """One entry a usable frame; slots whose label the detector does not know are left out."""
    layout, labels = shelf.layout, manifest.output.labels
    detector = Detector(session, manifest, "", layout)
    settings = NormalizeSettings(stateless=True)
    normalizer = Normalizer(layout, open_reference(layout), manifest.crop, settings)
    places = {slot.id: place for place, slot in enumerate(layout.slots)}
    found = []
    for name in shelf.frames:
        view = normalizer.normalize(Frame(shelf.name, 0, decode_still(shelf.picture(name)), 0.0, 0.0))
        rows = [row for row in shelf.rows if row.frame == name and row.state in labels]
        if not isinstance(view, View) or not rows:
            continue
        chosen = np.array([places[row.slot] for row in rows])
        truth = np.array([labels.index(row.state) for row in rows], np.intp)
        found.append(Seen(detector.evidence(view)[chosen].astype(np.float64), _covariates(view)[chosen], truth))
    return found


def _covariates(view: View) -> Floats:
    quality, ones = view.quality, np.ones(len(view.quality.inside))
    sharpness = 0.0 if np.isnan(view.sharpness) else view.sharpness
    density = np.maximum(0.0, 1.0 - np.nan_to_num(quality.density, nan=0.0))
    glare = np.nan_to_num(quality.saturated, nan=1.0)
    blur, noise = max(0.0, 1.0 - sharpness), max(0.0, view.noise) / NOISE_UNIT
    return np.stack([ones, blur * ones, noise * ones, density, glare], 1).astype(np.float64)


def _loss(confidence: Confidence, seen: Seen) -> float:
    weights = np.array([getattr(confidence, name) for name in LIMITS])
    temperatures = np.clip(np.exp(seen.covariates @ weights), *T_RANGE)
    logits = np.log(np.clip(seen.shares, LEAST, 1.0)) / temperatures[:, None]
    logits -= logits.max(1, keepdims=True)
    likely = logits[np.arange(len(logits)), seen.truth] - np.log(np.exp(logits).sum(1))
    return float(-likely.mean())
