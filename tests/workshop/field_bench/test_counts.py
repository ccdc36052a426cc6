from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from edge_runtime.workshop.field_bench import counts as c
from edge_runtime.workshop.field_bench.verdicts import BLOCKED, Said, Truths

from .verdict_sets import benches, naive_balanced


def _same(a: float, b: float) -> bool:
    return (np.isnan(a) and np.isnan(b)) or a == pytest.approx(b)


@settings(max_examples=60, deadline=None)
@given(benches())
def test_figures_are_those_of_counting_one_by_one(bench: tuple[Truths, Said, Said]) -> None:
    truths, said, _ = bench
    table = c.confusion(truths, said.state).sum(0)
    for cell in range(len(truths.cells)):
        rows = np.flatnonzero((truths.cell == cell) & (truths.state != BLOCKED))
        pairs = [(int(truths.state[k]), int(said.state[k])) for k in rows]
        answers = [(t, s) for t, s in pairs if s < 3]
        assert table[cell].sum() == len(pairs)
        assert _same(float(c.accuracy(table[cell])), naive_balanced(pairs))
        assert _same(float(c.answered(table[cell])), naive_balanced(answers))
        assert _same(float(c.coverage(table[cell])), len(answers) / len(pairs) if pairs else np.nan)
        right = sum(t == s for t, s in answers)
        assert _same(float(c.plain(table[cell])), right / len(answers) if answers else np.nan)
        wrong = len(answers) - right
        assert _same(float(c.confident_errors(table[cell])), wrong / len(pairs) if pairs else np.nan)
        for state in (0, 1, 2):
            mine = [s for t, s in pairs if t == state]
            called = [t for t, s in pairs if s == state]
            assert _same(float(c.recall(table[cell], state)), mine.count(state) / len(mine) if mine else np.nan)
            assert _same(
                float(c.precision(table[cell], state)), called.count(state) / len(called) if called else np.nan
            )


@settings(max_examples=40, deadline=None)
@given(benches())
def test_shares_lie_between_nothing_and_all(bench: tuple[Truths, Said, Said]) -> None:
    truths, said, _ = bench
    table = c.resampled(c.confusion(truths, said.state), c.draw_weights(len(truths.shelves), 20, 1))
    for figure in (c.accuracy, c.answered, c.coverage, c.plain, c.confident_errors):
        values = figure(table)
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()


def test_a_resample_draws_as_many_shelves_as_there_are() -> None:
    weights = c.draw_weights(7, 500, 3)
    assert (weights.sum(1) == 7).all()
    assert weights.mean() == pytest.approx(1.0)
    assert (weights == c.draw_weights(7, 500, 3)).all(), "seeded"


def test_the_gap_is_recovered_whole_where_the_lab_figure_is_reached_and_not_at_all_where_nothing_changed() -> None:
    lab, without = np.array([0.9]), np.array([0.5])
    assert c.recovered(lab, without, lab) == pytest.approx(1.0)
    assert c.recovered(without, without, lab) == pytest.approx(0.0)
    assert c.recovered(np.array([0.3]), without, lab) < 0


def test_less_than_five_points_are_no_gap() -> None:
    lab = np.array([0.98])
    assert not c.has_gap(np.array([0.9301]), lab).any()
    assert c.has_gap(np.array([0.93]), lab).all()
    assert not c.has_gap(np.array([np.nan]), lab).any()
    assert not c.has_gap(np.array([0.5]), np.array([np.nan])).any()
