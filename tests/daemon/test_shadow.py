"""The shadow's budget, its account, and what counts as one look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge_runtime.daemon.models import load_model
from edge_runtime.daemon.pairing import Pairing
from edge_runtime.daemon.shadow import Comparison, CpuBudget, Shadow, Tally, wilson
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.lifecycle.guard import SlotPair
from edge_runtime.records import Image, SlotReading, State
from tests.daemon.rig import Rig, noisy, shelf_picture
from tests.lifecycle.bundles import make_bundle

STOCKED, LOW, BLOCKED = State.STOCKED, State.LOW, State.BLOCKED


@given(st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 2.0)), min_size=1, max_size=200))
def test_it_never_spends_more_than_its_share_what_it_saved_and_one_look(steps: list[tuple[float, float]]) -> None:
    share, saved_s = 0.1, 30.0
    budget, now_s = CpuBudget(share, saved_s, 0.0), 0.0
    for waited_s, cost_s in steps:
        now_s += waited_s
        if budget.may_spend(now_s):
            budget.spend(cost_s)
        assert budget.spent_s <= share * (now_s + saved_s) + 2.0


def test_a_cheap_shadow_sees_every_frame_and_a_dear_one_its_share() -> None:
    for cost_s, least, most in ((0.02, 100, 100), (1.0, 10, 25)):
        budget, seen = CpuBudget(0.1, 30.0, 0.0), 0
        for number in range(100):
            if budget.may_spend(float(number)):
                budget.spend(cost_s)
                seen += 1
        assert least <= seen <= most


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_is_wilsons(hits: int, count: int) -> None:
    hits = min(hits, count)
    exact = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson(hits, count) == pytest.approx((exact.low, exact.high), abs=1e-4)


def pair(mine: State, theirs: State, novelty: float = 0.0) -> SlotPair:
    return SlotPair("a", "1", mine, theirs, novelty=novelty)


def test_many_pictures_of_one_look_are_one_observation() -> None:
    tally = Tally()
    for number in range(40):
        tally.take((pair(STOCKED, STOCKED, float(number == 0)),))
    for number in range(10):
        tally.take((pair(STOCKED, LOW, float(number == 0)),))
    assert tally.slots == 50 and tally.agreed == 40
    assert tally.looks() == (2, 1.0)
    assert tally.confusion[STOCKED, LOW] == 10


def crops(seed: int, count: int = 3) -> Image:
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (count, 8, 8, 3)).astype(np.uint8)
    return np.repeat(np.repeat(small, 6, 1), 6, 2)


def readings(state: State) -> list[SlotReading]:
    return [SlotReading(str(slot), state, 0.9, {}) for slot in range(3)]


def test_a_look_lasts_until_the_pixels_change_over_noise_shoppers_and_a_knock() -> None:
    pairing = Pairing("a", crops(1))

    def seen(picture: Image, state: State = STOCKED, moved: bool = False) -> list[float]:
        return [one.novelty for one in pairing.pair(picture, moved, readings(state), readings(STOCKED))]

    full = crops(1)
    assert seen(full) == [1.0] * 3
    assert seen(noisy(full.reshape(-1, 48, 3), 2).reshape(full.shape)) == [0.0] * 3
    assert seen(crops(7), BLOCKED) == [1.0] * 3
    assert seen(full) == [0.0] * 3, "the shopper is gone and it is the same look"
    assert seen(crops(8), moved=True) == [0.0] * 3, "a knock makes all slots look different and sells nothing"
    assert seen(crops(8)) == [0.0] * 3
    assert seen(crops(9)) == [1.0] * 3


def test_likeness_is_to_the_commissioned_picture_and_unknown_for_flat_crops() -> None:
    pairing = Pairing("a", crops(1))
    same = pairing.pair(crops(1), False, readings(STOCKED), readings(STOCKED))
    assert all(one.likeness == pytest.approx(1.0, abs=1e-3) for one in same)
    flat = pairing.pair(np.full((3, 48, 48, 3), 90, np.uint8), False, readings(STOCKED), readings(STOCKED))
    assert all(one.likeness is None for one in flat)


def beside(folder: Path, behaviour: str) -> tuple[Rig, Shadow]:
    """A daemon that runs a good model, and the shadow of another beside it."""
    rig = Rig(folder, bundles=("good",))
    shadow = Shadow(load_model(read_bundle(make_bundle(folder / "other.zip", "2.0.0", behaviour))), clock=rig.clock)
    return rig, shadow


def shown(rig: Rig, shadow: Shadow, frames: int, late: bool = False) -> list[Comparison | None]:
    daemon = rig.daemon()
    daemon.open()
    (station,) = rig.roster.stations.values()
    found = []
    for number in range(frames):
        rig.turns(daemon, 1, noisy(shelf_picture(), number), step_s=45.0)
        assert station.outcome is not None
        found.append(shadow.look(station, station.outcome, late))
    return found


def test_two_equal_models_agree_on_the_same_views(tmp_path: Path) -> None:
    rig, shadow = beside(tmp_path, "good")
    found = shown(rig, shadow, 4)
    assert all(one is not None for one in found)
    report = shadow.report()
    assert report.frames == 4 and report.agreement in (1.0, None) and not report.fault
    assert report.interval[1] == pytest.approx(1.0)


def test_a_shadow_that_fails_ends_itself_and_says_why(tmp_path: Path) -> None:
    rig, shadow = beside(tmp_path, "nan")
    assert shown(rig, shadow, 3) == [None] * 3
    assert shadow.report().fault
    assert rig.deck.loaded is not None and not rig.deck.trouble


def test_a_late_loop_has_no_time_for_a_shadow(tmp_path: Path) -> None:
    rig, shadow = beside(tmp_path, "good")
    assert shown(rig, shadow, 3, late=True) == [None] * 3
    assert shadow.report().skipped == 3 and shadow.report().cpu_share == 0.0
