"""The immediate rules: what trips them, what does not, and what excuses a model."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.lifecycle.guard import Environment, StandingWatch, TrialWatch, Verdict
from edge_runtime.records import State
from tests.lifecycle.guard.frames import EMPTY, LOW, STOCKED, UNKNOWN, USUAL, frame, pair

ALL_EMPTY = {EMPTY: 20}
COUNTS = st.dictionaries(st.sampled_from(list(State)), st.integers(0, 24))


def after(count: int, states: Mapping[State, int] | None = None, **more: object) -> Verdict:
    """The verdict after so many frames of one kind."""
    watch = StandingWatch()
    for number in range(count):
        watch.observe(frame(number, states, **more))
    return watch.verdict


def test_an_ordinary_day_trips_nothing() -> None:
    assert not after(300).fall_back


def test_a_model_that_fails_goes_at_once_whatever_the_environment() -> None:
    for environment in Environment:
        verdict = StandingWatch().observe(frame(0, fault="the answer holds NaN"), environment)
        assert verdict.fall_back and verdict.rule == "fault" and "NaN" in verdict.reason


def test_one_class_is_a_collapse_only_if_the_incumbent_differs_and_only_if_it_lasts() -> None:
    assert after(5, ALL_EMPTY).rule == "collapse"
    assert not after(4, ALL_EMPTY).fall_back
    assert not after(50, ALL_EMPTY, incumbent={EMPTY: 20}).fall_back
    assert not after(50, {STOCKED: 20}, incumbent={STOCKED: 15, LOW: 5}).fall_back, (
        "a shelf that is nearly full is no collapse"
    )


def test_a_bad_incumbents_variety_condemns_nobody() -> None:
    watch = TrialWatch()
    theirs = {STOCKED: 8, LOW: 12}
    pairs = [pair(STOCKED, LOW, str(slot), likeness=0.99) for slot in range(12)]
    for number in range(20):
        watch.observe(frame(number, {STOCKED: 20}, incumbent=theirs), pairs=pairs)
    assert not watch.verdict.fall_back


def test_far_more_unknown_slots_than_the_incumbent_has() -> None:
    assert after(6, {STOCKED: 6, LOW: 2, UNKNOWN: 12}).rule == "unknown"
    assert not after(50, {STOCKED: 8, UNKNOWN: 12}, incumbent={STOCKED: 8, UNKNOWN: 12}).fall_back


def test_slow_is_p95_over_budget_unless_the_incumbent_is_slow_here_too() -> None:
    assert after(20, infer_ms=3_000.0).rule == "slow"
    assert not after(100, infer_ms=3_000.0, incumbent_ms=2_500.0).fall_back
    watch = StandingWatch()
    for number in range(200):
        watch.observe(frame(number, infer_ms=9_000.0 if number % 25 == 0 else 8.0))
    assert not watch.verdict.fall_back, "one slow frame in 25 is not p95"


@pytest.mark.parametrize("environment", [Environment.CAMERA, Environment.LIGHT])
@given(st.lists(COUNTS, max_size=30))
def test_while_camera_or_light_change_no_picture_condemns(
    environment: Environment, answers: list[dict[State, int]]
) -> None:
    watch = TrialWatch()
    for number, states in enumerate(answers):
        watch.observe(frame(number, states), environment, [pair(EMPTY, STOCKED, str(slot)) for slot in range(20)])
    assert not watch.verdict.fall_back


def test_after_a_change_judgement_waits_a_while_and_begins_afresh() -> None:
    watch = StandingWatch()
    for number in range(4):
        watch.observe(frame(number, ALL_EMPTY))
    watch.observe(frame(4, ALL_EMPTY), Environment.LIGHT)
    assert watch.waiting == "light"
    for number in range(5, 11):
        watch.observe(frame(number, ALL_EMPTY))
    assert not watch.verdict.fall_back
    for number in range(11, 16):
        watch.observe(frame(number, ALL_EMPTY))
    assert watch.verdict.rule == "collapse" and not watch.waiting


def test_frames_without_a_view_say_nothing() -> None:
    watch = StandingWatch()
    for number in range(40):
        watch.observe(frame(number, ALL_EMPTY, usable=False), Environment.UNKNOWN)
    assert not watch.verdict.fall_back and watch.frames == 0


@given(st.lists(COUNTS, max_size=40))
def test_a_verdict_stands_once_it_is_given(answers: list[dict[State, int]]) -> None:
    watch = StandingWatch()
    watch.observe(frame(0, fault="broken"))
    first = watch.verdict
    for number, states in enumerate(answers, start=1):
        assert watch.observe(frame(number, states)) is first


def test_usual_means_the_same_shelf() -> None:
    assert sum(USUAL.values()) == 20
