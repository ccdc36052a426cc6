"""Raw outputs to boxes: by hand for each family's own code, and against a slow, independent reading of it."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings

from edge_runtime.decoder import Cover, Decoder, Look
from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes, overlap, suppress
from edge_runtime.inference.detect.decode import decode
from tests.inference.detect.slow import iou, slow_decode, slow_rows

SIZE = (64, 32)


def decoder(family: str, classes: int = 3, **fields: Any) -> Decoder:
    made = Decoder(
        family=family,  # type: ignore[arg-type]
        classes=classes,
        products=tuple(range(classes)),
        look=Look("stretch"),
        cover=Cover(0.5),
        score=0.3,
        nms=0.5,
    )
    return msgspec.structs.replace(made, **fields)


def only(outputs: tuple[Any, ...], declared: Decoder, size: tuple[int, int] = SIZE) -> tuple[list[float], float, int]:
    """The corners, score and class of the one box that must be found."""
    found = decode(outputs, declared, size)
    assert len(found) == 1
    return found.corners[0].tolist(), float(found.scores[0]), int(found.labels[0])


def test_yolox_adds_the_grid_and_scales_by_the_stride() -> None:
    """demo_postprocess: (x + column) * stride, exp(w) * stride; 64x32 at strides 8 and 16 has 8x4 and 4x2 cells."""
    rows = np.zeros((1, 40, 8), np.float32)
    rows[0, 32 + 4 + 1] = [0.5, 0.25, np.log(2), 0.0, 0.8, 0.1, 0.9, 0.2]  # second grid, row 1, column 1
    corners, score, label = only((rows,), decoder("yolox", strides=(8, 16)))
    assert np.allclose(corners, [24 - 16, 20 - 8, 24 + 16, 20 + 8], atol=1e-4)
    assert score == pytest.approx(0.72) and label == 1


def test_yolov5_multiplies_object_and_class_and_takes_pixels() -> None:
    rows = np.zeros((1, 5, 8), np.float32)
    rows[0, 2] = [30, 16, 20, 8, 0.5, 0.0, 0.2, 1.0]
    corners, score, label = only((rows,), decoder("yolov5"))
    assert corners == [20, 12, 40, 20] and score == 0.5 and label == 2
    assert only((rows,), decoder("yolov5", scored_by="object", score=0.5))[1] == 0.5


def test_yolov8_has_no_object_score_and_comes_in_columns_or_in_rows() -> None:
    table = np.zeros((1, 7, 20), np.float32)
    table[0, :, 9] = [10, 10, 4, 6, 0.1, 0.7, 0.3]
    for output in (table, table.transpose(0, 2, 1)):
        corners, score, label = only((output,), decoder("yolov8"))
        assert np.allclose(corners, [8, 7, 12, 13]) and score == pytest.approx(0.7) and label == 1


def test_end_to_end_rows_are_corners_score_and_class() -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [1, 2, 30, 20, 0.9, 2]
    assert only((rows,), decoder("end2end", nms=1.0)) == ([1, 2, 30, 20], pytest.approx(0.9), 2)


def test_fastestdet_weighs_object_and_class_and_places_by_tanh() -> None:
    """runtime.py: score = object ** 0.6 * class ** 0.4, centre = (column + tanh) / width, side = sigmoid."""
    planes = np.full((1, 8, 4, 8), 0.0, np.float32)
    planes[0, :, 2, 5] = [0.9, np.arctanh(0.5), np.arctanh(-0.5), 0.0, -np.log(3.0), 0.2, 0.1, 0.8]
    corners, score, label = only((planes,), decoder("fastestdet"))
    middle = (5.5 / 8 * 64, 1.5 / 4 * 32)
    assert np.allclose(corners, [middle[0] - 16, middle[1] - 4, middle[0] + 16, middle[1] + 4], atol=1e-4)
    assert score == pytest.approx(0.9**0.6 * 0.8**0.4, rel=1e-5) and label == 2


def test_ssd_with_a_background_softmax_and_normalized_corners_in_rows_first() -> None:
    boxes = np.tile(np.array([0.25, 0.5, 0.75, 1.0], np.float32), (1, 6, 1))
    scores = np.tile(np.array([9.0, 0.0, 0.0, 0.0], np.float32), (1, 6, 1))
    scores[0, 3] = [0.0, 0.0, np.log(8.0), 0.0]
    declared = decoder(
        "ssd", normalized=True, corners="yxyx", background="first", activation="softmax", scores_output="s"
    )
    corners, score, label = only((boxes, scores), declared)
    assert np.allclose(corners, [32, 8, 64, 24]) and score == pytest.approx(8 / 11) and label == 1


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_ssd_with_its_own_suppression_gives_labels(batch: bool, kind: Any) -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    scores, labels = np.array([0.9, 0.2], np.float32), np.array([3, 1], kind)
    outputs = (boxes[None], scores[None], labels[None]) if batch else (boxes, scores, labels)
    declared = decoder("ssd", scores_output="s", labels_output="l", first_label=1, nms=1.0)
    assert only(outputs, declared) == ([0, 0, 10, 10], pytest.approx(0.9), 2)


def test_nothing_found_is_nothing_however_the_graph_says_so() -> None:
    declared = decoder("ssd", scores_output="s", labels_output="l")
    none = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(decode(none, declared, SIZE)) == 0
    assert len(decode((np.zeros((1, 0, 6), np.float32),), decoder("end2end"), SIZE)) == 0


def test_labels_that_are_no_class_are_passed_over() -> None:
    rows = np.zeros((1, 4, 6), np.float32)
    rows[0] = [[0, 0, 9, 9, 0.9, label] for label in (-1, 3, 1e30, -1e30)]
    assert len(decode((rows,), decoder("end2end"), SIZE)) == 0


FAULTS: list[tuple[str, Any, str]] = [
    ("yolox", np.zeros((1, 41, 8), np.float32), "rows for strides"),
    ("yolox", np.zeros((1, 40, 9), np.float32), "expected"),
    ("yolov5", np.zeros((2, 40, 8), np.float32), "expected"),
    ("yolov8", np.zeros((1, 9, 10), np.float32), "expected"),
    ("fastestdet", np.zeros((1, 9, 4, 4), np.float32), "expected"),
    ("end2end", np.zeros((6,), np.float32), "expected"),
    ("yolov5", np.full((1, 4, 8), np.nan, np.float32), "NaN"),
    ("yolov8", np.full((1, 7, 10), np.inf, np.float32), "NaN"),
    ("yolov5", np.full((1, 4, 8), 3.0, np.float32), "0 to 1 was expected"),
    ("yolov8", np.full((1, 7, 10), -2.0, np.float32), "0 to 1 was expected"),
]


@pytest.mark.parametrize(("family", "output", "told"), FAULTS)
def test_outputs_that_are_not_the_familys_are_model_faults(family: str, output: Any, told: str) -> None:
    with pytest.raises(ModelFault) as fault:
        decode((output,), decoder(family, strides=(8, 16)), SIZE)
    assert told in fault.value.found and fault.value.mend


def test_huge_sides_are_held() -> None:
    rows = np.full((1, 40, 8), 1.0, np.float32)
    rows[..., 2:4] = 3e38
    with np.errstate(all="raise"):
        found = decode((rows,), decoder("yolox", strides=(8, 16)), SIZE)
    assert (found.corners >= 0).all() and (found.corners[:, 2] <= SIZE[0]).all()


CASES: list[dict[str, Any]] = [
    {"family": "yolox", "strides": (8, 16)},
    {"family": "yolox", "strides": (4, 8), "activation": "sigmoid"},
    {"family": "yolox", "decoded": True, "scored_by": "object"},
    {"family": "yolov5"},
    {"family": "yolov5", "normalized": True, "activation": "sigmoid", "products": (2,), "voids": (0,)},
    {"family": "yolov8"},
    {"family": "yolov8", "normalized": True, "nms": 0.2, "products": (), "voids": (1,), "blockers": (0,)},
    {"family": "end2end", "nms": 1.0},
    {"family": "end2end", "corners": "centre", "first_label": 1},
    {"family": "fastestdet"},
    {"family": "fastestdet", "scored_by": "object"},
    {"family": "ssd", "scores_output": "s"},
    {"family": "ssd", "scores_output": "s", "background": "first", "activation": "softmax", "normalized": True},
    {"family": "ssd", "scores_output": "s", "background": "last", "corners": "yxyx", "activation": "sigmoid"},
    {"family": "ssd", "scores_output": "s", "labels_output": "l", "corners": "centre"},
]


def outputs_of(declared: Decoder, random: np.random.Generator) -> tuple[Any, ...]:
    """What such a model may say: boxes in and around the picture, some scores high, some alike."""
    count, c = 40, declared.classes
    if declared.family == "yolox" and not declared.decoded:
        count = sum(SIZE[0] // s * (SIZE[1] // s) for s in declared.strides)
    scale = np.ones(4) if declared.normalized else np.array([*SIZE, *SIZE])
    middles, sides = random.uniform(-0.1, 1.1, (count, 2)), random.uniform(-0.02, 0.6, (count, 2))
    boxes = np.concatenate([middles, sides], 1)
    if declared.family in ("ssd", "end2end") and declared.corners != "centre":
        boxes = np.concatenate([middles - sides / 2, middles + sides / 2], 1)
        boxes = boxes[:, [1, 0, 3, 2]] if declared.corners == "yxyx" else boxes
        scale = scale[[1, 0, 3, 2]] if declared.corners == "yxyx" else scale
    boxes = boxes * scale
    if declared.family == "yolox" and not declared.decoded:
        boxes = np.concatenate([random.uniform(-1, 2, (count, 2)), random.uniform(-1, 1.5, (count, 2))], 1)
    wide = c + (declared.background != "none")
    scores = (
        random.uniform(0, 1, (count, wide)) if declared.activation == "none" else random.normal(0, 2, (count, wide))
    )
    whole = random.uniform(0.5, 1, (count, 1)) if declared.activation == "none" else random.normal(1, 2, (count, 1))
    if declared.family == "fastestdet":
        table = np.concatenate([whole, random.normal(0, 1, (count, 4)), scores], 1)
        return (table.T.reshape(1, 5 + c, 5, 8).astype(np.float32),)
    if declared.family == "end2end":
        return (
            np.concatenate([boxes, scores[:, :1], random.integers(0, c + 1, (count, 1))], 1)[None].astype(np.float32),
        )
    if declared.labels_output:
        labels = random.integers(0, c, count)
        return boxes.astype(np.float32), scores[:, 0].astype(np.float32), labels
    if declared.family == "ssd":
        return boxes[None].astype(np.float32), scores[None].astype(np.float32)
    parts = [boxes, scores] if declared.family == "yolov8" else [boxes, whole, scores]
    table = np.concatenate(parts, 1)[None].astype(np.float32)
    return (table.transpose(0, 2, 1) if declared.family == "yolov8" else table,)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CASES), st.integers(0, 2**32 - 1))
def test_every_family_agrees_with_a_slow_reading_of_its_code(case: dict[str, Any], seed: int) -> None:
    declared = decoder(**case)
    outputs = outputs_of(declared, np.random.default_rng(seed))
    wanted = slow_decode(outputs, declared, SIZE)
    raw = slow_rows(outputs, declared, SIZE)
    assume(all(abs(row[4] - declared.score) > 1e-5 for row in raw))
    scores = sorted(row[4] for row in raw)
    assume(all(b - a > 1e-6 for a, b in itertools.pairwise(scores)))
    found = decode(outputs, declared, SIZE)
    assert len(found) == len(wanted)
    assert found.labels.tolist() == [row[5] for row in wanted]
    assert np.allclose(found.scores, [row[4] for row in wanted], atol=1e-5)
    assert np.allclose(found.corners, np.array([row[:4] for row in wanted]).reshape(-1, 4), atol=2e-3)


boxes_strategy = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(1, 9),
        st.integers(0, 1),
    ),
    max_size=25,
)


def boxes_of(rows: list[tuple[int, ...]]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1)
    return Boxes(corners, table[:, 4] / 10, table[:, 5].astype(np.intp))


@settings(max_examples=200, deadline=None)
@given(boxes_strategy, st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_suppression_leaves_no_pair_alike_and_drops_none_without_a_better_one(rows: list[Any], limit: float) -> None:
    boxes = boxes_of(rows)
    kept = suppress(boxes, limit, 100)
    table = [(*c, s, int(k)) for c, s, k in zip(kept.corners.tolist(), kept.scores.tolist(), kept.labels, strict=True)]
    for place, one in enumerate(table):
        assert all(other[5] != one[5] or iou(other, one) <= limit + 1e-9 for other in table[:place])
    assert (np.diff(kept.scores) <= 0).all()
    for c, s, k in zip(boxes.corners.tolist(), boxes.scores.tolist(), boxes.labels, strict=True):
        one = (*c, s, int(k))
        assert one in table or any(o[5] == one[5] and o[4] >= one[4] and iou(o, one) > limit - 1e-9 for o in table)


def test_of_too_many_boxes_the_best_stay() -> None:
    boxes = boxes_of([(20 * k, 0, 5, 5, 1 + k % 9, 0) for k in range(60)])
    assert len(suppress(boxes, 0.5, 7)) == 7 and suppress(boxes, 1.0, 7).scores.min() > 0.75
    rows = np.zeros((1, 60, 6), np.float32)
    rows[0] = [[20 * k, 0, 20 * k + 5, 5, 0.31 + 0.01 * k, 0] for k in range(60)]
    assert len(decode((rows,), decoder("end2end", max_candidates=9), (2000, 32))) == 9
    assert len(decode((rows,), decoder("end2end", max_boxes=4), (2000, 32))) == 4


def test_overlap_of_boxes_without_area_is_none() -> None:
    assert overlap(np.zeros(4), np.zeros((2, 4))).tolist() == [0.0, 0.0]
