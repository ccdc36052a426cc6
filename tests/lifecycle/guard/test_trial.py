"""A whole trial, and what the environment is taken for."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks.guard.lives import HEALTHY, WORSE, Life
from edge_runtime.lifecycle.guard import Environment, Feedback, TrialSettings, TrialWatch
from edge_runtime.lifecycle.guard.environment import EnvironmentSense
from edge_runtime.lifecycle.guard.settings import SenseSettings
from edge_runtime.records import (
    Frame,
    Light,
    LightDecision,
    Reason,
    Registration,
    RegistrationStatus,
    SlotQuality,
    Unusable,
    View,
)
from tests.lifecycle.guard.frames import INTERVAL_S, STOCKED, frame, pair


def test_a_trial_passes_after_enough_time_frames_and_comparisons() -> None:
    watch = TrialWatch(TrialSettings(least_s=900.0, least_frames=10, least_pairs=30))
    same = [pair(STOCKED, STOCKED, str(slot)) for slot in range(3)]
    passed = []
    for number in range(30):
        watch.observe(frame(number), pairs=same)
        passed.append(watch.passed)
    assert passed.index(True) == 20 and all(passed[20:])


def test_a_trial_does_not_pass_while_the_light_changes_nor_after_a_fault() -> None:
    watch = TrialWatch(TrialSettings(least_s=90.0, least_frames=2))
    for number in range(5):
        watch.observe(frame(number))
    assert watch.passed
    watch.observe(frame(5), Environment.LIGHT)
    assert not watch.passed and watch.waiting == "light"
    watch.observe(frame(9))
    assert watch.passed
    watch.observe(frame(10, fault="NaN"))
    assert not watch.passed


def test_a_camera_that_is_lost_while_its_light_changes_does_not_hold_the_trial_for_ever() -> None:
    watch = TrialWatch(TrialSettings(least_s=900.0, least_frames=10))
    watch.observe(frame(0, camera="b"), Environment.LIGHT)
    for number in range(1, 30):
        watch.observe(frame(number))
        assert watch.waiting == ("light" if number * INTERVAL_S < watch.settings.sense.settle_s else "")
    assert watch.passed


def test_its_account_goes_into_telemetry() -> None:
    watch = TrialWatch()
    watch.observe(frame(0))
    told = watch.describe()
    assert json.loads(json.dumps(told)) == told
    assert all(isinstance(value, str) or math.isfinite(value) for value in told.values())


@pytest.mark.parametrize("kind", HEALTHY, ids=lambda kind: kind.name)
def test_healthy_lives_pass(kind) -> None:  # type: ignore[no-untyped-def]
    for seed in (1, 2):
        watch = TrialWatch()
        for step in Life(kind, seed, hours=2.5).steps():
            watch.observe(step.evidence, step.environment, step.pairs)
        assert not watch.verdict.fall_back, watch.verdict.reason


@pytest.mark.parametrize("kind", [kind for kind in WORSE if kind.name in ("says empty", "slow", "NaN after a while")])
def test_what_breaks_is_out_within_the_hour(kind) -> None:  # type: ignore[no-untyped-def]
    watch = TrialWatch()
    for step in Life(kind, 1, hours=1.0).steps():
        watch.observe(step.evidence, step.environment, step.pairs)
    assert watch.verdict.fall_back


def view(gain: float = 1.0, residual: float = 0.05, moved: bool = False, sharpness: float = 1.0) -> View:
    pixels = np.zeros((1, 1, 3), np.uint8)
    ones = np.ones(1, np.float32)
    light = Light(True, (gain,) * 3, residual, decision=LightDecision.APPLIED)
    place = Registration(RegistrationStatus.OK, None, moved=moved)
    return View(
        Frame("a", 0, pixels, 0.0, 0.0), place, light, pixels[None], SlotQuality(ones, ones, ones), sharpness, 1.0, {}
    )


def test_only_changes_of_camera_and_light_are_noticed() -> None:
    def sensed(odd: View | Unusable) -> Environment:
        sense = EnvironmentSense(SenseSettings())
        for _ in range(10):
            assert sense.sense(view()) is Environment.STEADY
        return sense.sense(odd)

    assert sensed(view(moved=True)) is Environment.CAMERA
    assert sensed(view(sharpness=0.5)) is Environment.CAMERA
    assert sensed(view(gain=1.4)) is Environment.LIGHT
    assert sensed(view(residual=0.6)) is Environment.LIGHT
    assert sensed(view(gain=1.02)) is Environment.STEADY
    one = view()
    assert sensed(Unusable(one.frame, Reason.BLACK, "", one.registration, one.light, {})) is Environment.UNKNOWN


def test_a_store_that_is_dim_for_good_is_steady_again() -> None:
    sense = EnvironmentSense(SenseSettings())
    for _ in range(5):
        sense.sense(view())
    found = [sense.sense(view(gain=1.5)) for _ in range(40)]
    assert found[0] is Environment.LIGHT and found[-1] is Environment.STEADY


def test_what_the_receipt_promises_is_what_labels_are_held_against() -> None:
    low, high = TrialSettings().promised(0.8), TrialSettings().promised(0.97)
    watches = TrialWatch(low), TrialWatch(high)
    for number in range(150):
        for watch in watches:
            watch.feedback(Feedback(0.0, "a", "1", number % 5 > 0))
    assert not watches[0].verdict.fall_back
    assert watches[1].verdict.rule == "labels"
    assert TrialSettings().promised(1.0).labels.promise == 0.99
