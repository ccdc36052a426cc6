"""A description and a graph made ready to be packed; what is wrong with them is told before anything is shipped."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import BadConfig, ModelFault, Refused, Unavailable
from edge_runtime.layout import write_layout
from edge_runtime.records import CanvasSpec, Slot
from edge_runtime.workshop.detect import prepare_detector, read_description, sample_canvases
from tests.inference.detect.graphs import SIDE, checkered, manifest_of, model_bytes

DESCRIPTIONS = Path(__file__).resolve().parents[2] / "models" / "detectors"


def test_what_is_prepared_is_proven() -> None:
    canvases = np.stack([checkered()] * 9)
    made = prepare_detector(model_bytes("yolov8"), manifest_of("yolov8"), canvases, 0.02)
    assert made.found == 128 * 6 and made.agreement == 1.0
    assert prepare_detector(model_bytes("yolov8"), manifest_of("yolov8"), canvases, 0.02).golden == made.golden


def test_a_detector_that_finds_nothing_proves_nothing() -> None:
    with pytest.raises(Refused, match="found nothing"):
        prepare_detector(model_bytes(), manifest_of(), np.full((2, SIDE, SIDE, 3), 128, np.uint8), 0.02)


def test_a_detector_that_does_not_fit_is_a_model_fault() -> None:
    with pytest.raises(ModelFault):
        prepare_detector(model_bytes("yolov5"), manifest_of("yolov8"), checkered()[None], 0.02)


@pytest.mark.parametrize("text", ["", "format = 1", "[[", "\x00", 'format = "detector/2"'])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "detector.toml"
    path.write_text(text)
    with pytest.raises(BadConfig, match="not a detector description"):
        read_description(path)
    with pytest.raises(Unavailable):
        read_description(tmp_path / "absent.toml")


def test_a_family_that_is_none_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "detector.toml"
    path.write_text((DESCRIPTIONS / "yolox-nano.toml").read_text().replace('family = "yolox"', 'family = "yolov12"'))
    with pytest.raises(BadConfig, match=r"yolov12.*families are yolox, .*fastestdet"):
        read_description(path)


def test_samples_are_photographs_or_a_cameras_frames(tmp_path: Path) -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 40:60] = 200
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), picture)
    whole = CanvasSpec((40, 40), letterbox=True)
    assert sample_canvases(whole, [path, path]).shape == (2, 40, 40, 3)
    slots = (Slot("a", "sku", ((39.5, 19.5), (59.5, 19.5), (59.5, 39.5), (39.5, 39.5))),)
    cv2.imwrite(str(tmp_path / "reference.png"), picture)
    write_layout(tmp_path / "layout.json", "reference.png", (80, 60), slots)
    (canvas,) = sample_canvases(CanvasSpec((40, 40), slots_only=True), [path], tmp_path / "layout.json")
    assert (canvas[2:-2, 2:-2] == 200).all()
    with pytest.raises(Refused, match="layout"):
        sample_canvases(CanvasSpec((40, 40), slots_only=True), [path])
    with pytest.raises(Refused, match="no sample picture"):
        sample_canvases(whole, [])


def test_descriptions_that_ship_are_readable() -> None:
    assert {read_description(path).decoder.family for path in DESCRIPTIONS.glob("*.toml")} == {"yolox", "fastestdet"}
