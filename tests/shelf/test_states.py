"""Slots over time, as somebody who gets the alerts would see it."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from edge_runtime.records import ANSWERS, Reason, SlotStatus, State
from edge_runtime.shelf.evidence import EvidenceSettings
from edge_runtime.shelf.states import ShelfTracker, TrackerSettings
from tests.shelf.scenes import THRESHOLDS, Look, Scene, frame_of, layout_of, scores_of, view_of

S, L, E, B, U = State.STOCKED, State.LOW, State.EMPTY, State.BLOCKED, State.UNKNOWN
WEAK_EMPTY = (0.13, 0.12, 0.75)
answers = st.sampled_from(ANSWERS)
any_look = st.sampled_from([*State, Reason.BLACK, Reason.COVERED, WEAK_EMPTY])


def settled(state: State = S, **options: object) -> Scene:
    scene = Scene(**options)  # type: ignore[arg-type]
    scene.show(state, state, state)
    assert scene.statuses[0].state is state and scene.events == []
    return scene


def test_the_first_picture_is_published_at_once_and_is_no_event() -> None:
    scene = Scene()
    assert scene.show(S, S) == [S, S]
    assert scene.events == []


def test_a_first_picture_that_was_wrong_is_corrected_without_an_event() -> None:
    scene = Scene()
    assert scene.show(E, S, S, S) == [E, S, S, S]
    assert scene.events == []
    assert scene.statuses[0].since == frame_of(1).captured_at


def test_a_slot_without_a_sure_picture_is_starting() -> None:
    scene = Scene()
    assert scene.show(U, U) == [U, U]
    assert scene.statuses[0].reason == "starting"


@given(answers, answers)
def test_a_true_change_is_told_once_within_three_captures(old: State, new: State) -> None:
    scene = settled(old)
    published = scene.show(*[new] * 6)
    assert published[2:] == [new] * 4
    assert scene.changes() == ([] if old is new else [("s0", str(old), str(new))])


def test_a_sure_change_takes_two_captures_and_a_weak_one_takes_more() -> None:
    assert settled().show(E, E) == [S, E]
    weak = settled().show(*[WEAK_EMPTY] * 8)
    assert weak[:2] == [S, S] and weak[-1] is E


def test_a_lasting_doubt_is_unknown_not_a_change() -> None:
    scene = settled()
    assert set(scene.show(*[(0.45, 0.55, 0.0)] * 500)) == {S, U}
    assert scene.statuses[0].reason == "unsure" and scene.changes() == []


def test_a_lasting_answer_wins_once_it_is_five_times_as_likely() -> None:
    scene = settled()
    published = scene.show(*[(0.15, 0.85, 0.0)] * 6)
    assert published[:2] == [S] * 2 and published[-1] is L


def test_a_lasting_answer_that_is_hardly_likelier_is_no_event_but_lowers_the_confidence() -> None:
    scene = settled()
    assert set(scene.show(*[(0.35, 0.65, 0.0)] * 60)) == {S}
    assert scene.events == [] and scene.statuses[0].confidence < 0.5


def test_a_shopper_at_the_edge_of_a_slot_is_not_an_empty_shelf() -> None:
    scene = settled()
    scene.show(B)
    frame_scores = scores_of([(0.02, 0.28, 0.70)])
    frame_scores.blocked[:] = 0.25
    for number in range(10, 16):
        _, statuses, events = scene.tracker.observe(view_of(frame_of(number), 1), frame_scores)
        assert statuses[0].state is S and not events


@settings(max_examples=200)
@given(answers, st.lists(st.tuples(any_look, st.integers(2, 4)), max_size=20))
def test_noise_of_single_frames_never_makes_an_event(truth: State, noise: list[tuple[Look, int]]) -> None:
    scene = settled(truth)
    for look, quiet in noise:
        scene.show(look, *[truth] * quiet)
        assert scene.statuses[0].state is truth
    assert scene.events == []


def test_a_shopper_who_walks_by_leaves_no_trace() -> None:
    scene = settled()
    assert set(scene.show(B, B, S, S, B, S)) == {S}
    assert scene.events == []


def test_what_lasts_in_front_is_published_told_once_and_returns_with_the_old_since() -> None:
    scene = settled()
    since = scene.statuses[0].since
    assert scene.show(B, B, B, B)[-1] is B
    assert scene.statuses[0].reason == "blocked" and scene.statuses[0].since > since
    assert scene.show(S, S)[-1] is S
    assert scene.statuses[0].since == since
    assert scene.changes() == []
    assert scene.changes("sight") == [("s0", "stocked", "blocked"), ("s0", "blocked", "stocked")]


@given(answers, answers, st.sampled_from([B, Reason.COVERED, Reason.BLACK]), st.integers(1, 12))
def test_what_changed_behind_a_blocked_phase_is_told_against_the_last_answer(
    old: State, new: State, hiding: Look, frames: int
) -> None:
    scene = settled(old)
    scene.show(*[hiding] * frames, *[new] * 4)
    assert scene.statuses[0].state is new
    assert scene.changes() == ([] if old is new else [("s0", str(old), str(new))])


def test_a_covered_camera_is_one_camera_event_not_one_a_slot() -> None:
    scene = settled(count=30)
    scene.show(*[Reason.COVERED] * 5)
    assert {status.state for status in scene.statuses} == {U}
    assert {status.reason for status in scene.statuses} == {"covered"}
    scene.show(S, S, S)
    assert {status.state for status in scene.statuses} == {S}
    assert [(e.kind, e.was, e.now) for e in scene.events] == [("camera", "ok", "covered"), ("camera", "covered", "ok")]


def test_the_cause_is_followed_while_hidden() -> None:
    scene = settled()
    scene.show(*[B] * 4, *[Reason.BLACK] * 4)
    assert (scene.statuses[0].state, scene.statuses[0].reason) == (U, "black")


def test_a_flapping_view_does_not_spam() -> None:
    scene = settled(interval_s=5.0)
    for _ in range(12):
        scene.show(*[B] * 3, *[S] * 2)
    assert len(scene.events) <= 4
    assert scene.statuses[0].state is S


def test_two_pictures_of_one_glance_are_not_two_captures() -> None:
    scene = Scene(interval_s=0.04)
    scene.show(*[S] * 30)
    assert scene.statuses[0].state is S
    assert set(scene.show(*[E] * 5, *[S] * 5)) == {S}
    assert scene.show(*[E] * 30)[-1] is E


def test_a_restart_neither_forgets_nor_announces() -> None:
    remembered = (SlotStatus("s0", "sku0", State.EMPTY, 0.9, 123.0), SlotStatus("s1", "another", State.LOW, 0.9, 1.0))
    tracker = ShelfTracker("cam", layout_of(2), THRESHOLDS, remembered=remembered)
    _, statuses, events = tracker.observe(view_of(frame_of(0), 2), scores_of([State.EMPTY, State.EMPTY]))
    assert (statuses[0].state, statuses[0].since) == (State.EMPTY, 123.0)
    assert statuses[1].since == frame_of(0).captured_at
    assert events == ()


def test_a_new_models_thresholds_count_from_the_next_frame() -> None:
    scene = settled()
    scene.tracker.thresholds = type(THRESHOLDS)(answer=0.99, blocked=0.5)
    scene.show(*[S] * 4)
    assert (scene.statuses[0].state, scene.statuses[0].reason) == (U, "unsure")


@settings(max_examples=100)
@given(st.lists(st.lists(any_look.filter(lambda look: not isinstance(look, Reason)), min_size=3, max_size=3)))
def test_ids_are_unique_and_the_same_recording_gives_the_same_events(frames: list[list[Look]]) -> None:
    once, again = Scene(3), Scene(3)
    once.show(*frames)
    again.show(*frames)
    assert once.events == again.events
    names = [event.id for event in once.events]
    assert len(set(names)) == len(names)


@settings(max_examples=100)
@given(st.lists(any_look, min_size=1, max_size=60))
def test_slot_events_form_an_unbroken_chain_of_answers(looks: list[Look]) -> None:
    scene = Scene()
    scene.show(*looks)
    chain = scene.changes()
    assert all(was != now and {was, now} <= {"stocked", "low", "empty"} for _, was, now in chain)
    assert all(first[2] == second[1] for first, second in pairwise(chain))


@settings(max_examples=100)
@example([State.STOCKED, State.STOCKED, (0.01, 0.01, 0.98), (0.0001, 0.9899, 0.01)])
@given(st.lists(any_look, min_size=4, max_size=60))
def test_no_change_is_told_with_the_confidence_of_a_doubt(looks: list[Look]) -> None:
    scene = Scene()
    scene.show(*looks)
    told = [event for event in scene.events if event.kind == "slot"]
    assert all(event.confidence >= THRESHOLDS.answer - 1e-6 for event in told)


def test_the_defaults_keep_the_promise_of_two_pictures() -> None:
    limits = EvidenceSettings()
    assert limits.clip - limits.allowance < limits.threshold <= 2 * (limits.clip - limits.allowance)


def test_a_clock_that_jumps_does_not_hide_or_show_anything() -> None:
    tracker = ShelfTracker("cam", layout_of(), THRESHOLDS, TrackerSettings())
    for number, wall in enumerate((5e9, 1.0, 1.7e9, 1.7e9)):
        frame = frame_of(number)
        jumped = type(frame)(frame.camera, number, frame.pixels, wall, frame.captured_monotonic_s)
        _, statuses, events = tracker.observe(view_of(jumped, 1), scores_of([State.STOCKED]))
    assert statuses[0].state is State.STOCKED and events == ()


@pytest.mark.parametrize("row", [(float("nan"),) * 3, (0.0, 0.0, 0.0)])
def test_nonsense_probabilities_never_become_an_answer(row: tuple[float, float, float]) -> None:
    assert set(Scene().show(*[row] * 10)) == {State.UNKNOWN}


@pytest.mark.parametrize(("old", "row", "new"), [(S, (0.0, 0.005, 0.995), E), (E, (0.995, 0.005, 0.0), S)])
def test_a_change_to_the_far_end_does_not_pass_through_low(
    old: State, row: tuple[float, float, float], new: State
) -> None:
    scene = settled(old)
    scene.show(row, row, row)
    (event,) = scene.events
    assert (event.now, event.confidence) == (str(new), pytest.approx(0.995, abs=1e-4))
