from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.parity import compare, passed, require_parity

SCORES = np.random.default_rng(0).normal(0, 5, (300, 4))


def test_the_same_answers_agree() -> None:
    parity = compare(SCORES, SCORES.astype(np.float32), "crops")
    assert (parity.rows, parity.agreement, parity.samples) == (300, 1.0, "crops")
    assert passed(parity)


def test_the_tolerance_grows_with_the_answers_but_not_below_one() -> None:
    assert compare(100 * SCORES, 100 * SCORES, "").tolerance == pytest.approx(0.1 * np.abs(SCORES).max(), rel=0.01)
    assert compare(SCORES / 1000, SCORES / 1000, "").tolerance == pytest.approx(1e-3)


def test_a_difference_is_told_with_both_figures() -> None:
    other = SCORES.copy()
    other[3, 1] += 2.0
    with pytest.raises(Refused, match="differs from its source by 2 on 300 crops"):
        require_parity(compare(SCORES, other, "crops"))


def test_other_best_columns_fail_even_within_the_tolerance() -> None:
    near = np.tile([1.0, 1.0001], (50, 1))
    parity = compare(near, near[:, ::-1], "crops")
    assert parity.max_error <= parity.tolerance
    assert not passed(parity)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_source_that_answers_no_numbers_is_refused(value: float) -> None:
    with pytest.raises(Refused, match="for 1 of 300 crops"):
        compare(np.where(np.arange(1200).reshape(300, 4) == 5, value, SCORES), SCORES, "crops")
