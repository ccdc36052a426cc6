"""One frame on its own: which state a slot gets, and why not."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given

from edge_runtime.records import ANSWERS, Reason, Scores, State
from edge_runtime.shelf.reading import read_slots
from edge_runtime.shelf.single import SingleFrames
from tests.shelf.scenes import MODEL, THRESHOLDS, frame_of, layout_of, scores_of, unusable, view_of


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_clear_answer_is_the_state_with_its_probability(answer: State) -> None:
    (reading,) = read_slots(layout_of(), view_of(frame_of(0), 1), scores_of([answer]), THRESHOLDS)
    assert (reading.state, reading.reason) == (answer, "")
    assert reading.confidence == pytest.approx(reading.scores[answer]) and reading.confidence > 0.9


@pytest.mark.parametrize("reason", list(Reason))
def test_an_unusable_frame_makes_every_slot_unknown_with_its_reason(reason: Reason) -> None:
    readings = read_slots(layout_of(3), unusable(frame_of(0), reason), None, THRESHOLDS)
    assert [(r.slot, r.state, r.reason, r.confidence) for r in readings] == [
        (f"s{n}", State.UNKNOWN, str(reason), 0.0) for n in range(3)
    ]


def test_without_a_model_every_slot_is_unknown() -> None:
    readings = read_slots(layout_of(2), view_of(frame_of(0), 2), None, THRESHOLDS)
    assert {(r.state, r.reason) for r in readings} == {(State.UNKNOWN, "no_model")}


def test_each_limit_has_its_own_reason() -> None:
    view = view_of(frame_of(0), 5, inside=[0.5, 1, 1, 1, 1], saturated=[0, 0.6, 0, 0, 0.1], density=[1, 1, 0.1, 1, 0.9])
    scores = scores_of([State.STOCKED, State.STOCKED, State.STOCKED, State.UNKNOWN, State.STOCKED])
    readings = read_slots(layout_of(5), view, scores, THRESHOLDS)
    assert [r.reason for r in readings] == ["outside", "saturated", "resolution", "unsure", ""]
    assert [r.state for r in readings] == [State.UNKNOWN] * 4 + [State.STOCKED]


def test_what_is_outside_the_picture_is_not_called_blocked() -> None:
    view = view_of(frame_of(0), 2, inside=[0.2, 1.0])
    readings = read_slots(layout_of(2), view, scores_of([State.BLOCKED, State.BLOCKED]), THRESHOLDS)
    assert [(r.state, r.reason) for r in readings] == [(State.UNKNOWN, "outside"), (State.BLOCKED, "blocked")]


def test_a_picture_too_coarse_to_tell_is_not_called_blocked() -> None:
    view = view_of(frame_of(0), 1, density=[0.05])
    (reading,) = read_slots(layout_of(), view, scores_of([State.BLOCKED]), THRESHOLDS)
    assert (reading.state, reading.reason) == (State.UNKNOWN, "resolution")


def test_in_a_view_that_is_unsure_as_a_whole_only_sure_answers_stand() -> None:
    limits = msgspec.structs.replace(THRESHOLDS, view=0.8, sure=0.97)
    likely, sure, torn = (0.9, 0.08, 0.02), (0.99, 0.005, 0.005), (0.4, 0.35, 0.25)
    doubtful = [likely, sure, torn, torn]
    view = view_of(frame_of(0), 4)
    readings = read_slots(layout_of(4), view, scores_of(doubtful), limits)
    assert [r.state for r in readings] == [State.UNKNOWN, State.STOCKED, State.UNKNOWN, State.UNKNOWN]
    trusted = read_slots(layout_of(4), view, scores_of([likely, sure, sure, torn]), limits)
    assert [r.state for r in trusted] == [State.STOCKED, State.STOCKED, State.STOCKED, State.UNKNOWN]


def test_single_frames_keep_nothing() -> None:
    shelf = SingleFrames(layout_of(), THRESHOLDS)
    readings, statuses, events = shelf.observe(view_of(frame_of(0), 1), scores_of([State.EMPTY]))
    assert readings[0].state is State.EMPTY
    assert statuses == () and events == ()


@given(
    st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 4),
)
def test_an_answer_always_clears_every_limit(
    weights: list[float], blocked: float, inside: float, saturated: float, density: float
) -> None:
    p = np.asarray([weights], np.float32)
    scores = Scores(MODEL, p / p.sum(), np.asarray([blocked], np.float32), {})
    view = view_of(frame_of(0), 1, [inside], [saturated], [density])
    (reading,) = read_slots(layout_of(), view, scores, THRESHOLDS)
    if reading.state in ANSWERS:
        assert reading.reason == "" and reading.confidence >= THRESHOLDS.answer
        assert np.float32(blocked) < THRESHOLDS.blocked and np.float32(inside) >= np.float32(THRESHOLDS.inside)
    else:
        assert reading.reason
