"""Boxes to slots: what covers a slot speaks for it, as surely as it is itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from edge_runtime.decoder import Cover
from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes
from edge_runtime.inference.detect.cover import SlotCover
from edge_runtime.inference.detect.detector import Detector
from edge_runtime.records import (
    ANSWERS,
    Canvas,
    Frame,
    Layout,
    Light,
    Registration,
    RegistrationStatus,
    Slot,
    SlotQuality,
    State,
    View,
)
from tests.inference.detect.graphs import SIDE, checkered, decoder_of, manifest_of, opened

VOID, PRODUCT, PERSON = 0, 1, 2
SAME = np.array([[0.0, 0.0, 1.0, 1.0]])


def layout_of(*quads: tuple[float, float, float, float]) -> Layout:
    """Slots of left, top, right, bottom in a 100 x 100 reference."""
    slots = tuple(
        Slot(str(k), "sku", ((x0, y0), (x1, y0), (x1, y1), (x0, y1))) for k, (x0, y0, x1, y1) in enumerate(quads)
    )
    return Layout(Path("layout.json"), Path("reference.jpg"), (100, 100), slots)


def said(boxes: list[tuple[float, float, float, float, float, int]], layout: Layout, **fields: Any) -> Any:
    table = np.array(boxes, np.float32).reshape(-1, 6)
    found = Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.intp))
    return SlotCover(layout, decoder_of("yolov8", **fields)).probabilities([found], SAME)


ONE = layout_of((9.5, 9.5, 49.5, 49.5))


def test_a_product_over_a_slot_is_stock_and_a_void_is_none() -> None:
    assert said([(10, 10, 50, 50, 0.9, PRODUCT)], ONE)[0].argmax() == 0
    assert said([(10, 10, 50, 50, 0.9, VOID)], ONE)[0].argmax() == 2
    row = said([(10, 10, 50, 50, 0.9, PRODUCT)], ONE)[0]
    assert row[0] == pytest.approx(0.9 + 0.1 / 3, abs=1e-3) and row.sum() == pytest.approx(1.0)


def test_nothing_is_what_the_decoder_says() -> None:
    assert np.allclose(said([], ONE)[0], 1 / 3)
    assert np.allclose(said([], ONE, nothing="empty", absence=0.8)[0], [0.1, 0.1, 0.8])
    elsewhere = [(60.0, 60.0, 90.0, 90.0, 0.9, PRODUCT)]
    assert np.allclose(said(elsewhere, ONE, nothing="empty", absence=0.8), said([], ONE, nothing="empty", absence=0.8))


def test_cover_is_of_the_union_and_counts_from_the_declared_share() -> None:
    half = said([(10, 10, 30, 50, 0.9, PRODUCT)], ONE)[0]
    quarter = said([(10, 10, 20, 50, 0.9, PRODUCT)], ONE)[0]
    thrice = said([(10, 10, 20, 50, 0.9, PRODUCT)] * 3, ONE)[0]
    two = said([(10, 10, 20, 50, 0.9, PRODUCT), (40, 10, 50, 50, 0.9, PRODUCT)], ONE)[0]
    assert half[0] > 0.9 and quarter[0] < 0.7
    assert np.allclose(thrice, quarter) and np.allclose(two, half)


def test_partial_stock_is_low_only_where_that_is_declared() -> None:
    box = [(10.0, 10.0, 22.0, 50.0, 0.9, PRODUCT)]
    assert said(box, ONE)[0].argmax() == 0
    cover = Cover(stocked=0.8, low=0.3)
    assert said(box, ONE, cover=cover)[0].argmax() == 1
    assert said([(10, 10, 50, 50, 0.9, PRODUCT)], ONE, cover=cover)[0].argmax() == 0


def test_stock_and_void_on_the_same_slot_weigh_against_each_other() -> None:
    both = said([(10, 10, 50, 50, 0.9, PRODUCT), (10, 10, 50, 50, 0.6, VOID)], ONE)[0]
    assert 0.5 < both[0] < 0.9 and both[2] > 0.05
    even = said([(10, 10, 50, 50, 0.8, PRODUCT), (10, 10, 50, 50, 0.8, VOID)], ONE)[0]
    assert even[0] == pytest.approx(even[2], abs=1e-3)


def test_certainties_that_contradict_each_other_are_still_a_probability() -> None:
    row = said([(10, 10, 50, 50, 1.0, PRODUCT), (10, 10, 50, 50, 1.0, VOID)], ONE)[0]
    assert np.isfinite(row).all() and row.sum() == pytest.approx(1.0, abs=1e-5)


def test_somebody_in_front_is_blocked_however_large() -> None:
    fields: dict[str, Any] = {"classes": 3, "blockers": (PERSON,)}
    row = said([(0, 0, 100, 100, 0.9, PERSON)], ONE, **fields)[0]
    assert row.shape == (4,) and row[3] == pytest.approx(0.9, abs=1e-3) and row.sum() == pytest.approx(1.0, abs=1e-5)
    assert said([(0, 0, 12, 100, 0.9, PERSON)], ONE, **fields)[0, 3] < 0.3


def test_a_box_over_the_whole_shelf_is_no_facing() -> None:
    shelf = layout_of(*((x - 0.5, 9.5, x + 9.5, 29.5) for x in range(0, 100, 10)))
    assert np.allclose(said([(0, 0, 100, 40, 0.9, PRODUCT)], shelf), 1 / 3)
    assert said([(0, 0, 100, 40, 0.9, PRODUCT)], shelf, largest=100.0)[:, 0].min() > 0.8


def test_tiles_are_put_where_they_lie() -> None:
    """The right half of the reference, shown at twice its size."""
    found = Boxes(np.array([[20, 20, 60, 60]], np.float32), np.array([0.9], np.float32), np.array([PRODUCT], np.intp))
    none = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))
    places = np.array([[0.0, 0.0, 0.5, 0.5], [50.0, 0.0, 0.5, 0.5]])
    layout = layout_of((59.5, 9.5, 79.5, 29.5), (9.5, 9.5, 29.5, 29.5))
    rows = SlotCover(layout, decoder_of("yolov8")).probabilities([none, found], places)
    assert rows[0, 0] > 0.9 and np.allclose(rows[1], 1 / 3)


coordinate = st.floats(-20, 120, width=32)
box = st.tuples(coordinate, coordinate, coordinate, coordinate, st.floats(0.125, 1, width=32), st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(st.lists(box, max_size=40), st.sampled_from(["empty", "unknown"]), st.sampled_from([0.0, 0.2]))
def test_any_boxes_give_probabilities(rows: list[Any], nothing: str, low: float) -> None:
    shelf = layout_of((9.5, 9.5, 49.5, 49.5), (50, 10, 90, 40), (0, 0, 100, 100))
    cover = Cover(stocked=0.5, low=low)
    answer = said(rows, shelf, classes=3, blockers=(PERSON,), nothing=nothing, cover=cover)
    assert answer.shape == (3, 4) and (answer >= 0).all() and np.allclose(answer.sum(1), 1.0, atol=1e-4)


def view_of(canvas: Any, slots: int) -> View:
    ones = np.ones(slots, np.float32)
    pixels = np.zeros((4, 4, 3), np.uint8)
    return View(
        frame=Frame("cam", 0, pixels, 0.0, 0.0),
        registration=Registration(RegistrationStatus.OFF, None),
        light=Light(False),
        crops=np.zeros((slots, 4, 4, 3), np.uint8),
        quality=SlotQuality(ones, 0 * ones, ones),
        sharpness=1.0,
        noise=0.0,
        ms={},
        canvas=Canvas(canvas, np.array([[0.0, 0.0, 100 / SIDE, 100 / SIDE]])) if canvas is not None else None,
    )


@pytest.mark.parametrize("family", ["yolox", "yolov8", "fastestdet", "ssd", "ssd-labels", "end2end", "yolov5"])
def test_a_view_in_scores_out(family: str) -> None:
    """The canvas is dark at its upper left and bright at its lower right."""
    shelf = layout_of((5, 5, 40, 40), (60, 60, 95, 95), (60, 5, 95, 40))
    detector = Detector(opened(family), manifest_of(family), "ab" * 32, shelf)
    scores = detector.infer(view_of(checkered()[None], 3))
    best = [ANSWERS[column] for column in scores.probabilities.argmax(1)]
    assert best[:2] == [State.EMPTY, State.STOCKED]
    assert np.allclose(scores.probabilities[2], 1 / 3, atol=1e-5) and not scores.blocked.any()
    assert scores.model.sha256 == "ab" * 32 and scores.ms["infer"] > 0


def test_a_detector_that_fails_raises_for_the_guard_and_a_view_without_canvas_is_a_mistake() -> None:
    detector = Detector(opened("yolox", "nan"), manifest_of("yolox"), "ab" * 32, ONE)
    with pytest.raises(ModelFault):
        detector.infer(view_of(checkered()[None], 1))
    with pytest.raises(ValueError, match="canvas"):
        detector.infer(view_of(None, 1))
