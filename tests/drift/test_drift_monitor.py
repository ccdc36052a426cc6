"""What a user of drift sees: it learns, it notices, it names the cause, and it survives a restart."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.drift.cause import Cause, cause_of
from edge_runtime.drift.monitor import DriftMonitor, DriftSettings, DriftState
from edge_runtime.drift.signals import NAMES, SIGNALS, Group, signals_of
from edge_runtime.records import (
    Frame,
    Light,
    ModelId,
    Outcome,
    Reason,
    Registration,
    RegistrationStatus,
    Scores,
    SlotQuality,
    SlotReading,
    State,
    Unusable,
    View,
)

SETTINGS = DriftSettings(every_s=10.0, learn=30, learn_memory=60, hold=20)
SLOTS = 20


class Store:
    """A store whose camera, light and products tests change by plain assignment."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.now_s = 0.0
        self.gain = 1.0
        self.sure = 0.95
        self.empty = 2
        self.covered = False

    def outcome(self, camera: str = "cam") -> Outcome:
        self.now_s += 2.0
        rng = self.rng
        frame = Frame(camera, 0, np.zeros((4, 4, 3), np.uint8), 1_700_000_000 + self.now_s, self.now_s)
        registration = Registration(
            RegistrationStatus.OK, np.eye(3), int(rng.normal(300, 9)), float(rng.normal(0.8, 0.03))
        )
        gain = float(rng.normal(self.gain, 0.01))
        light = Light(False, (gain, gain, gain), residual_before=abs(float(rng.normal(0.03, 0.005))))
        if self.covered:
            lost = replace(registration, status=RegistrationStatus.REFUSED, homography=None)
            return Outcome(frame, Unusable(frame, Reason.COVERED, "", lost, light, {}), None, (), (), (), {})
        ones = np.ones(SLOTS, np.float32)
        view = View(
            frame, registration, light, np.zeros((SLOTS, 2, 2, 3), np.uint8), SlotQuality(ones, 0 * ones, ones),
            float(rng.normal(1.0, 0.02)), float(rng.normal(2.0, 0.05)), {},
        )  # fmt: skip
        top = np.clip(rng.normal(self.sure, 0.01, SLOTS), 0.4, 0.999)
        probabilities = np.stack([top, (1 - top) / 2, (1 - top) / 2], 1).astype(np.float32)
        scores = Scores(ModelId("m", "1", "00"), probabilities, 0 * ones, {})
        states = [State.EMPTY if n < self.empty else State.STOCKED for n in range(SLOTS)]
        readings = tuple(SlotReading(f"s{n}", state, float(top[n]), {}) for n, state in enumerate(states))
        return Outcome(frame, view, scores, readings, (), (), {})

    def run(self, monitor: DriftMonitor, buckets: int) -> None:
        for _ in range(5 * buckets):
            monitor.observe(self.outcome())


def learned() -> tuple[Store, DriftMonitor]:
    store, monitor = Store(), DriftMonitor("cam", SETTINGS, hour_of=lambda at: 12)
    store.run(monitor, 31)
    assert monitor.report().state is DriftState.LEARNING
    store.run(monitor, 90)
    assert monitor.report().state is DriftState.STEADY
    return store, monitor


def test_a_steady_store_stays_steady() -> None:
    store, monitor = learned()
    store.run(monitor, 300)
    report = monitor.report()
    assert (report.state, report.cause, report.moved) == (DriftState.STEADY, Cause.NONE, {})
    assert set(report.z) == set(NAMES)


def test_a_darker_light_is_the_environment_though_the_scores_fall_with_it() -> None:
    store, monitor = learned()
    store.gain, store.sure = 1.6, 0.8
    store.run(monitor, 12)
    report = monitor.report()
    assert (report.state, report.cause) == (DriftState.DRIFTING, Cause.ENVIRONMENT)
    assert report.moved["gain"] == "up"


def test_new_products_under_the_same_light_are_the_products() -> None:
    store, monitor = learned()
    store.sure = 0.7
    store.run(monitor, 12)
    report = monitor.report()
    assert (report.state, report.cause) == (DriftState.DRIFTING, Cause.PRODUCT)
    assert report.moved["confidence"] == "down"


def test_a_covered_camera_is_the_environment() -> None:
    store, monitor = learned()
    store.covered = True
    store.run(monitor, 12)
    assert monitor.report().cause is Cause.ENVIRONMENT


def test_a_change_is_told_once_and_fades_when_it_is_over() -> None:
    store, monitor = learned()
    assert (told := monitor.changed()) is not None and told.state is DriftState.STEADY
    assert monitor.changed() is None
    store.gain = 1.6
    store.run(monitor, 12)
    told = monitor.changed()
    assert told is not None
    event = told.event()
    assert (event.kind, event.now, event.camera) == ("drift", "drifting:environment", "cam")
    assert event.id == told.event().id
    store.gain = 1.0
    store.run(monitor, 60)
    assert monitor.report().state is DriftState.STEADY


def test_a_restart_keeps_what_was_learned() -> None:
    store, monitor = learned()
    saved = json.loads(json.dumps(monitor.to_dict()))
    again = DriftMonitor("cam", SETTINGS, hour_of=lambda at: 12)
    again.restore(saved)
    store.gain = 1.6
    store.run(again, 12)
    assert again.report().cause is Cause.ENVIRONMENT


@pytest.mark.parametrize(
    "spoil",
    [
        lambda saved: saved.pop("signals"),
        lambda saved: saved.update(format="edge-drift/9"),
        lambda saved: saved.update(camera="another"),
        lambda saved: saved["signals"]["gain"].update(cusum=None),
        lambda saved: saved["signals"]["gain"]["cusum"].update(high="much"),
        lambda saved: saved["signals"]["gain"]["cusum"].update(high=float("nan")),
        lambda saved: saved.update(moved={"gain": ["sideways", 3]}),
    ],
)
def test_a_spoilt_state_is_refused_and_changes_nothing(spoil: object) -> None:
    _, monitor = learned()
    before = json.dumps(monitor.to_dict())
    saved = json.loads(before)
    spoil(saved)  # type: ignore[operator]
    with pytest.raises(ValueError):
        monitor.restore(saved)
    assert json.dumps(monitor.to_dict()) == before


def test_a_reset_learns_anew() -> None:
    _, monitor = learned()
    monitor.reset()
    assert monitor.report().state is DriftState.LEARNING


def test_frames_of_other_cameras_are_left_alone() -> None:
    store, monitor = learned()
    before = json.dumps(monitor.to_dict())
    for _ in range(50):
        monitor.observe(store.outcome("other"))
    assert json.dumps(monitor.to_dict()) == before


def test_what_an_outcome_does_not_tell_is_not_a_number() -> None:
    store = Store()
    store.covered = True
    vector = dict(zip(NAMES, signals_of(store.outcome()), strict=True))
    assert vector["usable"] == 0.0
    assert all(np.isnan(vector[name]) for name in ("confidence", "inliers", "sharpness", "gain"))


def test_one_rail_signal_decides() -> None:
    rails = [s.name for s in SIGNALS if s.group is Group.RAIL]
    slots = [s.name for s in SIGNALS if s.group is Group.SLOT]
    assert cause_of([]) is Cause.NONE
    assert cause_of(slots) is Cause.PRODUCT
    assert all(cause_of([*slots, rail]) is Cause.ENVIRONMENT for rail in rails)
