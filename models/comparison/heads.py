"""scikit-learn heads on kept features, and what a head says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edge_runtime.workshop.head import fit_head

Features = NDArray[np.float32]


def triple(now: Features, then: Features) -> Features:
    """[current, reference, |difference|]: (n, 3 w)."""
    return np.concatenate([now, then, np.abs(now - then)], 1)


def scaled_head(features: Features, label: NDArray[np.integer], inverse_penalty: float) -> LogisticRegression:
    """`fit_head` on features of unit deviation; the scale is folded into the weights, so that the graph needs none."""
    deviation = features.std(0)
    scale = np.where(deviation > 1e-4, deviation, 1.0).astype(np.float32)
    head = fit_head(features / scale, label, inverse_penalty)
    head.coef_ = head.coef_ / scale
    return head


def best_head(
    features: Features,
    label: NDArray[np.integer],
    penalties: tuple[float, ...],
    score: Callable[[LogisticRegression], float],
) -> tuple[LogisticRegression, float]:
    """The head of the inverse penalty that scores highest when fitted to every third pair, and that penalty."""
    if len(penalties) == 1:
        return scaled_head(features, label, penalties[0]), penalties[0]
    tried = {each: score(scaled_head(features[::3], label[::3], each)) for each in penalties}
    best = max(tried, key=lambda each: tried[each])
    return scaled_head(features, label, best), best


def said(head: LogisticRegression, features: Features) -> NDArray[np.float32]:
    """Logits (n, 4), columns of LABELS."""
    return np.asarray(head.decision_function(features), np.float32)
