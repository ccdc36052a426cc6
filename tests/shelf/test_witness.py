"""What the pixels of a slot have to say about an answer that suddenly changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from edge_runtime.records import Event, Image, Registration, RegistrationStatus, SlotStatus, State
from edge_runtime.shelf.states import ShelfTracker, TrackerSettings
from edge_runtime.shelf.witness import LOOK, Witness, WitnessSettings, looks
from tests.shelf.scenes import ANSWER_ROWS, THRESHOLDS, frame_of, layout_of, scores_of, view_of

S, L, E, U = State.STOCKED, State.LOW, State.EMPTY, State.UNKNOWN
Row = tuple[float, float, float]
SURE_LOW: Row = (0.03, 0.95, 0.02)
LIKELY_LOW: Row = (0.15, 0.85, 0.0)
WEAK_LOW: Row = (0.35, 0.65, 0.0)


def picture(seed: int, side: int = 64) -> Image:
    """Something with structure, and a little noise of its own each time it is taken."""
    coarse = np.random.default_rng(seed).integers(40, 200, (8, 8, 3))
    return np.kron(coarse, np.ones((side // 8, side // 8, 1))).astype(np.uint8)


def taken(scene: Image, number: int) -> Image:
    noise = np.random.default_rng(number).normal(0, 3, scene.shape)
    return np.clip(scene + noise, 0, 255).astype(np.uint8)


class OneSlot:
    """A tracker of one slot that is shown pictures together with what the model makes of them."""

    def __init__(self, interval_s: float = 45.0) -> None:
        self.tracker = ShelfTracker("cam", layout_of(), THRESHOLDS)
        self.events: list[Event] = []
        self.status: SlotStatus
        self._number = 0
        self._interval_s = interval_s

    def show(
        self, scene: Image, row: Row = ANSWER_ROWS[S], count: int = 1, moved: bool = False, blocked: float = 0.02
    ) -> list[State]:
        published = []
        for k in range(count):
            frame = frame_of(self._number, self._interval_s)
            registration = Registration(RegistrationStatus.OK, np.eye(3), 100, 0.5, moved and k == 0)
            crops = taken(scene, self._number)[None]
            view = replace(view_of(frame, 1), crops=crops, registration=registration)
            scores = scores_of([row])
            scores.blocked[:] = blocked
            _, (self.status,), events = self.tracker.observe(view, scores)
            self.events += events
            published.append(self.status.state)
            self._number += 1
        return published


@pytest.fixture
def slot() -> OneSlot:
    settled = OneSlot()
    settled.show(picture(1), count=12)
    assert settled.status.state is S and settled.events == []
    return settled


def test_a_new_picture_and_a_sure_answer_are_a_change_within_two_captures(slot: OneSlot) -> None:
    assert slot.show(picture(2), SURE_LOW, 2) == [S, L]
    assert [(e.was, e.now) for e in slot.events] == [("stocked", "low")]


def test_another_answer_about_the_same_picture_is_not_believed(slot: OneSlot) -> None:
    assert set(slot.show(picture(1), LIKELY_LOW, 60)) == {S}
    assert slot.events == []


def test_about_another_picture_it_is(slot: OneSlot) -> None:
    assert slot.show(picture(2), LIKELY_LOW, 6)[-1] is L


def test_a_model_that_is_sure_and_insists_corrects_what_was_wrong_from_the_start(slot: OneSlot) -> None:
    published = slot.show(picture(1), SURE_LOW, 8)
    assert published[:3] == [S] * 3 and published[-1] is L
    assert len(slot.events) == 1


@pytest.mark.parametrize("scene", [1, 2])
def test_a_weak_answer_never_becomes_an_event_but_lowers_the_confidence(slot: OneSlot, scene: int) -> None:
    assert set(slot.show(picture(scene), WEAK_LOW, 200)) == {S}
    assert slot.events == [] and slot.status.confidence < 0.5


def test_a_doubt_about_the_same_picture_does_not_hide_what_is_known(slot: OneSlot) -> None:
    assert set(slot.show(picture(1), ANSWER_ROWS[U], 20)) == {S}


def test_a_doubt_about_another_picture_does(slot: OneSlot) -> None:
    assert slot.show(picture(2), ANSWER_ROWS[U], 4)[-1] is U
    assert slot.status.reason == "unsure"


def test_light_that_changes_slowly_is_followed(slot: OneSlot) -> None:
    first, last = picture(1).astype(float), picture(3).astype(float)
    for step in np.linspace(0.0, 1.0, 80):
        slot.show((first + step * (last - first)).astype(np.uint8))
    assert set(slot.show(picture(3), LIKELY_LOW, 8)) == {S}


def test_what_is_known_is_carried_over_a_knock_against_the_camera(slot: OneSlot) -> None:
    knocked = np.roll(picture(1), 3, axis=1)
    slot.show(knocked, LIKELY_LOW, 1, moved=True)
    assert set(slot.show(knocked, LIKELY_LOW, 8)) == {S}
    assert slot.show(picture(2), SURE_LOW, 2)[-1] is L


def test_stock_that_changes_after_a_knock_is_told_as_ever(slot: OneSlot) -> None:
    slot.show(np.roll(picture(1), 3, axis=1), ANSWER_ROWS[S], 3, moved=True)
    assert slot.show(picture(2), SURE_LOW, 2) == [S, L]


def test_a_camera_that_moves_all_the_time_carries_nothing_over(slot: OneSlot) -> None:
    for k in range(4):
        slot.show(np.roll(picture(1), k, axis=1), moved=True)
    slot.show(picture(2), SURE_LOW, 1, moved=True)
    assert slot.show(picture(2), SURE_LOW, 1, moved=True) == [L]


def test_another_models_crops_do_not_make_everything_new(slot: OneSlot) -> None:
    slot.show(picture(1), count=4)
    assert set(slot.show(picture(1, side=80)[4:76, 4:76], LIKELY_LOW, 8)) == {S}


def test_what_stands_still_is_no_shopper(slot: OneSlot) -> None:
    assert slot.show(picture(2), SURE_LOW, 6, blocked=0.24)[-1] is L


def test_what_moves_may_be_one(slot: OneSlot) -> None:
    for number in range(2, 8):
        assert slot.show(picture(number), (0.02, 0.28, 0.70), blocked=0.24) == [S]


def test_at_a_high_rate_still_means_seconds_not_pictures() -> None:
    slot = OneSlot(interval_s=0.5)
    slot.show(picture(1), count=8)
    assert set(slot.show(picture(2), SURE_LOW, 5, blocked=0.24)) == {S}


@given(st.integers(0, 99), st.floats(0.4, 1.25), st.floats(-20, 20))
def test_a_look_is_free_of_brightness_and_contrast(seed: int, gain: float, offset: float) -> None:
    plain = picture(seed).astype(float)
    other = np.clip(128 + gain * (plain - 128) * 0.7 + offset, 0, 255).astype(np.uint8)
    (a,), (b,) = looks(picture(seed)[None]), looks(other[None])
    assert a @ b > 0.995


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_looks_of_any_crop_have_length_one_or_say_nothing(height: int, width: int, seed: int) -> None:
    crops = np.random.default_rng(seed).integers(0, 256, (3, height, width, 3)).astype(np.uint8)
    found = looks(crops)
    assert found.shape == (3, LOOK) and np.isfinite(found).all()
    lengths = np.linalg.norm(found, axis=1)
    assert np.all((lengths < 1e-6) | (np.abs(lengths - 1) < 1e-3))


@pytest.mark.parametrize("crops", [np.full((2, 64, 64, 3), 90, np.uint8), np.zeros((2, 8, 8, 3), np.uint8)])
def test_crops_that_are_flat_or_tiny_leave_it_to_the_model(crops: Image) -> None:
    witness = Witness(2, WitnessSettings())
    for _ in range(4):
        sightings = witness.compare(crops, moved=False)
        witness.follow([0])
    assert [(s.novelty, s.still) for s in sightings] == [(1.0, False)] * 2


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([SURE_LOW, WEAK_LOW, *ANSWER_ROWS.values()])), max_size=40)
)
@settings(max_examples=50, deadline=None)
def test_one_picture_never_makes_an_event(shown: Sequence[tuple[int, Row]]) -> None:
    slot = OneSlot()
    slot.show(picture(1), count=4)
    for scene, row in shown:
        slot.show(picture(scene), row)
        assert set(slot.show(picture(1), count=3)) == {S}
    assert slot.events == []


def test_without_pixels_the_evidence_alone_decides() -> None:
    tracker = ShelfTracker("cam", layout_of(), THRESHOLDS, TrackerSettings(witness=None))
    for number in range(8):
        row = ANSWER_ROWS[S] if number < 5 else SURE_LOW
        view = replace(view_of(frame_of(number), 1), crops=taken(picture(1), number)[None])
        _, (status,), _ = tracker.observe(view, scores_of([row]))
    assert status.state is L
