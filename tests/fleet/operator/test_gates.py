"""Gates: bounds that are right, a harm that is seen, and no yes out of noise or silence."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import Usage
from edge_runtime.fleet.operator.rollouts.gates import ALPHA, Pair, counted, judge, share_of_look
from edge_runtime.fleet.operator.rollouts.plan import Ring, in_order, parse_gates, parse_rings
from edge_runtime.fleet.operator.rollouts.student import t_quantile

TRIES = 120


def test_quantiles_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (it comes with scikit-learn)")
    for p in (0.6, 0.95, 0.99, 0.9983, 0.99999):
        for df in (1, 1.5, 2, 4, 10, 100, 5_000):
            assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9)


def test_all_looks_together_make_no_more_than_the_error():
    assert sum(share_of_look(look) for look in range(1, 10_000)) < ALPHA


def pair(before: float, after: float, count: int = 6) -> Pair:
    name = "accuracy_drop"
    return Pair({name: (before, count)}, {name: (after, count)}, {name: [after] * count})


def drawn(chances: random.Random, number: int, harm: float, spread: float = 0.01, mood: float = 0.0) -> list[Pair]:
    return [pair(p := chances.uniform(0.8, 0.98), p - harm + mood + chances.gauss(0, spread)) for _ in range(number)]


def outcomes(number: int, harm: float, seed: int, look: int = 2, **more: float) -> list[str]:
    chances = random.Random(seed)
    return [
        judge(
            "accuracy_drop",
            0.03,
            drawn(chances, number, harm, **more),
            drawn(chances, 40, 0.0, **more),
            look,
            number,
            0.5,
        ).outcome
        for _ in range(TRIES)
    ]


def test_harm_at_the_limit_passes_and_fails_hardly_ever():
    for number in (5, 20, 100):
        found = outcomes(number, 0.03, number, look=1)
        assert found.count("passed") <= 0.07 * len(found)
        assert found.count("failed") <= 0.07 * len(found)


def test_great_harm_fails_and_none_passes():
    assert outcomes(5, 0.2, 1).count("failed") > 0.97 * TRIES
    assert outcomes(20, 0.0, 2).count("passed") > 0.97 * TRIES
    assert outcomes(20, 0.2, 3).count("passed") == 0


def test_what_moves_all_devices_is_not_counted():
    assert outcomes(20, 0.0, 4, mood=-0.2).count("passed") > 0.97 * TRIES
    assert outcomes(20, 0.2, 5, mood=0.2).count("failed") > 0.97 * TRIES


def test_too_few_figures_are_silence():
    few = [pair(0.9, 0.9), *[pair(0.9, 0.9, 2)] * 9]
    assert judge("accuracy_drop", 0.03, few, [], 1, 10, 0.5).outcome == "silent"
    assert judge("accuracy_drop", 0.03, [], [], 1, 10, 0.5).outcome == "silent"
    assert judge("accuracy_drop", 0.03, [pair(0.9, 0.9)] * 2, [], 1, 4, 0.5).outcome == "silent"


def test_a_small_ring_is_judged_by_its_intervals():
    name = "accuracy_drop"
    alone = Pair({name: (0.9, 9)}, {name: (0.7, 9)}, {name: [0.7, 0.71, 0.69] * 3})
    assert judge(name, 0.03, [alone], [], 1, 1, 0.5).outcome == "failed"
    short = Pair({name: (0.9, 9)}, {name: (0.7, 3)}, {name: [0.7] * 3})
    assert judge(name, 0.03, [short], [], 1, 1, 0.5).outcome == "silent"


def test_counts_are_shares_beyond_those_of_the_others():
    assert counted("failed_share", 0.1, 0, 5).outcome == "passed"
    assert counted("failed_share", 0.1, 1, 5).outcome == "failed"
    assert counted("offline_share", 0.2, 3, 5, 30, 40).outcome == "passed"
    assert counted("offline_share", 0.2, 3, 5, 2, 2).outcome == "failed", "two others say nothing"
    assert counted("failed_share", 0.1, 0, 0).outcome == "passed"


NAMES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 500)).map(lambda t: f"{t[0]}/{t[1]}"), unique=True, max_size=80
)


@settings(deadline=None)
@given(NAMES, st.randoms())
def test_the_order_is_of_the_devices_and_the_seed_alone(names, chances):
    found = in_order(names, "s")
    assert sorted(found) == sorted(names)
    shuffled = list(names)
    chances.shuffle(shuffled)
    assert in_order(shuffled, "s") == found


def test_every_share_is_spread_over_the_sites():
    names = [f"{site}/{number}" for site in "abcd" for number in range(25)]
    first = in_order(names, "s")[:20]
    assert all(3 <= sum(name[0] == site for name in first) <= 7 for site in "abcd")
    assert in_order(names, "s") != in_order(names, "t")


def test_rings_are_read_and_what_is_none_is_refused():
    assert parse_rings("canary=5,10%,canaries=@canary,100%") == (
        Ring("canary", count=5), Ring("10%", share=0.1), Ring("canaries", group="canary"), Ring("100%", share=1.0),
    )  # fmt: skip
    for wrong in ("", "0", "-1", "0%", "101%", "x", "canary=", "@", "50%,10%", "a=1,a=2", "nan%", "1.5"):
        with pytest.raises(Usage):
            parse_rings(wrong)
    for wrong in ("accuracy_drop", "accuracy_drop=x", "accuracy_drop=-1", "accuracy_drop=nan", "beauty=1"):
        with pytest.raises(Usage):
            parse_gates([wrong])


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_rings_or_is_refused(text):
    try:
        rings = parse_rings(text)
    except Usage:
        return
    assert all(ring.count or ring.share or ring.group for ring in rings)
