"""The laws of `drift.detector.Detector`, run over every detector there is. Whole chains are detectors too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.drift.baseline import CLIP, HourlyBaseline
from edge_runtime.drift.chain import Chain
from edge_runtime.drift.cusum import Cusum
from edge_runtime.drift.detector import Detector, Direction
from edge_runtime.drift.whiten import Whitener

NOON = 12
LEARN = 100


class Restorable(Detector, Protocol):
    def restore(self, saved: object) -> None: ...


class NoonChain:
    """A chain that always lives at noon, so that it is a Detector of plain numbers."""

    def __init__(self, floor: float = 1e-3, learn: int = LEARN) -> None:
        self._chain = Chain(floor, learn, 2 * learn)

    def update(self, value: float) -> Direction:
        return self._chain.update(value, NOON)

    def reset(self) -> None:
        self._chain.reset()

    def to_dict(self) -> object:
        return self._chain.to_dict()

    def restore(self, saved: object) -> None:
        self._chain.restore(saved)  # type: ignore[arg-type]


DETECTORS: dict[str, Callable[[], Restorable]] = {"cusum": Cusum, "chain": NoonChain}  # type: ignore[dict-item]
QUICK = {**DETECTORS, "chain": lambda: NoonChain(learn=5)}
"""For streams that are too short to learn an hour from."""
values = st.lists(st.floats(-50, 50), max_size=200)


@pytest.fixture(params=DETECTORS)
def make(request: pytest.FixtureRequest) -> Callable[[], Restorable]:
    return DETECTORS[request.param]


def alarms(detector: Detector, stream: object) -> list[tuple[int, Direction]]:
    found = [(n, detector.update(float(x))) for n, x in enumerate(stream)]  # type: ignore[arg-type]
    return [(n, direction) for n, direction in found if direction is not Direction.STEADY]


def normal(seed: int, n: int = 2_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, n)


def test_what_never_changes_never_alarms(make: Callable[[], Restorable]) -> None:
    assert alarms(make(), [0.0] * 5_000) == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_does_not_alarm(make: Callable[[], Restorable], seed: int) -> None:
    assert alarms(make(), normal(seed)) == []


@pytest.mark.parametrize("shift", [-3.0, -2.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_found_soon_and_its_side_is_right(make: Callable[[], Restorable], seed: int, shift: float) -> None:
    stream = normal(seed, 600)
    stream[400:] += shift
    found = alarms(make(), stream)
    assert found and 400 <= found[0][0] < 460
    assert found[0][1] is (Direction.UP if shift > 0 else Direction.DOWN)


def test_a_mirrored_stream_alarms_at_the_same_places_on_the_other_side(make: Callable[[], Restorable]) -> None:
    stream = normal(7, 600)
    stream[300:] += 2.5
    up, down = alarms(make(), stream), alarms(make(), -stream)
    assert [n for n, _ in up] == [n for n, _ in down]
    assert {direction for _, direction in up} == {Direction.UP}
    assert {direction for _, direction in down} == {Direction.DOWN}


@settings(deadline=None, max_examples=50)
@given(stream=values)
@pytest.mark.parametrize("name", QUICK)
def test_the_same_stream_gives_the_same_alarms_and_a_reset_forgets_all(name: str, stream: list[float]) -> None:
    detector = QUICK[name]()
    first = alarms(detector, stream)
    assert alarms(QUICK[name](), stream) == first
    detector.reset()
    assert alarms(detector, stream) == first


@settings(deadline=None, max_examples=50)
@given(before=values, after=values)
@pytest.mark.parametrize("name", QUICK)
def test_a_state_that_went_through_json_goes_on_the_same(name: str, before: list[float], after: list[float]) -> None:
    one, other = QUICK[name](), QUICK[name]()
    alarms(one, before)
    other.restore(json.loads(json.dumps(one.to_dict())))
    assert alarms(one, after) == alarms(other, after)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_finite_number_is_refused_and_changes_nothing(make: Callable[[], Restorable], bad: float) -> None:
    detector = make()
    alarms(detector, normal(1, 100))
    before = json.dumps(detector.to_dict())
    with pytest.raises(ValueError, match="finite"):
        detector.update(bad)
    assert json.dumps(detector.to_dict()) == before


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_a_chain_does_not_care_for_the_unit(scale: float) -> None:
    stream = normal(3, 500)
    stream[300:] += 3
    assert alarms(NoonChain(1e-3 * scale), stream * scale) == alarms(NoonChain(1e-3), stream)


def test_a_chain_does_not_care_for_the_level() -> None:
    stream = normal(4, 500)
    stream[300:] += 3
    assert [n for n, _ in alarms(NoonChain(), stream + 1_000)] == [n for n, _ in alarms(NoonChain(), stream)]


@settings(deadline=None)
@given(stream=values, k=st.floats(0, 2), h=st.floats(0.5, 20))
def test_cusum_is_what_the_book_says(stream: list[float], k: float, h: float) -> None:
    """Against the defining maximum of partial sums: S_n = max over m <= n of the sum of (x_i - k) for i in m+1..n."""

    def reference() -> list[tuple[int, Direction]]:
        found, since = [], 0
        for n in range(len(stream)):
            window = stream[since : n + 1]
            high = max(0.0, *(sum(x - k for x in window[m:]) for m in range(len(window))))
            low = max(0.0, *(sum(-x - k for x in window[m:]) for m in range(len(window))))
            if abs(high - h) < 1e-9 or abs(low - h) < 1e-9:
                return found
            if high > h or low > h:
                found.append((n, Direction.UP if high >= low else Direction.DOWN))
                since = n + 1
        return found

    expected = reference()
    assert alarms(Cusum(k, h), stream)[: len(expected)] == expected


def test_a_baseline_knows_the_hours_apart() -> None:
    baseline = HourlyBaseline(floor=0.1, learn=20)
    rng = np.random.default_rng(0)
    for hour in (8, 20):
        for _ in range(20):
            assert baseline.update(100.0 * (hour == 20) + rng.normal(), hour) is None
    assert baseline.learned_hours == 2
    assert abs(baseline.update(0.0, 8) or 0.0) < 1.5
    assert abs(baseline.update(100.0, 20) or 0.0) < 1.5
    assert baseline.update(100.0, 8) == CLIP
    assert baseline.update(5.0, 9) is None


def test_a_signal_that_stood_still_while_it_was_learned_does_not_alarm_at_less_than_its_floor() -> None:
    baseline = HourlyBaseline(floor=0.5, learn=20)
    for _ in range(20):
        baseline.update(3.0, NOON)
    assert baseline.update(3.4, NOON) == pytest.approx(0.8)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_whitening_takes_the_memory_out_and_keeps_the_spread(phi: float) -> None:
    noise = normal(5, 6_000) * math.sqrt(1 - phi * phi)
    stream = np.zeros(6_000)
    for n in range(1, 6_000):
        stream[n] = phi * stream[n - 1] + noise[n]
    whitener = Whitener(learn=2_000)
    white = np.array([y for x in stream if (y := whitener.update(x)) is not None])
    assert whitener.phi == pytest.approx(phi, abs=0.06)
    assert np.corrcoef(white[1:], white[:-1])[0, 1] == pytest.approx(0, abs=0.06)
    assert white.std() == pytest.approx(1, abs=0.1)


def test_correlated_noise_alarms_a_bare_cusum_but_not_a_chain() -> None:
    rng = np.random.default_rng(11)
    stream = np.zeros(4_000)
    for n in range(1, 4_000):
        stream[n] = 0.9 * stream[n - 1] + rng.normal(0, math.sqrt(1 - 0.81))
    assert alarms(Cusum(), stream)
    chain = Chain(1e-3, learn=500, learn_memory=1_000)
    assert [n for n, x in enumerate(stream) if chain.update(float(x), NOON) is not Direction.STEADY] == []


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95])
def test_three_wild_values_never_alarm(phi: float) -> None:
    rng, x, chain = np.random.default_rng(3), 0.0, Chain(1e-3, learn=500, learn_memory=1_000)
    for shock in rng.normal(0, math.sqrt(1 - phi * phi), 2_000):
        x = phi * x + shock
        chain.update(x, NOON)
    wild = [30.0, 30.0, 30.0, *[0.0] * 60]
    assert [n for n, value in enumerate(wild) if chain.update(value, NOON) is not Direction.STEADY] == []


def test_an_hour_that_looked_calm_while_it_was_learned_is_not_trusted_more_than_the_others() -> None:
    baseline = HourlyBaseline(floor=0.01, learn=20)
    rng = np.random.default_rng(0)
    for hour in range(5):
        for _ in range(20):
            baseline.update(float(rng.normal(0, 0.05 if hour == 3 else 1.0)), hour)
    assert abs(baseline.update(1.0, 3) or 0.0) < 1.6


def test_the_rhythm_of_the_day_and_a_long_memory_together_do_not_alarm() -> None:
    """Seven judged days of minutes, three times: a bare CUSUM alarms about a hundred times a day here."""
    found = 0
    for seed in range(3):
        rng, x, chain = np.random.default_rng(seed), 0.0, Chain(1e-3, learn=180, learn_memory=360)
        for minute, shock in enumerate(rng.normal(0, math.sqrt(1 - 0.81), 10 * 1_440)):
            x = 0.9 * x + shock
            hour = minute // 60 % 24
            value = x + 2 * math.sin(hour / 24 * math.tau)
            found += chain.update(value, hour) is not Direction.STEADY
    assert found <= 1
