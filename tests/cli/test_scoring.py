from __future__ import annotations

import pytest

from edge_runtime.cli.scoring import Score


def test_blocked_truth_is_not_scored_and_unknown_answers_only_cost_coverage() -> None:
    score = Score()
    score.take(
        {"a": "stocked", "b": "low", "c": "unknown", "d": "empty", "e": "blocked"},
        {"a": "stocked", "b": "empty", "c": "low", "d": "blocked", "e": "stocked"},
    )
    assert score.slots == 4
    assert score.coverage == pytest.approx(2 / 4)
    assert score.accuracy == pytest.approx(1 / 2)
    assert score.balanced_accuracy == pytest.approx((1 + 0) / 2)
    assert score.confusion() == {"stocked": {"blocked": 1, "stocked": 1}, "low": {"unknown": 1}, "empty": {"low": 1}}


def test_nothing_scored_is_not_a_number() -> None:
    assert (Score().accuracy, Score().balanced_accuracy, Score().coverage) == (None, None, None)
