"""What is told of a candidate: accuracy by severity, `low` on its own, calibration, and how sure all of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.workshop.calibrate import UNKNOWN, answer, fit_confidence, fit_thresholds
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import BLOCKED, LABELS
from edge_runtime.workshop.measure import balanced, figures

LOW = LABELS.index("low")
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares 0..1, balanced over stocked, low, empty, the best of three always taken; a frame that gave no view is wrong."""

    lab: float
    s1: float
    s3: float
    s5: float
    store_s3: float
    low_recall: float
    """Of visible slots up to severity 3."""
    low_precision: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """With the temperature and the thresholds fitted on validation; of what is then answered."""

    ece_lab: float
    ece_s3: float
    coverage_s3: float
    answered_s3: float
    """Balanced accuracy."""


def taken(crops: CropSet, logits: Logits) -> NDArray[np.int64]:
    """(n,) best of three, UNKNOWN where the frame gave no view."""
    return np.where(crops.usable, logits[:, :BLOCKED].argmax(1), UNKNOWN)


def chosen_by(crops: CropSet, logits: Logits) -> float:
    """What settings are chosen by, on validation: the mean balanced accuracy of lab, S1 and S3."""
    said, seen = taken(crops, logits), crops.label != BLOCKED
    return float(np.mean([_balanced(crops, said, seen & (crops.severity == k)) for k in (0, 1, 3)]))


def accuracy(crops: CropSet, logits: Logits) -> Accuracy:
    """By severity, in the store mix, and of `low` on its own."""
    said, seen = taken(crops, logits), crops.label != BLOCKED
    lab, s1, s3, s5 = (_balanced(crops, said, seen & (crops.severity == k)) for k in (0, 1, 3, 5))
    store = _balanced(crops, said, seen & (crops.severity == 3) & (crops.condition == "store"))
    field = seen & (crops.severity <= 3)
    is_low, says_low = field & (crops.label == LOW), field & (said == LOW)
    recall, precision = (
        float(np.mean((said == crops.label)[rows])) if rows.any() else float("nan") for rows in (is_low, says_low)
    )
    return Accuracy(lab, s1, s3, s5, store, recall, precision)


def calibration(validation: CropSet, fitted: Logits, test: CropSet, logits: Logits) -> Calibration:
    """`fitted` are the logits on validation: temperature and thresholds come from there alone."""
    usable = validation.only(validation.usable)
    confidence = fit_confidence(fitted[validation.usable], usable)
    thresholds = fit_thresholds(fitted[validation.usable], usable, confidence)
    answers = answer(logits, test, confidence, thresholds)
    lab, s3 = (figures(test, answers, test.severity == k) for k in (0, 3))
    return Calibration(lab.calibration_error, s3.calibration_error, s3.coverage, s3.answered)


def interval(
    crops: CropSet, logits: Logits, severity: int, draws: int, seed: int, against: Logits | None = None
) -> tuple[float, float]:
    """95 % bootstrap interval over shelves of the balanced accuracy, or of its difference to `against` (same draws)."""
    rows = (crops.label != BLOCKED) & (crops.severity == severity)
    shelves = np.unique(crops.shelf)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(shelves), (draws, len(shelves)))
    found = _resampled(crops, taken(crops, logits), rows, shelves, drawn)
    if against is not None:
        found = found - _resampled(crops, taken(crops, against), rows, shelves, drawn)
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)


def _resampled(
    crops: CropSet,
    said: NDArray[np.int64],
    rows: NDArray[np.bool_],
    shelves: NDArray[np.str_],
    drawn: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(draws,) balanced accuracy of every draw of shelves."""
    right, whole = np.zeros((2, len(shelves), BLOCKED))
    for row, shelf in enumerate(shelves):
        here = rows & (crops.shelf == shelf)
        whole[row] = np.bincount(crops.label[here], minlength=BLOCKED)
        right[row] = np.bincount(crops.label[here & (said == crops.label)], minlength=BLOCKED)
    return np.asarray(np.nanmean(right[drawn].sum(1) / whole[drawn].sum(1), 1))


def _balanced(crops: CropSet, said: NDArray[np.int64], rows: NDArray[np.bool_]) -> float:
    return balanced(crops.label[rows], said[rows])
