from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.features import ALONE, PAIR, features
from edge_runtime.workshop.features_table import SAMPLES, FeatureTable, make_table
from edge_runtime.workshop.labels import LABELS

from .conftest import SPEC, write_dataset


@pytest.fixture(scope="module")
def table(dataset: Path) -> FeatureTable:
    return make_table(dataset, PAIR, SPEC)


def test_a_row_is_a_slot_as_the_device_cuts_it(table: FeatureTable, crops: CropSet) -> None:
    assert np.array_equal(table.features, features(crops.current, crops.reference_of(slice(None))))
    assert table.state.tolist() == [LABELS[k] for k in crops.label]
    assert table.shelf.tolist() == crops.shelf.tolist()


def test_the_files_read_back_and_are_the_same_each_time(table: FeatureTable) -> None:
    with np.load(io.BytesIO(table.npz()), allow_pickle=False) as found:
        assert found["features"].shape == (len(found["state"]), len(found["names"]))
        assert str(found["feature_set"]) == "grid/1"
    with np.load(io.BytesIO(table.crops()), allow_pickle=False) as found:
        assert found["current"].shape == found["reference"].shape
        assert len(found["label"]) == len(found["current"]) <= SAMPLES
    assert table.npz() == table.npz()
    rows = list(csv.DictReader(io.StringIO(table.csv().decode())))
    assert [row["state"] for row in rows] == table.state.tolist()
    assert float(rows[3]["mean_correlation"]) == pytest.approx(
        table.features[3, PAIR.names.index("mean_correlation")], rel=1e-5
    )


def test_crops_beside_the_table_are_those_of_their_labels(table: FeatureTable) -> None:
    rows = [np.flatnonzero((table.features == one).all(1)) for one in features(table.current, table.reference)]
    assert all(label in set(table.state[found]) for label, found in zip(table.label, rows, strict=True))


def test_progress_is_told_and_other_sets_work(dataset: Path) -> None:
    told: list[tuple[str, int, int]] = []
    made = make_table(dataset, ALONE, CropSpec((32, 32), 0.1), lambda *step: told.append(step))
    assert made.features.shape[1] == ALONE.width
    assert told == [("cut shelf00", 0, 2), ("cut shelf01", 1, 2)]


def test_frames_that_a_device_refuses_are_left_out(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "set", shelves=1, frames=1, seed=1)
    for frame in dataset.glob("shelves/*/frames/*.jpg"):
        cv2.imwrite(str(frame), np.zeros((360, 480, 3), np.uint8))
    with pytest.raises(Refused, match=r"no frame of .* can be used"):
        make_table(dataset, PAIR, SPEC)
