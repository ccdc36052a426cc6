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
class Score:
    """Shares 0..1. Accuracy is balanced, the best of three always taken; a frame that gave no view is wrong."""

    lab: float
    s1: float
    s3: float
    s5: float
    store_s3: float
    low_recall: float
    """Of visible slots up to severity 3."""
    low_precision: float
    ece_lab: float
    """Of answered slots, with the temperature and the thresholds fitted on validation."""
    ece_s3: float
    coverage_s3: float
    answered_s3: float
    """Balanced over the answered."""


def taken(crops: CropSet, logits: Logits) -> NDArray[np.int64]:
    """(n,) best of three, UNKNOWN where the frame gave no view."""
    return np.where(crops.usable, logits[:, :BLOCKED].argmax(1), UNKNOWN)


def chosen_by(crops: CropSet, logits: Logits) -> float:
    """What settings are chosen by, on validation: the mean balanced accuracy of lab, S1 and S3."""
    said, seen = taken(crops, logits), crops.label != BLOCKED
    return float(np.mean([_balanced(crops, said, seen & (crops.severity == k)) for k in (0, 1, 3)]))


def score(validation: CropSet, fitted: Logits, test: CropSet, logits: Logits) -> Score:
    """`fitted` are the logits on validation: temperature and thresholds come from there alone."""
    usable = validation.only(validation.usable)
    confidence = fit_confidence(fitted[validation.usable], usable)
    thresholds = fit_thresholds(fitted[validation.usable], usable, confidence)
    answers = answer(logits, test, confidence, thresholds)
    said, seen = taken(test, logits), test.label != BLOCKED
    at = {k: figures(test, answers, test.severity == k) for k in (0, 1, 3, 5)}
    store = figures(test, answers, (test.severity == 3) & (test.condition == "store"))
    field = seen & (test.severity <= 3)
    is_low, says_low = field & (test.label == LOW), field & (said == LOW)
    return Score(
        at[0].best,
        at[1].best,
        at[3].best,
        at[5].best,
        store.best,
        float(np.mean(said[is_low] == LOW)),
        float(np.mean(test.label[says_low] == LOW)) if says_low.any() else float("nan"),
        at[0].calibration_error,
        at[3].calibration_error,
        at[3].coverage,
        at[3].answered,
    )


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
