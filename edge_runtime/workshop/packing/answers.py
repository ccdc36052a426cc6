"""A model's own columns as the house's four, so that one set of fits and figures serves every model."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.inference.confidence import to_logits
from edge_runtime.workshop.labels import LABELS, softmax


def house_logits(
    raw: NDArray[np.float32], labels: tuple[str, ...], kind: Literal["logits", "probabilities"]
) -> NDArray[np.float32]:
    """(n, k) outputs to (n, 4) logits over LABELS; a label that the model does not have is impossible (-inf)."""
    logits = to_logits(raw, kind)
    if labels == LABELS:
        return logits
    ordered = np.full((len(raw), len(LABELS)), -np.inf, np.float32)
    for column, label in enumerate(labels):
        ordered[:, LABELS.index(label)] = logits[:, column]
    return ordered


def shares_of(raw: NDArray[np.float32], kind: Literal["logits", "probabilities"]) -> NDArray[np.float64]:
    """(n, k) outputs as probabilities at temperature 1, in the model's own columns."""
    return softmax(raw) if kind == "logits" else raw.astype(np.float64)
