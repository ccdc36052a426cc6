from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from edge_runtime.records import (
    ANSWERS,
    Frame,
    Layout,
    Light,
    Outcome,
    Quad,
    Reason,
    Registration,
    Slot,
    SlotQuality,
    SlotReading,
    State,
    Unusable,
    View,
)
from edge_runtime.records import RegistrationStatus as Status
from edge_runtime.workshop.field_bench.pictures import (
    HARMED_SHOWN,
    choose_frames,
    count_mistakes,
    mistakes,
    raw_verdicts,
    view_verdicts,
)
from edge_runtime.workshop.field_bench.table import Comparison, harmed, rows_of
from edge_runtime.workshop.field_bench.verdicts import Said, Truths

from .verdict_sets import benches

SIZE = (320, 240)
LEFT: Quad = ((20, 40), (140, 40), (140, 200), (20, 200))
RIGHT: Quad = ((160, 40), (300, 40), (300, 200), (160, 200))
LAYOUT = Layout(
    path=None,
    reference=None,
    image_size=SIZE,
    slots=(Slot("a", "x", LEFT), Slot("b", "y", RIGHT)),  # type: ignore[arg-type]
)


@settings(max_examples=40, deadline=None)
@given(benches())
def test_harm_is_shown_first_and_no_condition_twice(bench: tuple[Truths, Said, Said]) -> None:
    comparison = Comparison(*bench, resamples=1)
    rows = [row for row in rows_of(comparison) if row.frames]
    chosen = choose_frames(comparison, rows)
    keys = [one.row.key for one in chosen]
    assert len(set(keys)) == len(keys)
    worse = [row.key for row in rows if harmed(row)][:HARMED_SHOWN]
    assert keys[: len(worse)] == worse
    for one in chosen:
        cells = comparison.truths.cell[comparison.truths.frame == one.frame]
        assert {comparison.truths.cells[cell] for cell in cells} == {one.row.key}


@settings(max_examples=40, deadline=None)
@given(benches())
def test_errors_are_the_wrong_answers_the_most_confident_first(bench: tuple[Truths, Said, Said]) -> None:
    comparison = Comparison(*bench, resamples=1)
    shown = mistakes(comparison, 7)
    assert len(shown) == min(7, count_mistakes(comparison))
    assert all(one.said != one.truth and one.said < 3 and one.truth < 3 for one in shown)
    sure = [one.confidence for one in shown]
    assert sure == sorted(sure, reverse=True)


def _outcome(usable: bool) -> Outcome:
    pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    frame = Frame("camera", 0, pixels, 0.0, 0.0)
    registration = Registration(Status.OK if usable else Status.REFUSED, np.eye(3) if usable else None)
    readings = tuple(SlotReading(slot.id, State.LOW if usable else State.UNKNOWN, 0.9, {}) for slot in LAYOUT.slots)
    view: View | Unusable = Unusable(frame, Reason.WRONG_SCENE, "", registration, Light(False), {})
    if usable:
        crops = np.zeros((2, 64, 64, 3), np.uint8)
        crops[0, :, :, 2] = 250
        ones = np.ones(2, np.float32)
        view = View(frame, registration, Light(False), crops, SlotQuality(ones, 0 * ones, ones), 1.0, 0.0, {})
    return Outcome(frame, view, None, readings, (), (), {})


def test_a_wrong_answer_is_crossed_and_a_right_one_is_not() -> None:
    right = dict.fromkeys(("a", "b"), str(State.LOW))
    plain = raw_verdicts(_outcome(True), LAYOUT, right)
    crossed = raw_verdicts(_outcome(True), LAYOUT, right | {"b": str(ANSWERS[0])})
    changed = np.flatnonzero((plain != crossed).any((0, 2)))
    assert changed.min() > plain.shape[1] / 2, "only in the right slot"
    blocked = raw_verdicts(_outcome(True), LAYOUT, right | {"b": str(State.BLOCKED)})
    assert (blocked == plain).all(), "what is really blocked is not scored"


def test_the_normalized_pane_shows_the_crops_that_were_fed_where_their_slots_are() -> None:
    shown = view_verdicts(_outcome(True), LAYOUT, 0.1, {})
    assert shown is not None
    scale = shown.shape[1] / SIZE[0]
    left, right = (shown[int(150 * scale), int(x * scale)].astype(int) for x in (80, 230))
    assert left[2] > right[2] + 100, "the first crop is red"
    assert view_verdicts(_outcome(False), LAYOUT, 0.1, {}) is None
