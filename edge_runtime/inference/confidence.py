"""From a model's raw output to probabilities that mean what they say, given how well each slot can be seen.

Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017), with the temperature a function of
measured quality: a blurred, noisy, coarse or glaring slot is answered less surely.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.manifest import Confidence
from edge_runtime.records import ANSWERS, SlotQuality, State

Floats = NDArray[np.float32]
COOLEST, HOTTEST = 0.25, 8.0
NOISE_UNIT = 16.0
"""Grey levels of noise that count as one."""
_SMALLEST = 1e-7


def temperature(confidence: Confidence, quality: SlotQuality, sharpness: float, noise: float) -> Floats:
    """(slots,) float32 within 0.25..8; the formula is `manifest.Confidence`'s. Unmeasured (NaN) quality counts as bad."""
    density = np.nan_to_num(quality.density, nan=0.0)
    saturated = np.nan_to_num(quality.saturated, nan=1.0)
    exponent = (
        confidence.base
        + confidence.blur * max(0.0, 1.0 - sharpness)
        + confidence.noise * noise / NOISE_UNIT
        + confidence.density * np.maximum(0.0, 1.0 - density)
        + confidence.saturated * saturated
    )
    held: Floats = np.exp(np.clip(exponent, np.log(COOLEST), np.log(HOTTEST))).astype(np.float32)
    return held


def to_logits(output: Floats, kind: Literal["logits", "probabilities"]) -> Floats:
    """A model's output as logits; probabilities are logits up to a constant once their logarithm is taken."""
    if kind == "logits":
        return output
    logits: Floats = np.log(np.clip(output, _SMALLEST, 1.0))
    return logits


def calibrate(logits: Floats, labels: tuple[str, ...], temperatures: Floats) -> tuple[Floats, Floats]:
    """Logits (n, labels) and temperatures (n,) to probabilities (n, 3) over ANSWERS and blocked (n,), float32.

    `blocked` is the blocked column's share of the softmax over all labels, zero without such a label; the
    probabilities say what stands there if nothing is in front, and each row sums to one.
    """
    scaled = logits / temperatures[:, None]
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    blocked = np.zeros(len(logits), np.float32)
    if State.BLOCKED.value in labels:
        column = labels.index(State.BLOCKED.value)
        blocked = (weights[:, column] / weights.sum(axis=1)).astype(np.float32)
    answers = scaled[:, [labels.index(state.value) for state in ANSWERS]]
    weights = np.exp(answers - answers.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), blocked
