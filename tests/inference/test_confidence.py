"""Calibrated confidence: sums to one, never reorders, and is surer of what is seen better."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_runtime.inference.confidence import calibrate, temperature, to_logits
from edge_runtime.manifest import Confidence
from edge_runtime.records import SlotQuality

LABELS = ("blocked", "empty", "stocked", "low")
LOGITS = arrays(np.float32, (5, 4), elements=st.floats(-60, 60, width=32))
TEMPERATURES = arrays(np.float32, (5,), elements=st.floats(0.25, 8, width=32))


def quality(density: float = 1.0, saturated: float = 0.0, slots: int = 2) -> SlotQuality:
    full = lambda value: np.full(slots, value, np.float32)  # noqa: E731
    return SlotQuality(full(1.0), full(saturated), full(density))


@given(LOGITS, TEMPERATURES)
def test_rows_sum_to_one_in_the_order_of_the_answers(logits: np.ndarray, temperatures: np.ndarray) -> None:
    probabilities, blocked = calibrate(logits, LABELS, temperatures)
    assert probabilities.shape == (5, 3) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert ((blocked >= 0) & (blocked <= 1)).all()
    best = logits[:, [2, 3, 1]]
    assert (best[np.arange(5), probabilities.argmax(axis=1)] >= best.max(axis=1) - 1e-3).all()


@given(LOGITS)
def test_a_hotter_softmax_is_less_sure(logits: np.ndarray) -> None:
    cool, _ = calibrate(logits, LABELS, np.full(5, 0.5, np.float32))
    hot, _ = calibrate(logits, LABELS, np.full(5, 4.0, np.float32))
    assert (hot.max(axis=1) <= cool.max(axis=1) + 1e-5).all()


def test_blocked_is_its_share_of_all_labels_and_zero_without_the_label() -> None:
    logits = np.log(np.array([[0.4, 0.1, 0.3, 0.2]], np.float32))
    probabilities, blocked = calibrate(logits, LABELS, np.ones(1, np.float32))
    assert np.allclose(blocked, 0.4, atol=1e-5)
    assert np.allclose(probabilities, [[0.5, 1 / 3, 1 / 6]], atol=1e-5)
    _, none = calibrate(logits[:, 1:], LABELS[1:], np.ones(1, np.float32))
    assert (none == 0).all()


def test_probabilities_become_logits_with_the_same_softmax() -> None:
    given_ = np.array([[0.7, 0.1, 0.2, 0.0]], np.float32)
    logits = to_logits(given_, "probabilities")
    assert np.isfinite(logits).all()
    again = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(again, given_, atol=1e-5)


def test_worse_pictures_are_answered_less_surely_within_bounds() -> None:
    law = Confidence(base=0.1, blur=1.0, noise=1.0, density=1.0, saturated=2.0)
    clean = temperature(law, quality(), 1.0, 0.0)
    assert np.allclose(clean, np.exp(0.1))
    worse = [
        temperature(law, quality(), 0.4, 0.0),
        temperature(law, quality(), 1.0, 12.0),
        temperature(law, quality(density=0.5), 1.0, 0.0),
        temperature(law, quality(saturated=0.3), 1.0, 0.0),
    ]
    assert all((t > clean).all() for t in worse)
    assert np.allclose(temperature(law, quality(density=2.0), 1.4, 0.0), clean)
    assert np.allclose(temperature(Confidence(base=90.0), quality(), 1.0, 0.0), 8.0)
    assert np.allclose(temperature(Confidence(base=-90.0), quality(), 1.0, 0.0), 0.25)
    assert np.isfinite(temperature(law, quality(density=np.nan, saturated=np.nan), 1.0, 0.0)).all()
