"""A real graph of every family: opened, believed only if it fits, and its golden set tells it from another."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes
from edge_runtime.inference.detect.golden import DetectProbe, check_detect_golden, compare_boxes, golden_of
from edge_runtime.inference.session import open_session
from edge_runtime.manifest import OutputSpec
from tests.inference.detect.graphs import CELL, FAMILIES, SIDE, checkered, manifest_of, model_bytes, opened
from tests.lifecycle import bundles


def golden_for(family: str, **more: Any) -> dict[str, Any]:
    flat = np.full_like(checkered(), 128)
    return {
        **golden_of(opened(family), np.stack([checkered(), flat])),
        "tolerance": np.asarray(0.01, np.float32),
        **more,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_finds_the_same_cells(family: str) -> None:
    found = opened(family).boxes(checkered())
    assert len(found) == 2 * (SIDE // 2 // CELL) ** 2 and (found.scores > 0.9).all()
    half = SIDE / 2
    for label, low in ((0, 0.0), (1, half)):
        corners = found.corners[found.labels == label]
        assert np.allclose(corners.min(0)[:2], low, atol=1e-3) and np.allclose(
            corners.max(0)[2:], low + half, atol=1e-3
        )
        assert np.allclose(corners[:, 2:] - corners[:, :2], CELL, atol=1e-3)


def test_run_gives_boxes_filled_up_with_zeros() -> None:
    session = opened("yolov8", max_boxes=200)
    answer = session.run(np.stack([checkered(), np.full_like(checkered(), 128)]))
    assert answer.shape == (2, 200, 6) and (answer[0, :128, 4] > 0.9).all() and not answer[0, 128:].any()
    assert not answer[1].any() and not session.takes_reference
    with pytest.raises(ValueError, match="reference"):
        session.run(checkered()[None], checkered()[None])


@pytest.mark.parametrize(
    ("family", "declared", "told"),
    [
        ("yolox", "yolov8", "[1, 6, any] was expected"),
        ("yolox", "ssd", "scores"),
        ("ssd", "yolov5", "[1, any, 7] was expected"),
        ("fastestdet", "yolox", "was expected"),
        ("yolov8", "end2end", "was expected"),
        ("ssd-labels", "ssd", "was expected"),
    ],
)
def test_a_graph_of_another_family_is_a_model_fault(family: str, declared: str, told: str) -> None:
    with pytest.raises(ModelFault) as fault:
        open_session(model_bytes(family), manifest_of(declared))
    assert told in fault.value.found and fault.value.mend


def test_inputs_and_grids_that_differ_are_model_faults() -> None:
    manifest = manifest_of("yolox")
    for change in ({"size": (128, 64)}, {"current": "image"}, {"dtype": "uint8"}, {"layout": "NHWC"}):
        other = msgspec.structs.replace(manifest, input=msgspec.structs.replace(manifest.input, **change))
        with pytest.raises(ModelFault):
            open_session(model_bytes("yolox"), other)
    with pytest.raises(ModelFault, match=r"\[1, 64, 7\] was expected"):
        open_session(model_bytes("yolox"), manifest_of("yolox", strides=(8,)))
    elsewhere = msgspec.structs.replace(manifest, output=OutputSpec("other", "probabilities", manifest.output.labels))
    with pytest.raises(ModelFault, match="other"):
        open_session(model_bytes("yolox"), elsewhere)


@pytest.mark.parametrize(("behaviour", "told"), [("nan", "NaN"), ("logits", "0 to 1 was expected")])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_that_make_no_sense_are_model_faults(family: str, behaviour: str, told: str) -> None:
    if (family, behaviour) == ("ssd-labels", "nan"):  # suppresses by itself, and so leaves NaN out
        assert len(opened(family, behaviour).boxes(checkered())) == 0
        return
    with pytest.raises(ModelFault, match=told):
        opened(family, behaviour).boxes(checkered())


def test_declared_activation_makes_logits_scores() -> None:
    plain, raw = (
        opened("yolov8").boxes(checkered()),
        opened("yolov8", "logits", activation="sigmoid").boxes(checkered()),
    )
    assert compare_boxes(plain, raw, 0.6) == (pytest.approx(0.0, abs=1e-5), len(plain))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_golden_set_knows_its_own_model_and_no_other(family: str) -> None:
    golden, manifest = golden_for(family), manifest_of(family)
    own = check_detect_golden(opened(family), manifest, golden)
    assert own.max_error < 1e-5 and own.agreement == 1.0 and own.count == 2 and own.tolerance == pytest.approx(0.01)
    if family == "ssd-labels":  # as many boxes as it finds: no place in the output means anything
        assert not any(name.startswith("picks") for name in golden)
    else:
        assert golden["values_0"].shape == (2, len(golden["picks_0"]))
    if family in ("yolox", "yolov5", "fastestdet", "yolov8"):
        off = check_detect_golden(opened(family, "off"), manifest, golden)
        assert off.max_error > off.tolerance


def test_a_golden_set_without_boxes_still_tells_a_silent_model() -> None:
    flat = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    golden = {**golden_of(opened("yolov8"), flat), "tolerance": np.asarray(0.01)}
    assert len(golden["boxes"]) == 0
    assert check_detect_golden(opened("yolov8"), manifest_of("yolov8"), golden).max_error < 1e-5
    assert check_detect_golden(opened("yolov8", "off"), manifest_of("yolov8"), golden).max_error > 0.01


BROKEN: list[dict[str, Any]] = [
    {"canvas": np.zeros((1, 8, 8, 3), np.uint8)},
    {"canvas": np.zeros((0, SIDE, SIDE, 3), np.uint8)},
    {"canvas": np.zeros((1, SIDE, SIDE, 3), np.float32)},
    {"boxes": np.zeros((3, 6), np.float32)},
    {"boxes": np.full((3, 7), np.nan, np.float32)},
    {"boxes": np.zeros((2000, 7), np.float32)},
    {"tolerance": np.zeros(2)},
    {"tolerance": np.asarray(-1.0)},
    {"tolerance": np.asarray(np.nan)},
    {"picks_0": np.array([10**9])},
    {"values_0": np.zeros((2, 3), np.float32)},
    {"values_0": np.zeros(3, np.float32)},
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_malformed_golden_set_is_a_model_fault(change: dict[str, Any]) -> None:
    with pytest.raises(ModelFault):
        check_detect_golden(opened(), manifest_of(), golden_for("yolox", **change))


@pytest.mark.parametrize("name", ["canvas", "boxes", "tolerance"])
def test_a_golden_set_that_lacks_a_member_is_a_model_fault(name: str) -> None:
    golden = golden_for("yolox")
    del golden[name]
    with pytest.raises(ModelFault, match=name):
        check_detect_golden(opened(), manifest_of(), golden)


def test_a_golden_set_that_any_model_passes_is_a_model_fault() -> None:
    golden = {name: value for name, value in golden_for("yolox").items() if name in ("canvas", "tolerance")}
    with pytest.raises(ModelFault, match="any model"):
        check_detect_golden(opened(), manifest_of(), golden | {"boxes": np.zeros((0, 7), np.float32)})


def test_a_float_file_has_answers_of_its_own() -> None:
    golden = golden_for("yolox")
    own = {"boxes_fp32": golden["boxes"], "values_fp32_0": golden["values_0"], "tolerance_fp32": np.asarray(0.5)}
    assert check_detect_golden(opened(), manifest_of(), golden | own, floating=True).tolerance == 0.5
    with pytest.raises(ModelFault, match="boxes_fp32"):
        check_detect_golden(opened(), manifest_of(), golden, floating=True)


def test_the_probe_runs_a_whole_view() -> None:
    probe = DetectProbe(opened(), manifest_of(), golden_for("yolox"))
    probe.run_once()
    assert probe.compare().agreement == 1.0


def test_a_classifier_has_no_such_golden_set() -> None:
    session = open_session(bundles.model_bytes(), bundles.manifest_of())
    with pytest.raises(ModelFault, match="no detector"):
        check_detect_golden(session, bundles.manifest_of(), golden_for("yolox"))


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.intp))


def test_boxes_that_only_one_has_count_by_how_sure_they_are() -> None:
    packed = boxes((0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.35, 1))
    assert compare_boxes(packed, packed, 0.3) == (0.0, 2)
    error, again = compare_boxes(packed, boxes((0, 0, 10, 10, 0.8, 0)), 0.3)
    assert error == pytest.approx(0.1, abs=1e-6) and again == 1
    error, again = compare_boxes(packed, boxes((0, 0, 10, 10, 0.9, 1)), 0.3)
    assert error == pytest.approx(0.6, abs=1e-6) and again == 0
    assert compare_boxes(boxes(), packed, 0.3)[0] == pytest.approx(0.6, abs=1e-6)
