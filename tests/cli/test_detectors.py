"""A detector from its graph to slots, by the command line alone: packed, shown, proven, run on photographs and recordings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.lifecycle.bundle import read_manifest
from tests.inference.detect import graphs
from tests.workshop.test_detect_fit import dataset

from .conftest import SIZE, Run, Site, shelf

DESCRIPTION = """
format = "detector/1"
name = "dark-and-bright"
version = "1.0.0"
description = "finds dark and bright cells"
licence = "Apache-2.0"
output = "boxes"

[input]
name = "picture"
size = [64, 64]
colour = "BGR"
std = [255.0, 255.0, 255.0]

[decoder]
family = "yolov8"
classes = 2
products = [1]
voids = [0]
score = 0.6
cover = { stocked = 0.5, empty = 0.5 }
look = { fit = "stretch" }
"""


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.bundle(tmp_path_factory.mktemp("detector") / "dark-and-bright-1.0.0.zip", "yolov8")


def test_a_void_box_is_an_empty_slot_and_what_no_box_covers_is_unknown(run: Run, site: Site, detector: Path) -> None:
    ran = run("infer", "--layout", site.layout, site.full, site.gap, "--model", detector, "--json")
    assert ran.code == 0, ran.err
    full, gap = ({slot["id"]: slot["state"] for slot in line["slots"]} for line in ran.lines)
    assert set(full.values()) == {"unknown"}
    assert gap == {**full, "r0s1": "empty"}
    assert ran.lines[0]["model"]["name"] == "dark-and-bright"


def test_a_product_box_is_stock(run: Run, site: Site, detector: Path, tmp_path: Path) -> None:
    picture = shelf()
    picture[380:650, 340:610] = 220
    cv2.imwrite(str(tmp_path / "bright.png"), picture)
    (line,) = run("infer", "--layout", site.layout, tmp_path / "bright.png", "--model", detector, "--json").lines
    assert {slot["id"]: slot["state"] for slot in line["slots"]}["r1s1"] == "stocked"


def test_raw_and_normalized_agree_where_nothing_moved(run: Run, site: Site, detector: Path) -> None:
    ran = run("infer", "--layout", site.layout, site.gap, "--model", detector, "--json", "--no-normalize")
    assert {slot["state"] for slot in ran.lines[0]["slots"] if slot["id"] == "r0s1"} == {"empty"}


def test_a_camera_that_moved_is_followed(run: Run, site: Site, detector: Path, tmp_path: Path) -> None:
    """60 pixels to the side: raw, the gap lies half in the next slot."""
    move = np.array([[1.0, 0.0, -60.0], [0.0, 1.0, 25.0]])
    moved = cv2.warpAffine(shelf(("r0s1",)), move, SIZE, borderMode=cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "moved.png"), moved)
    (line,) = run("infer", "--layout", site.layout, tmp_path / "moved.png", "--model", detector, "--json").lines
    assert [slot["id"] for slot in line["slots"] if slot["state"] == "empty"] == ["r0s1"]


@pytest.mark.parametrize("family", graphs.FAMILIES)
def test_every_family_answers_alike(run: Run, site: Site, tmp_path: Path, family: str) -> None:
    bundle = graphs.bundle(tmp_path / "dark-and-bright-1.0.0.zip", family)
    (line,) = run("infer", "--layout", site.layout, site.gap, "--model", bundle, "--json").lines
    assert [slot["id"] for slot in line["slots"] if slot["state"] == "empty"] == ["r0s1"]


def test_a_detector_is_listed_shown_and_verified_as_any_model(run: Run, detector: Path) -> None:
    assert run("model", "verify", detector).code == 0
    assert "detect" in run("model", "show", detector).out


def test_a_recording_gives_events(run: Run, site: Site, detector: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for number in range(14):
        picture = shelf(("r0s1",)).astype(int)
        if number < 5:
            picture[40:330, 330:620] = 220  # in stock
        seen = np.clip(picture + random.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), seen)
    ran = run("replay", tmp_path, "--layout", site.layout, "--model", detector, "--interval", "60", "--json")
    assert ran.code == 0, ran.err
    told = [(event["slot"], event["from"], event["to"]) for event in ran.lines[:-1]]
    assert told == [("r0s1", "stocked", "empty")]


def test_the_bench_times_a_detector(run: Run, site: Site, detector: Path) -> None:
    ran = run("bench", "--model", detector, "--layout", site.layout, "--rounds", "3", "--json")
    assert ran.code == 0, ran.err


def test_a_description_and_a_graph_are_packed(run: Run, site: Site, tmp_path: Path) -> None:
    model, description = tmp_path / "model.onnx", tmp_path / "detector.toml"
    model.write_bytes(graphs.model_bytes("yolov8"))
    description.write_text(DESCRIPTION)
    words = ("build", "pack", model, "--detector", description, "--samples", site.full.parent, "--out", tmp_path)
    made = run(*words)
    assert made.code == 0, made.err
    bundle = tmp_path / "dark-and-bright-1.0.0.zip"
    (line,) = run("infer", "--layout", site.layout, site.gap, "--model", bundle, "--json").lines
    assert [slot["id"] for slot in line["slots"] if slot["state"] == "empty"] == ["r0s1"]
    first = bundle.read_bytes()
    assert run(*words, "--force").code == 0 and bundle.read_bytes() == first


def exported(run: Run, site: Site, folder: Path, scale: str) -> tuple[object, ...]:
    """A detector through `build export`, and the words that pack it by DESCRIPTION."""
    (folder / "raw.onnx").write_bytes(graphs.model_bytes("yolov8"))
    (folder / "detector.toml").write_text(DESCRIPTION + '\n[card]\nlimits = "Dark and bright alone."\n')
    how = ("--task", "detect", "--colour", "BGR", "--preprocess", scale)
    made = run("build", "export", folder / "raw.onnx", *how, "--out", folder / "model.onnx")
    assert made.code == 0, made.err
    words = ("build", "pack", folder / "model.onnx", "--detector", folder / "detector.toml")
    return (*words, "--samples", site.full.parent, "--out", folder)


def test_what_exporting_said_is_carried_into_the_bundle(run: Run, site: Site, tmp_path: Path) -> None:
    words = exported(run, site, tmp_path, "unit")
    assert run(*words).code == 0
    manifest = read_manifest(tmp_path / "dark-and-bright-1.0.0.zip")
    assert manifest.receipt["export_agreement"] == 1.0
    assert "source_sha256" in manifest.provenance
    assert manifest.card["limits"] == "Dark and bright alone."
    assert "boxes found" in manifest.card["how_measured"]


def test_a_description_that_contradicts_the_export_is_refused(run: Run, site: Site, tmp_path: Path) -> None:
    ran = run(*exported(run, site, tmp_path, "none"))
    assert ran.code == 1
    assert "std (1.0, 1.0, 1.0) (the description: (255.0, 255.0, 255.0))" in ran.err
    assert not list(tmp_path.glob("*.zip"))


def test_a_folder_that_is_not_there_is_told(run: Run, site: Site, tmp_path: Path) -> None:
    words = exported(run, site, tmp_path, "unit")
    ran = run("build", "quantize", *words[2:5], "--calibration", tmp_path / "nowhere")
    assert (ran.code, "nowhere is not a folder" in ran.err) == (69, True), ran.err
    (tmp_path / "bare").mkdir()
    ran = run("build", "quantize", *words[2:5], "--calibration", tmp_path / "bare")
    assert (ran.code, "holds no picture" in ran.err) == (1, True), ran.err


def test_confidence_is_fitted_to_labelled_shelves(run: Run, site: Site, tmp_path: Path) -> None:
    model, description = tmp_path / "model.onnx", tmp_path / "detector.toml"
    model.write_bytes(graphs.model_bytes("yolov8"))
    description.write_text(DESCRIPTION)
    field = dataset(tmp_path / "field", 10)
    words = ("build", "pack", model, "--detector", description, "--samples", site.full.parent, "--out", tmp_path)
    made = run(*words, "--field", field)
    assert made.code == 0, made.err
    manifest = read_manifest(tmp_path / "dark-and-bright-1.0.0.zip")
    assert manifest.confidence.base < 0 and "120 labelled slots" in manifest.card["how_measured"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('family = "yolov8"', 'family = "yolov9"', "yolov9"),
        ('family = "yolov8"', 'family = "yolov5"', "[1, any, 7] was expected"),
        ("classes = 2", "classes = 1", "the model has 1"),
        ("std = [255.0, 255.0, 255.0]", "std = [1.0, 1.0, 1.0]", ""),
        ("std = [255.0, 255.0, 255.0]", "std = [nan, 255.0, 255.0]", "input.std (nan, 255.0, 255.0); numbers"),
        ("std = [255.0, 255.0, 255.0]", "std = [0.0, 255.0, 255.0]", "those of std above zero"),
        ('name = "picture"', 'name = "image"', "picture"),
        ('format = "detector/1"', "", "format"),
    ],
)
def test_a_description_that_does_not_fit_is_told_when_packing(
    run: Run, site: Site, tmp_path: Path, old: str, new: str, told: str
) -> None:
    model, description = tmp_path / "model.onnx", tmp_path / "detector.toml"
    model.write_bytes(graphs.model_bytes("yolov8"))
    description.write_text(DESCRIPTION.replace(old, new))
    ran = run("build", "pack", model, "--detector", description, "--samples", site.full.parent, "--out", tmp_path)
    if told:
        wrong_file = told in ("yolov9", "format") or "input.std" in told or "std above" in told
        assert ran.code == (78 if wrong_file else 1) and told in ran.err
    else:  # another scale is no fault that a graph tells; its boxes are
        assert ran.code == 0
