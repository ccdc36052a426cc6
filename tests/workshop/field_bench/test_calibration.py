from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.workshop.field_bench.calibration import BINS, calibration_error, reliability

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


@given(answers)
def test_the_error_is_a_share_and_every_answer_is_in_one_bin(drawn: list[tuple[float, bool]]) -> None:
    confidence = np.array([p for p, _ in drawn], np.float64)
    right = np.array([ok for _, ok in drawn], np.bool_)
    bins = reliability(confidence, right)
    assert sum(b.answers for b in bins) == len(drawn)
    assert len(bins) <= BINS
    error = calibration_error(bins)
    assert np.isnan(error) if not drawn else 0 <= error <= 1
    if drawn:
        assert error >= abs(confidence.mean() - right.mean()) - 1e-9, "bins can not hide a bias"


def test_honest_confidence_has_no_error_and_boasting_has_all() -> None:
    sure = np.ones(8)
    assert calibration_error(reliability(sure, np.ones(8, np.bool_))) == 0.0
    assert calibration_error(reliability(sure, np.zeros(8, np.bool_))) == 1.0
    half = np.full(10, 0.5)
    assert calibration_error(reliability(half, np.arange(10) % 2 == 0)) == pytest.approx(0.0)
