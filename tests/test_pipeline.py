"""One frame's journey, on parts that are real but tiny."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from edge_runtime.errors import ModelFault
from edge_runtime.pipeline import Pipeline
from edge_runtime.records import (
    Event,
    Frame,
    Image,
    ModelId,
    Outcome,
    Reason,
    Scores,
    SlotReading,
    SlotStatus,
    State,
    Unusable,
    View,
)
from edge_runtime.shelf.states import ShelfTracker
from tests.shelf.scenes import MODEL, THRESHOLDS, frame_of, layout_of, scores_of, unusable, view_of


@dataclass
class Normalizing:
    """Dark frames are unusable; the slots of all others look as `look` says."""

    crops: Image = field(default_factory=lambda: np.zeros((1, 8, 8, 3), np.uint8))

    @property
    def reference_crops(self) -> Image:
        return self.crops

    def normalize(self, frame: Frame) -> View | Unusable:
        return unusable(frame, Reason.BLACK) if frame.pixels.max() == 0 else view_of(frame, 1)


@dataclass
class Answering:
    answer: State = State.STOCKED
    fault: str = ""
    asked: int = 0

    @property
    def id(self) -> ModelId:
        return MODEL

    def infer(self, view: View) -> Scores:
        self.asked += 1
        if self.fault:
            raise ModelFault(self.fault)
        return scores_of([self.answer])


@dataclass
class Listening:
    heard: list[Outcome] = field(default_factory=list)

    def observe(self, outcome: Outcome) -> None:
        self.heard.append(outcome)


def tracker() -> ShelfTracker:
    return ShelfTracker("cam", layout_of(), THRESHOLDS)


def bright(number: int) -> Frame:
    frame = frame_of(number)
    return Frame(frame.camera, number, np.full((4, 4, 3), 9, np.uint8), frame.captured_at, frame.captured_monotonic_s)


def test_a_frame_goes_all_the_way_and_every_observer_hears_of_it() -> None:
    first, second = Listening(), Listening()
    pipeline = Pipeline(Normalizing(), Answering(), tracker(), [first, second])
    outcome = pipeline.step(bright(0))
    assert outcome.readings[0].state is State.STOCKED
    assert isinstance(outcome.view, View) and outcome.scores is not None
    assert first.heard == second.heard == [outcome]
    assert {"shelf", "total"} <= outcome.ms.keys() and outcome.ms["total"] >= outcome.ms["shelf"] >= 0


def test_an_unusable_frame_never_reaches_the_model() -> None:
    model = Answering()
    outcome = Pipeline(Normalizing(), model, tracker()).step(frame_of(0))
    assert model.asked == 0 and outcome.scores is None
    assert outcome.readings[0].reason == "black"


def test_without_a_model_every_slot_is_unknown() -> None:
    outcome = Pipeline(Normalizing(), None, tracker()).step(bright(0))
    assert outcome.readings[0] == SlotReading("s0", State.UNKNOWN, 0.0, {}, "no_model")


def test_a_model_that_fails_leaves_shelf_and_observers_untouched_and_can_be_replaced() -> None:
    listener, shelf = Listening(), tracker()
    pipeline = Pipeline(Normalizing(), Answering(), shelf, [listener])
    for number in range(3):
        pipeline.step(bright(number))
    pipeline.replace(Normalizing(), Answering(fault="NaN"))
    with pytest.raises(ModelFault):
        pipeline.step(bright(3))
    assert len(listener.heard) == 3
    better = Normalizing()
    pipeline.replace(better, Answering(State.STOCKED))
    assert pipeline.normalizer is better and pipeline.model is not None and pipeline.model.id == MODEL
    outcome = pipeline.step(bright(4))
    assert outcome.statuses[0].state is State.STOCKED and outcome.events == ()


def test_a_missing_frame_goes_the_way_of_an_unusable_one() -> None:
    listener, model = Listening(), Answering()
    pipeline = Pipeline(Normalizing(), model, tracker(), [listener])
    for number in range(3):
        pipeline.step(bright(number))
    outcomes = [pipeline.miss(unusable(frame_of(number), Reason.NO_CAMERA)) for number in range(3, 8)]
    assert model.asked == 3
    assert outcomes[-1].statuses[0].reason == "no_camera"
    told: list[Event] = [event for outcome in listener.heard for event in outcome.events]
    assert [(event.kind, event.now) for event in told] == [("camera", "no_camera")]
    back: tuple[SlotStatus, ...] = ()
    for number in range(8, 11):
        back = pipeline.step(bright(number)).statuses
    assert back[0].state is State.STOCKED
