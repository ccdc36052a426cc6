"""Does a confidence mean what it says? Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence lies in one of the equal bins of 0..1."""

    answers: int
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share that is right."""


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """The bins that hold answers, from unsure to sure."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    held = [bins == k for k in np.unique(bins)]
    return tuple(ReliabilityBin(int(b.sum()), float(confidence[b].mean()), float(right[b].mean())) for b in held)


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """ECE (Naeini et al. 2015): mean gap between confidence and accuracy, weighted by answers; nan without answers."""
    answers = sum(b.answers for b in bins)
    return sum(b.answers * abs(b.confidence - b.accuracy) for b in bins) / answers if answers else float("nan")
