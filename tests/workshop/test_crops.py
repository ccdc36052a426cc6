from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet, join_crops, load_crops
from edge_runtime.workshop.cutting import cut_dataset, load_dataset, partly_placed, raw
from edge_runtime.workshop.field import dataset_digest, read_field
from edge_runtime.workshop.labels import LABELS

SPEC = CropSpec((64, 64), 0.12)


def test_every_slot_of_every_frame_becomes_a_labelled_pair(dataset: Path, crops: CropSet) -> None:
    truth = [slot for shelf in read_field(dataset) for frame in shelf.frames for slot in frame.truth]
    assert len(crops) == len(truth) == 2 * 4 * 15
    assert [LABELS[k] for k in crops.label] == [slot.state for slot in truth]
    assert crops.current.shape == (len(truth), 64, 64, 3)
    assert crops.references.shape == (30, 64, 64, 3)


def test_a_stocked_slot_looks_like_its_reference_and_an_empty_one_does_not(crops: CropSet) -> None:
    lab = crops.only((crops.severity == 0) & crops.usable)
    everything = np.arange(len(lab))
    change = np.abs(lab.current.astype(int) - lab.reference_of(everything)).mean((1, 2, 3))
    assert change[lab.label == LABELS.index("stocked")].max() < change[lab.label == LABELS.index("empty")].min()


def test_cutting_goes_on_where_it_stopped(dataset: Path, tmp_path: Path) -> None:
    spec = CropSpec((32, 32), 0.2)
    cut_dataset(dataset, tmp_path, spec, raw, part=(0, 2))
    first = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert list(first) == ["shelf00.npz"]
    cut_dataset(dataset, tmp_path, spec, raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shelf00.npz", "shelf01.npz"]
    assert (tmp_path / "shelf00.npz").stat().st_mtime_ns == first["shelf00.npz"]
    assert len(load_dataset(tmp_path)) == 120


def test_a_set_reads_back_as_it_was_written(crops: CropSet, tmp_path: Path) -> None:
    crops.save(tmp_path / "set.npz")
    back = load_crops(tmp_path / "set.npz")
    assert np.array_equal(back.current, crops.current)
    assert back.condition.tolist() == crops.condition.tolist()


def test_joined_sets_keep_each_slot_with_its_reference(crops: CropSet) -> None:
    twice = join_crops([crops, crops])
    rows = np.arange(len(crops), 2 * len(crops))
    assert np.array_equal(twice.reference_of(rows), crops.reference_of(np.arange(len(crops))))


def test_the_digest_sees_a_changed_pixel(tmp_path: Path) -> None:
    frames = tmp_path / "shelves" / "shelf00" / "frames"
    frames.mkdir(parents=True)
    (frames / "a.jpg").write_bytes(b"one picture")
    before = dataset_digest((tmp_path,))
    (frames / "a.jpg").write_bytes(b"two picture")
    assert dataset_digest((tmp_path,)) != before


def test_the_digest_sees_a_changed_truth(dataset: Path, tmp_path: Path) -> None:
    before = dataset_digest((dataset,))
    copy = tmp_path / "set" / "shelves" / "shelf00"
    copy.mkdir(parents=True)
    (copy / "truth.csv").write_text("frame\n")
    assert dataset_digest((dataset,)) == before
    assert dataset_digest((tmp_path / "set",)) != before


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no dataset in"):
        read_field(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"format": "field-dataset/9"}')
    with pytest.raises(BadConfig, match="field-dataset/9"):
        read_field(tmp_path)


HEAD = "frame,condition,severity,slot,state,covered\n"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"frame\n", "columns"),
        (HEAD.encode() + b"f,lab,x,s0,stocked,0\n", "invalid literal"),
        (HEAD.encode() + b"f,lab,0,s0,sold,0\n", "'sold'"),
        (HEAD.encode() + b"f,lab,0,s0,stocked\n", "could not convert"),
        (b"\xff\xfe\x00", "not a truth table"),
    ],
)
def test_a_wrong_truth_table_is_named(dataset: Path, tmp_path: Path, table: bytes, said: str) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    (tmp_path / "set" / "shelves" / "shelf01" / "truth.csv").write_bytes(table)
    with pytest.raises(BadConfig, match=said) as fault:
        read_field(tmp_path / "set")
    assert "shelf01" in fault.value.found


def test_a_shelf_that_is_still_being_rendered_is_left_out(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    (tmp_path / "set" / "shelves" / "shelf02.part").mkdir()
    assert [shelf.name for shelf in read_field(tmp_path / "set")] == ["shelf00", "shelf01"]
    (tmp_path / "set" / "shelves" / "shelf01" / "truth.csv").unlink()
    with pytest.raises(Unavailable, match=r"truth\.csv"):
        read_field(tmp_path / "set")


def test_a_truth_about_slots_that_the_layout_lacks_is_refused(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    with (tmp_path / "set" / "shelves" / "shelf00" / "truth.csv").open("a") as table:
        table.write("lab-0,lab,0,s99,empty,0\n")
    with pytest.raises(BadConfig, match="s99"):
        cut_dataset(tmp_path / "set", tmp_path / "crops", SPEC, raw)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_crops_that_are_something_else_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(Refused, match="not a set of crops"):
        load_crops(tmp_path / "set.npz")
    with pytest.raises(Unavailable, match="nowhere"):
        load_crops(tmp_path / "nowhere.npz")


def test_a_frame_without_a_known_place_is_named(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    for shelf in (tmp_path / "set" / "shelves").iterdir():
        (shelf / "geometry.json").write_text("{}")
    with pytest.raises(BadConfig, match="exposure-1"):
        cut_dataset(tmp_path / "set", tmp_path / "crops", SPEC, partly_placed)


def test_frames_whose_place_is_known_are_cut_there(dataset: Path, tmp_path: Path) -> None:
    shifted = tmp_path / "set"
    shutil.copytree(dataset, shifted)
    for shelf in (shifted / "shelves").iterdir():
        aside = [[1, 0, 200], [0, 1, 0], [0, 0, 1]]
        places = {path.stem: {"homography": aside, "k1": 0.0} for path in (shelf / "frames").iterdir()}
        (shelf / "geometry.json").write_text(json.dumps(places))
    cut_dataset(shifted, tmp_path / "crops", SPEC, partly_placed)
    found = load_dataset(tmp_path / "crops")
    assert len(found) == 120
    assert found.usable.all()
    assert 0.1 < (found.inside < 0.5).mean() < 0.5, "every third frame is cut at its place, the others are registered"


def test_without_the_renderers_geometry_known_places_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"geometry\.json"):
        cut_dataset(dataset, tmp_path, SPEC, partly_placed)
