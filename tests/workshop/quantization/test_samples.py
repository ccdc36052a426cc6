"""Calibration sets of every form, and what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import EdgeError, Refused, Unavailable
from edge_runtime.workshop.graph import input_spec
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.quantization.arrays import GraphArrays, open_arrays
from edge_runtime.workshop.quantization.samples import crops_at, open_samples
from edge_runtime.workshop.strips import write_strips
from workshop.small import RGB, SIDE, crops, write_vast_picture

PAIRS = input_spec(SIDE, 0.1)


def write_crops(folder: Path, count: int = 6, side: int = SIDE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, crop in enumerate(crops(count, side=side)):
        cv2.imwrite(str(folder / f"{number:02}.png"), crop)
    return folder


def test_strips_and_an_npz_of_the_same_pairs_are_the_same_samples(tmp_path: Path) -> None:
    now, then = crops(20, 1), crops(20, 2)
    write_strips(tmp_path / "strips", (now, then))
    np.savez(tmp_path / "pairs.npz", current=now, reference=then)
    strips, arrays = open_samples(tmp_path / "strips", PAIRS), open_samples(tmp_path / "pairs.npz", PAIRS)
    assert len(strips) == len(arrays) == 20
    assert strips.digest == arrays.digest
    for name, fed in strips.feed([3, 17]).items():
        assert (fed == arrays.feed([3, 17])[name]).all()


def test_a_folder_of_crops_is_fed_as_the_graph_wants_it(tmp_path: Path) -> None:
    samples = open_samples(write_crops(tmp_path / "set"), RGB)
    fed = samples.feed([0, 1])["image"]
    assert fed.shape == (2, 3, SIDE, SIDE)
    assert fed.dtype == np.float32
    first = crops(6)[0]
    assert fed[0, 0, 0, 0] == pytest.approx((float(first[0, 0, 2]) - 100) / 50)  # red of RGB is the last of BGR


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    for label in ("empty", "stocked"):
        write_crops(tmp_path / "set" / label, 2)
    assert open_samples(tmp_path / "set", RGB).labels == ("empty", "empty", "stocked", "stocked")


def test_a_cut_shelf_is_a_calibration_set(tmp_path: Path) -> None:
    labels = np.array([0, 3, 2], np.int8)
    np.savez(tmp_path / "shelf.npz", current=crops(3), references=crops(2), slot=np.array([0, 1, 0]), label=labels)
    samples = open_samples(tmp_path / "shelf.npz", PAIRS)
    assert samples.labels == tuple(LABELS[k] for k in labels)
    assert (samples.feed([2])["reference"] == crops(2)[:1]).all()


def test_arrays_of_any_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "raw.npz", image=np.zeros((5, 3, SIDE, SIDE), np.float32))
    samples = open_arrays(tmp_path / "raw.npz")
    assert isinstance(samples, GraphArrays)
    assert samples.feed([1, 2])["image"].shape == (2, 3, SIDE, SIDE)
    with pytest.raises(Refused, match="fed as they are"):
        crops_at(tmp_path / "raw.npz", RGB, 10)


def test_crops_are_taken_evenly(tmp_path: Path) -> None:
    current, reference = crops_at(write_crops(tmp_path / "set", 6), RGB, 3)
    assert reference is None
    assert (current == crops(6)[[0, 2, 5]]).all()


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda p: None, Unavailable, "neither a folder nor an npz"),
        (lambda p: p.mkdir(), Unavailable, "holds no picture"),
        (lambda p: write_crops(p, 2, 32), Refused, "32x32; crops of 16x16"),
        (lambda p: (p.mkdir(), (p / "a.png").write_bytes(b"no picture")), Unavailable, "not a readable picture"),
        (lambda p: (p.mkdir(), write_vast_picture(p / "a.png")), Unavailable, "more than 64 megapixels"),
        (lambda p: (p.mkdir(), write_vast_picture(p / "pairs-00.png")), Unavailable, "more than 64 megapixels"),
    ],
)
def test_bad_folders_say_what_is_wrong(tmp_path: Path, make, error: type[EdgeError], told: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "set")
    with pytest.raises(error, match=told):
        open_samples(tmp_path / "set", RGB).feed([0])


def test_single_crops_do_not_feed_a_graph_of_pairs(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="also takes the reference crop"):
        open_samples(write_crops(tmp_path / "set"), PAIRS)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"current": np.zeros((2, 8, 8, 3), np.uint8)}, "crops of uint8"),
        ({"current": np.zeros((0, SIDE, SIDE, 3), np.uint8)}, "one row at least"),
        ({"current": crops(3), "reference": crops(2)}, "as many in each"),
        ({"current": crops(3), "label": np.array(["stocked"])}, "as many in each"),
    ],
)
def test_bad_arrays_say_what_is_wrong(tmp_path: Path, arrays: dict[str, np.ndarray], told: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(Refused, match=told):
        open_samples(tmp_path / "set.npz", PAIRS)


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"PK\x03\x04 half a zip")
    with pytest.raises(Refused, match="not an npz"):
        open_samples(tmp_path / "set.npz", PAIRS)
