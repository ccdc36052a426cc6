"""Any order of labels, logits or probabilities, becomes the house's four columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_runtime.workshop.labels import LABELS, softmax
from edge_runtime.workshop.packing.answers import house_logits


@given(st.permutations(LABELS), arrays(np.float32, (5, 4), elements=st.floats(-20, 20, width=32)))
def test_columns_find_their_labels(order: list[str], raw: np.ndarray) -> None:
    ordered = house_logits(raw, tuple(order), "logits")
    for column, label in enumerate(order):
        assert (ordered[:, LABELS.index(label)] == raw[:, column]).all()


def test_probabilities_stay_what_they_are_and_a_missing_label_is_impossible() -> None:
    raw = np.array([[0.7, 0.2, 0.1]], np.float32)
    shares = softmax(house_logits(raw, ("empty", "stocked", "low"), "probabilities"))
    assert np.allclose(shares, [[0.2, 0.1, 0.7, 0.0]])
