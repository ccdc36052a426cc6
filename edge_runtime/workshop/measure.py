"""Figures by the rules of the field bench: balanced accuracy over what can be seen, coverage, calibration error."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.workshop.calibrate import UNKNOWN, Answers
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import BLOCKED

BINS = 15


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one group of crops; shares 0..1, nan where nothing was there to measure."""

    slots: int
    accuracy: float
    """Balanced over stocked, low, empty; unknown and blocked answers are wrong."""
    best: float
    """Balanced, if the best of three were always taken."""
    coverage: float
    answered: float
    """Balanced over the answered."""
    blocked_recall: float
    """Covered slots that were called blocked or unknown."""
    confident_errors: float
    """Share of the visible slots answered and wrong."""
    calibration_error: float

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def balanced(truth: NDArray[np.integer], said: NDArray[np.integer]) -> float:
    """Mean recall over the classes below BLOCKED that occur in `truth`."""
    recalls = [float(np.mean(said[truth == k] == k)) for k in range(BLOCKED) if (truth == k).any()]
    return float(np.mean(recalls)) if recalls else float("nan")


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over BINS equal bins (Naeini et al. 2015)."""
    if not len(right):
        return float("nan")
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == k].sum() - right[bins == k].sum()) for k in np.unique(bins)]
    return float(np.sum(gaps) / len(right))


def figures(crops: CropSet, answers: Answers, rows: NDArray[np.bool_]) -> Figures:
    """Figures over the chosen rows."""
    truth, said = crops.label[rows], answers.said[rows]
    seen = truth != BLOCKED
    truth, answered_all, said_all = truth[seen], (said >= 0) & (said != BLOCKED), said
    best = answers.probabilities[rows][seen].argmax(1)
    said, answered = said_all[seen], answered_all[seen]
    hidden = said_all[~seen]
    right = said[answered] == truth[answered]
    return Figures(
        slots=int(seen.sum()),
        accuracy=balanced(truth, said),
        best=balanced(truth, np.where(crops.usable[rows][seen], best, UNKNOWN)),
        coverage=float(np.mean(answered)) if len(answered) else float("nan"),
        answered=balanced(truth[answered], said[answered]),
        blocked_recall=float(np.mean((hidden == BLOCKED) | (hidden == UNKNOWN))) if len(hidden) else float("nan"),
        confident_errors=float(np.mean(answered & (said != truth))) if len(said) else float("nan"),
        calibration_error=calibration_error(answers.confidence[rows][seen][answered], right),
    )


def table(crops: CropSet, answers: Answers) -> dict[str, Figures]:
    """Figures of every condition and severity, worst first, after `lab` and the means `S1` .. `S5`."""
    keys = sorted({(str(c), int(s)) for c, s in zip(crops.condition, crops.severity, strict=True)})
    rows = {f"{c} S{s}": figures(crops, answers, (crops.condition == c) & (crops.severity == s)) for c, s in keys if s}
    whole = {"lab": figures(crops, answers, crops.severity == 0)}
    for severity in sorted({s for _, s in keys if s}):
        whole[f"all S{severity}"] = figures(crops, answers, crops.severity == severity)
    return whole | dict(sorted(rows.items(), key=lambda item: item[1].accuracy))
