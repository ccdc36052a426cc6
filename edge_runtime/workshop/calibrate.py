"""Confidence that can be believed: a temperature that knows how well the slot was seen, and thresholds.

Temperature scaling (Guo et al. 2017) with covariates, fitted by negative log-likelihood on views of shelves that the
network never saw, clean and degraded.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.manifest import Confidence, Thresholds
from edge_runtime.workshop.crops import CropSet, frame_of
from edge_runtime.workshop.labels import BLOCKED, softmax

T_RANGE = (0.25, 8.0)
LIMITS = {"base": (-1.4, 1.8), "blur": (0.0, 4.0), "noise": (0.0, 4.0), "density": (0.0, 4.0), "saturated": (0.0, 6.0)}
"""A worse view can only lower confidence: the covariates may not be negative."""
ROUNDS = 6
GLARE = (0.35, 0.45, 0.55, 0.65)
"""Limits of `Thresholds.saturated` that are tried, the lowest first."""
GLARE_RIGHT, GLARE_SLOTS = 0.9, 15
"""A limit stands if at least so many of so many answers under it are right."""


def temperature(confidence: Confidence, crops: CropSet) -> NDArray[np.float64]:
    """(n,) temperature of every crop by the formula of manifest.Confidence."""
    exponent = (
        confidence.base
        + confidence.blur * np.maximum(0, 1 - crops.sharpness.astype(np.float64))
        + confidence.noise * crops.noise / 16
        + confidence.density * np.maximum(0, 1 - crops.density)
        + confidence.saturated * crops.saturated
    )
    return np.clip(np.exp(exponent), *T_RANGE)


def fit_confidence(logits: NDArray[np.float32], crops: CropSet) -> Confidence:
    """The temperature that makes the truth most likely; coordinate search, each step on a grid that narrows."""
    found = Confidence()
    weights = _balance(crops.label)
    for number in range(ROUNDS):
        for name, (low, high) in LIMITS.items():
            reach = (high - low) / 2.0**number / 2
            middle = getattr(found, name)
            grid = np.clip(np.linspace(middle - reach, middle + reach, 13), low, high)
            tries = [msgspec.structs.replace(found, **{name: round(float(value), 4)}) for value in grid]
            found = min(tries, key=lambda each: _loss(each, logits, crops, weights))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a device would say of every crop: columns of stocked, low, empty that sum to one, and blocked."""

    probabilities: NDArray[np.float64]
    blocked: NDArray[np.float64]
    said: NDArray[np.int8]
    """Index into LABELS, or UNKNOWN."""

    @property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(self.probabilities.max(1))


UNKNOWN = -1


def answer(logits: NDArray[np.float32], crops: CropSet, confidence: Confidence, thresholds: Thresholds) -> Answers:
    """The device's rule for one frame on its own: `blocked` first, then `unknown`, then the best of three."""
    shares = softmax(logits, temperature(confidence, crops))
    blocked = shares[:, BLOCKED]
    three = shares[:, :BLOCKED] / np.maximum(shares[:, :BLOCKED].sum(1, keepdims=True), 1e-12)
    trusted = _view_confidence(three.max(1), blocked, crops, thresholds) >= thresholds.view
    unsure = (
        (three.max(1) < np.where(trusted, thresholds.answer, thresholds.sure))
        | (crops.inside < thresholds.inside)
        | (crops.saturated > thresholds.saturated)
        | (crops.density < thresholds.density)
        | ~crops.usable
    )
    said = np.where(unsure, UNKNOWN, three.argmax(1))
    hidden = (blocked >= thresholds.blocked) & crops.usable & (crops.density >= thresholds.density)
    said = np.where(hidden & (crops.inside >= thresholds.inside), BLOCKED, said)
    return Answers(three, blocked, said.astype(np.int8))


def fit_thresholds(
    logits: NDArray[np.float32], crops: CropSet, confidence: Confidence, coverage: float = 0.993, trusted: float = 0.99
) -> Thresholds:
    """The highest `answer` and `view` thresholds that still answer and trust so much of what can be seen at severity 3.

    `coverage`: share of those slots that are sure enough by themselves; `trusted`: share of them in trusted views.
    `blocked` is where calling a visible slot blocked and missing a covered one weigh alike; `saturated` is as high as
    the answers under so much glare are still right.
    """
    shares = softmax(logits, temperature(confidence, crops))
    blocked_at = _even_point(shares[:, BLOCKED], crops.label == BLOCKED)
    three = shares[:, :BLOCKED]
    best = three.max(1) / np.maximum(three.sum(1), 1e-12)
    seen = (crops.label != BLOCKED) & (crops.severity == 3) & crops.usable & (shares[:, BLOCKED] < blocked_at)
    if not seen.any():
        return Thresholds(answer=0.5, blocked=round(blocked_at, 3))
    at = float(np.clip(np.quantile(best[seen], 1 - coverage), 0.4, 0.9))
    visible = (crops.label != BLOCKED) & crops.usable & (shares[:, BLOCKED] < blocked_at) & (best >= at)
    glare_at = _glare_limit(crops.saturated[visible], three[visible].argmax(1) == crops.label[visible])
    found = Thresholds(answer=round(at, 3), blocked=round(blocked_at, 3), saturated=glare_at)
    views = _view_confidence(best, shares[:, BLOCKED], crops, found)
    return msgspec.structs.replace(found, view=round(float(np.quantile(views[seen], 1 - trusted)), 3))


def _glare_limit(saturated: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The highest share at the ceiling, up to GLARE[-1], at which the answers beyond the lowest limit are still right."""
    limit = GLARE[0]
    for at in GLARE[1:]:
        beyond = (saturated > GLARE[0]) & (saturated <= at)
        if beyond.sum() < GLARE_SLOTS or right[beyond].mean() < GLARE_RIGHT:
            break
        limit = at
    return limit


def _view_confidence(
    best: NDArray[np.float64], blocked: NDArray[np.float64], crops: CropSet, thresholds: Thresholds
) -> NDArray[np.float64]:
    """(n,) for every crop, the mean of the best probabilities over what can be seen of its frame."""
    frames = frame_of(crops)
    visible = (crops.inside >= thresholds.inside) & (blocked < thresholds.blocked) & crops.usable
    count = np.bincount(frames, weights=visible)
    total = np.bincount(frames, weights=best * visible)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 1.0)[frames], np.float64)


def _even_point(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    if not truth.any() or truth.all():
        return 0.5
    grid = np.linspace(0.2, 0.9, 36)
    errors = [np.mean(score[truth] < at) + 3 * np.mean(score[~truth] >= at) for at in grid]
    return float(grid[int(np.argmin(errors))])


def _balance(label: NDArray[np.int8]) -> NDArray[np.float64]:
    counts = np.bincount(label, minlength=4).astype(np.float64)
    weights = (1 / np.sqrt(np.maximum(counts, 1)))[label]
    return np.asarray(weights / weights.mean())


def _loss(confidence: Confidence, logits: NDArray[np.float32], crops: CropSet, weights: NDArray[np.float64]) -> float:
    shares = softmax(logits, temperature(confidence, crops))
    likely = shares[np.arange(len(shares)), crops.label]
    return float(np.mean(-weights * np.log(np.maximum(likely, 1e-12))))
