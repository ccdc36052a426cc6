"""The bets against theory: exact expectations over all sequences, scipy's binomial, and Ville's bound by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge_runtime.lifecycle.guard.wealth import Stakes, Wealth

BELIEFS = (0.2, 0.4, 0.7)
SHARES = st.floats(0.02, 0.6)


def wealth_after(lost: tuple[bool, ...], null: float, beliefs: tuple[float, ...] = BELIEFS) -> float:
    wealth = Wealth(len(beliefs))
    for one in lost:
        wealth.bet(one, null, beliefs)
    return math.exp(wealth.log)


@given(SHARES, st.tuples(SHARES, SHARES, SHARES))
def test_if_the_hypothesis_is_exactly_true_the_expected_wealth_is_one(null: float, beliefs: tuple[float, ...]) -> None:
    expected = 0.0
    for lost in itertools.product((True, False), repeat=6):
        chance = math.prod(null if one else 1 - null for one in lost)
        expected += chance * wealth_after(lost, null, beliefs)
    assert expected == pytest.approx(1.0, rel=1e-9)


@given(SHARES, st.floats(0.0, 1.0))
def test_if_it_holds_with_room_to_spare_the_expected_wealth_is_no_more(null: float, share: float) -> None:
    truth = null * share
    for_one = truth * wealth_after((True,), null) + (1 - truth) * wealth_after((False,), null)
    assert for_one <= 1.0 + 1e-12


def test_what_refutes_has_an_exact_p_value_no_larger_than_alpha() -> None:
    for count in (5, 20, 40):
        for lost in range(count + 1):
            wealth = wealth_after((True,) * lost + (False,) * (count - lost), 0.1)
            assert stats.binom.sf(lost - 1, count, 0.1) <= 1.0 / wealth + 1e-12


def test_villes_bound_holds_however_long_one_looks() -> None:
    random = np.random.default_rng(1)
    crossed, lives, alpha = 0, 1_500, 0.05
    for _ in range(lives):
        wealth = Wealth(len(BELIEFS))
        for lost in (random.random(200) < 0.1).tolist():
            wealth.bet(lost, 0.1, BELIEFS)
            if wealth.against(alpha):
                crossed += 1
                break
    assert stats.binomtest(crossed, lives, alpha, alternative="greater").pvalue > 1e-3


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_more_losses_never_mean_less_evidence(lost: list[bool], data: st.DataObject) -> None:
    more = [one or data.draw(st.booleans()) for one in lost]
    assert wealth_after(tuple(more), 0.1) >= wealth_after(tuple(lost), 0.1) * (1 - 1e-9)


@given(st.floats(-0.9, 0.9), st.floats(0.0, 1.0))
def test_stakes_are_fair_at_the_mean_that_is_tolerated_and_never_ruin(null: float, spread: float) -> None:
    high, low = null + spread * (1 - null), null - spread * (1 + null)
    chance = 0.5 if high == low else (null - low) / (high - low)
    expected = 0.0
    for payoffs in itertools.product((True, False), repeat=5):
        stakes = Stakes()
        for up in payoffs:
            stakes.bet(high if up else low, null)
        expected += math.prod(chance if up else 1 - chance for up in payoffs) * math.exp(stakes.log)
        assert math.isfinite(stakes.log)
    assert expected == pytest.approx(1.0, rel=1e-6)
