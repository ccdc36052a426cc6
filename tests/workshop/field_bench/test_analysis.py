from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings

from edge_runtime.workshop.field_bench.analysis import PRODUCTS_TOLD, analyse
from edge_runtime.workshop.field_bench.table import Comparison
from edge_runtime.workshop.field_bench.verdicts import Said, Truths

from .verdict_sets import CELLS, benches, make_said, make_truths


@settings(max_examples=40, deadline=None)
@given(benches())
def test_nothing_is_lost_between_the_tables(bench: tuple[Truths, Said, Said]) -> None:
    comparison = Comparison(*bench, resamples=1)
    analysis = analyse(comparison)
    severity, state = comparison.truths.severity, comparison.said.state
    near = comparison.seen & (severity <= 3)
    assert sum(map(sum, analysis.lab)) + sum(map(sum, analysis.field)) == near.sum()
    silent = comparison.seen & (state >= 3)
    assert sum(one.field for one in analysis.reasons) == (silent & (severity <= 3)).sum()
    assert sum(one.lost for one in analysis.reasons) == (silent & (severity == 5)).sum()
    assert all(one.would_be_errors <= one.field + one.lost for one in analysis.reasons)
    assert len(analysis.products) <= PRODUCTS_TOLD
    for one in analysis.products:
        assert one.wrong + one.unanswered == round(one.slots * (1 - one.right))


def test_the_product_that_fails_comes_first_and_the_reason_is_the_readings_own() -> None:
    truth = np.zeros((2, 6), np.int8)
    truths = make_truths([(0, CELLS.index(("lab", 0))), (0, CELLS.index(("store", 3)))], truth)
    said = truth.copy()
    said[1, 2], said[1, 4] = 1, 4
    ours = make_said(truths, said)
    ours = replace(ours, reason=np.where(ours.state == 4, "saturated", "").astype(ours.reason.dtype))
    analysis = analyse(Comparison(truths, ours, make_said(truths, truth)))
    assert analysis.field[0] == (4, 1, 0, 0, 1)
    assert {one.sku: (one.wrong, one.unanswered) for one in analysis.products} == {"sku-2": (1, 0), "sku-4": (0, 1)}
    assert [(one.reason, one.field, one.lost) for one in analysis.reasons] == [("saturated", 1, 0)]
