from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge_runtime.records import SlotStatus, State
from edge_runtime.shelf.business import BusinessFigures

S, L, E, B, U = State.STOCKED, State.LOW, State.EMPTY, State.BLOCKED, State.UNKNOWN


def row(*states: State) -> tuple[SlotStatus, ...]:
    return tuple(SlotStatus(f"s{n}", "sku", state, 0.9, 0.0) for n, state in enumerate(states))


def test_nothing_seen_is_no_figure() -> None:
    figures = BusinessFigures().figures()
    assert figures.availability is None and figures.coverage == 0.0 and figures.out_of_stock_s == {}


def test_a_low_slot_is_available_and_an_empty_one_counts_its_seconds() -> None:
    business = BusinessFigures()
    business.update(row(S, L, E, E), 0.0)
    business.update(row(S, L, S, E), 60.0)
    business.update(row(S, L, S, E), 100.0)
    figures = business.figures()
    assert figures.out_of_stock_s == {"s2": 60.0, "s3": 100.0}
    assert figures.availability == pytest.approx(240 / 400)
    assert figures.coverage == 1.0


def test_a_hidden_slot_counts_neither_way_but_lowers_the_coverage() -> None:
    business = BusinessFigures()
    business.update(row(S, B, U, E), 0.0)
    business.update(row(S, B, U, E), 10.0)
    assert business.figures().availability == 0.5
    assert business.figures().coverage == 0.5


def test_a_slot_that_is_hidden_for_a_while_holds_what_it_held() -> None:
    business = BusinessFigures(carry_s=30.0)
    for at, state in enumerate((E, B, B, B, B, S)):
        business.update(row(state, S), at * 10.0)
    figures = business.figures()
    assert figures.out_of_stock_s == {"s0": 40.0}
    assert figures.availability == pytest.approx(50 / 90)
    assert figures.coverage == pytest.approx(60 / 100)


def test_what_was_answered_before_a_long_gap_is_forgotten() -> None:
    business = BusinessFigures(max_gap_s=60)
    for at, state in ((0.0, E), (10.0, E), (3600.0, B), (3610.0, B)):
        business.update(row(state), at)
    assert business.figures().out_of_stock_s == {"s0": 10.0}


def test_a_long_gap_is_unseen_time() -> None:
    business = BusinessFigures(max_gap_s=60)
    business.update(row(E), 0.0)
    business.update(row(E), 3600.0)
    assert business.figures().out_of_stock_s == {}
    assert business.figures().coverage == 0.0 and business.figures().observed_s == 3600.0


def test_a_new_period_starts_from_nothing_but_keeps_the_last_capture() -> None:
    business = BusinessFigures()
    business.update(row(E), 0.0)
    business.reset()
    business.update(row(E), 5.0)
    assert business.figures().out_of_stock_s == {"s0": 5.0}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.lists(st.sampled_from(list(State)), min_size=2, max_size=2))))
def test_shares_stay_shares_even_if_the_clock_goes_back(captures: list[tuple[float, list[State]]]) -> None:
    business = BusinessFigures()
    for at, states in captures:
        business.update(row(*states), at)
    figures = business.figures()
    assert 0.0 <= figures.coverage <= 1.0 + 1e-9
    assert figures.availability is None or 0.0 <= figures.availability <= 1.0 + 1e-9
