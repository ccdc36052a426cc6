"""Feedback of people."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.lifecycle.guard import Environment, Feedback, TrialWatch
from edge_runtime.lifecycle.guard.labels import LabelTest
from edge_runtime.lifecycle.guard.settings import LabelSettings
from tests.lifecycle.guard.frames import frame

ANSWERS = st.lists(st.tuples(st.booleans(), st.sampled_from([None, True, False]), st.booleans()), max_size=60)


def told(right: bool, theirs: bool | None = None, picked: bool = False) -> Feedback:
    return Feedback(0.0, "a", "1", right, theirs, picked)


def test_a_model_that_is_always_right_stays_and_one_that_is_always_wrong_goes() -> None:
    for theirs in (None, True):
        good, bad = LabelTest(LabelSettings()), LabelTest(LabelSettings())
        for _ in range(200):
            good.take(told(True, theirs))
        for _ in range(8):
            bad.take(told(False, theirs))
        assert not good.verdict().fall_back
        assert bad.verdict().rule == "labels"


def test_a_shelf_that_is_hard_for_both_condemns_neither() -> None:
    test = LabelTest(LabelSettings())
    for number in range(200):
        test.take(told(number % 3 > 0, number % 3 > 0))
    assert not test.verdict().fall_back


def test_a_better_model_is_not_judged_by_a_promise_that_the_incumbent_breaks_itself() -> None:
    test = LabelTest(LabelSettings())
    for number in range(300):
        test.take(told(number % 10 > 0, number % 10 < 7 or number % 10 == 0))  # 90 % against 80 %
    assert not test.verdict().fall_back


def test_labels_of_disputed_slots_are_decisive_and_those_of_equal_models_are_not() -> None:
    random = np.random.default_rng(3)
    out = 0
    for _ in range(100):
        test = LabelTest(LabelSettings())
        for lost in (random.random(60) < 0.5).tolist():
            test.take(told(not lost, lost, picked=True))
            if test.verdict().fall_back:
                out += 1
                break
    assert out <= 5
    worse = LabelTest(LabelSettings())
    for number in range(20):
        worse.take(told(number % 10 == 0, number % 10 != 0, picked=True))
    assert worse.verdict().fall_back


@given(ANSWERS)
def test_one_more_lost_label_is_never_less_evidence_than_one_that_is_right(
    answers: list[tuple[bool, bool | None, bool]],
) -> None:
    lost, right = LabelTest(LabelSettings()), LabelTest(LabelSettings())
    for one in answers:
        lost.take(told(*one))
        right.take(told(*one))
    lost.take(told(False, True))
    right.take(told(True, True))
    assert lost.log_wealth >= right.log_wealth


def test_labels_count_for_nothing_while_the_light_changes() -> None:
    watch = TrialWatch()
    watch.observe(frame(0), Environment.LIGHT)
    for _ in range(50):
        assert not watch.feedback(told(False, True)).fall_back
    assert watch.describe()["labels"] == 0
