from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.workshop.field_bench.summary import by_severity, marks_of, summarize
from edge_runtime.workshop.field_bench.table import Comparison, Row, harmed, rows_of
from edge_runtime.workshop.field_bench.verdicts import NO_GUESS, Said, Truths

from .verdict_sets import CELLS, SLOTS, benches, make_said, make_truths

LAB_CELL, STORE_CELL, LOST_CELL = CELLS.index(("lab", 0)), CELLS.index(("store", 3)), CELLS.index(("yaw", 5))


def _told(row: Row) -> list[float]:
    return [row.without.value, row.with_.value, row.coverage, row.answered, row.confident_errors, row.abstained]


@settings(max_examples=40, deadline=None)
@given(benches(), st.integers(0, 2**32))
def test_the_order_of_the_rows_changes_nothing(bench: tuple[Truths, Said, Said], seed: int) -> None:
    truths, ours, raw = bench
    order = np.random.default_rng(seed).permutation(len(truths))
    columns = ("shelf", "frame", "cell", "slot", "sku", "state")
    shuffled = replace(truths, **{name: getattr(truths, name)[order] for name in columns})
    told = ("state", "confidence", "best", "reason")
    moved = [replace(said, **{name: getattr(said, name)[order] for name in told}) for said in (ours, raw)]
    before = {row.key: row for row in rows_of(Comparison(truths, ours, raw, resamples=50))}
    after = {row.key: row for row in rows_of(Comparison(shuffled, *moved, resamples=50))}
    for key, row in before.items():
        np.testing.assert_allclose(_told(row), _told(after[key]))
        np.testing.assert_allclose(row.with_.low, after[key].with_.low)


@settings(max_examples=40, deadline=None)
@given(benches())
def test_intervals_are_ordered_and_the_same_again(bench: tuple[Truths, Said, Said]) -> None:
    rows = rows_of(Comparison(*bench, resamples=60))
    assert repr(rows) == repr(rows_of(Comparison(*bench, resamples=60)))  # nan equals nan
    for row in rows:
        for one in (row.without, row.with_, row.gain):
            if not np.isnan(one.low):
                assert one.low <= one.high
        if not np.isnan(row.with_.value):
            assert row.gain.value == pytest.approx(row.with_.value - row.without.value)


@settings(max_examples=40, deadline=None)
@given(benches())
def test_what_got_worse_comes_first_the_worst_at_the_top(bench: tuple[Truths, Said, Said]) -> None:
    rows = rows_of(Comparison(*bench, resamples=2))
    flags = [harmed(row) for row in rows]
    assert flags == sorted(flags, reverse=True)
    losses = [row.gain.value for row in rows if harmed(row)]
    assert losses == sorted(losses)


@settings(max_examples=30, deadline=None)
@given(benches())
def test_a_runtime_that_changes_nothing_does_no_harm_and_recovers_nothing(bench: tuple[Truths, Said, Said]) -> None:
    truths, ours, _ = bench
    comparison = Comparison(truths, ours, ours, resamples=20)
    rows = rows_of(comparison)
    assert not any(harmed(row) for row in rows)
    recovered = [row.gap_recovered.value for row in rows]
    assert all(np.isnan(value) or value == 0 for value in recovered)
    assert summarize(comparison, rows).worst_harm == 0.0


def _bench(shelves: int = 3) -> tuple[Truths, np.ndarray]:
    frames = [(shelf, cell) for shelf in range(shelves) for cell in (LAB_CELL, STORE_CELL, LOST_CELL)]
    truth = np.tile(np.array([0, 1, 2, 0, 1, 2], np.int8), (len(frames), 1))
    return make_truths(frames, truth), truth


def test_lab_accuracy_everywhere_recovers_the_whole_gap_and_meets_the_marks() -> None:
    truths, truth = _bench()
    raw = truth.copy()
    raw[1::3, :3] = (1, 2, 0)  # the store frames: half of the slots wrong
    comparison = Comparison(truths, make_said(truths, truth, np.full(len(truths), 0.995)), make_said(truths, raw))
    rows = rows_of(comparison)
    store = next(row for row in rows if row.key == ("store", 3))
    assert (store.without.value, store.with_.value) == (pytest.approx(0.5), 1.0)
    assert store.gap_recovered.value == pytest.approx(1.0)
    summary = summarize(comparison, rows)
    assert summary.gap_mean.value == summary.gap_worst.value == pytest.approx(1.0)
    assert [mark.name for mark in marks_of(summary) if mark.met is False] == []


def test_harm_is_told_with_its_place() -> None:
    truths, truth = _bench()
    worse = truth.copy()
    worse[::3, 0] = 2  # one slot of every lab frame
    comparison = Comparison(truths, make_said(truths, worse), make_said(truths, truth))
    rows = rows_of(comparison)
    summary = summarize(comparison, rows)
    assert rows[0].key == ("lab", 0)
    assert harmed(rows[0])
    assert summary.worst_harm == pytest.approx(1 / 6)
    assert summary.worst_harm_at == ("lab", 0)
    assert next(mark for mark in marks_of(summary) if mark.name == "harm on lab").met is False


def test_would_be_errors_are_the_forced_answers_that_are_wrong_whatever_was_said() -> None:
    truths, truth = _bench(2)
    said = truth.copy()
    said[2::3] = 4  # at S5 everything is unknown
    ours, raw = make_said(truths, said), make_said(truths, truth)
    ours.best[:] = np.where(truths.slot == 0, 2, truth.reshape(-1))  # forced, slot 0 is wrong everywhere
    comparison = Comparison(truths, ours, raw)
    rows = {row.key: row for row in rows_of(comparison)}
    lost = rows[("yaw", 5)]
    assert (lost.would_be_errors, lost.abstained, lost.confident_errors) == (2, 1.0, 0.0)
    assert rows[("lab", 0)].would_be_errors == 2
    assert rows[("lab", 0)].abstained == 0.0
    summary = summarize(comparison, tuple(rows.values()))
    assert (summary.lost_would_be_errors, summary.lost_abstained) == (2, 1.0)


def test_a_refused_frame_counts_what_the_raw_crops_would_have_said() -> None:
    truths, truth = _bench(1)
    refused = make_said(truths, np.full_like(truth, 4))
    assert (refused.best == NO_GUESS).all()
    wrong = truth.copy()
    wrong[2] = (truth[2] + 1) % 3
    rows = {row.key: row for row in rows_of(Comparison(truths, refused, make_said(truths, wrong)))}
    assert (rows[("yaw", 5)].would_be_errors, rows[("yaw", 5)].abstained) == (SLOTS, 1.0)
    assert rows[("lab", 0)].would_be_errors == 0


def test_one_shelf_has_no_interval_and_no_lab_frames_no_gap() -> None:
    truths, truth = _bench(1)
    row = rows_of(Comparison(truths, make_said(truths, truth), make_said(truths, truth)))[0]
    assert np.isnan(row.with_.low)
    frames = [(0, STORE_CELL), (1, STORE_CELL)]
    alone = replace(make_truths(frames, truth[:2]), cells=(("a", 1), ("b", 2), ("c", 3), ("store", 3)))
    comparison = Comparison(alone, make_said(alone, truth[:2]), make_said(alone, np.zeros_like(truth[:2])))
    rows = rows_of(comparison)
    assert np.isnan([row.gap_recovered.value for row in rows]).all()
    assert np.isnan(summarize(comparison, rows).lab_with.value)


def test_a_blocked_slot_is_only_asked_whether_it_was_seen_to_be_blocked() -> None:
    truths, truth = _bench(2)
    truth = truth.copy()
    truth[0] = 3
    truths = replace(truths, state=truth.reshape(-1))
    said = np.zeros_like(truth)
    said[0] = (3, 3, 4, 0, 1, 2)
    rows = {row.key: row for row in rows_of(Comparison(truths, make_said(truths, said), make_said(truths, said)))}
    assert rows[("lab", 0)].blocked_recall == pytest.approx(0.5)
    assert rows[("lab", 0)].slots == SLOTS
    assert np.isnan(rows[("store", 3)].blocked_recall)


def test_severities_are_means_over_their_conditions() -> None:
    truths, truth = _bench()
    rows = rows_of(Comparison(truths, make_said(truths, truth), make_said(truths, truth)))
    steps = by_severity(rows)
    assert [steps[severity] for severity in (0, 3, 5)] == [(1.0,) * 4] * 3
    assert np.isnan(steps[1]).all(), "a severity without frames"
