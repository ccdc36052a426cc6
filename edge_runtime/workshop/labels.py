"""The four columns of a slot model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import ANSWERS, State

LABELS: tuple[str, ...] = (*(state.value for state in ANSWERS), State.BLOCKED.value)
BLOCKED = LABELS.index(State.BLOCKED.value)
BLOCKED_FROM = 0.5
"""Share of the slot that must be covered for its truth to be `blocked` (field-dataset/1)."""


def softmax(logits: NDArray[np.floating], temperature: NDArray[np.floating] | float = 1.0) -> NDArray[np.float64]:
    """Rows of logits (n, k) to probabilities; `temperature` is a scalar or (n,)."""
    scaled = logits.astype(np.float64) / np.reshape(temperature, (-1, 1))
    scaled -= scaled.max(1, keepdims=True)
    raised = np.exp(scaled)
    return np.asarray(raised / raised.sum(1, keepdims=True))
