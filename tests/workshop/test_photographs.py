from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.records import CropSpec
from edge_runtime.workshop.photo_crops import cut_boxes, cut_photographs, held_out, load_photo_crops
from edge_runtime.workshop.photographs import (
    Box,
    area_under_curve,
    best_threshold,
    facings_of_rows,
    jittered,
    overlap,
    photographs_digest,
    read_photographs,
    read_voids,
    shaken,
    slots_of,
)
from tests.workshop.photo_set import SIDE, write_photographs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), 12, 3)


def test_the_split_file_says_which_photographs_train_and_which_measure(photos: Path) -> None:
    train, val = read_photographs(photos, "train"), read_photographs(photos, "val")
    assert (len(train), len(val)) == (8, 4)
    assert not {each.group for each in train} & {each.group for each in val}
    assert read_photographs(photos) == (*train, *val)
    assert photographs_digest(train) != photographs_digest(val)


def test_without_a_split_file_the_names_decide_and_always_alike(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photos", 40, 3, split=False)
    first = read_photographs(folder)
    assert first == read_photographs(folder)
    assert 0 < sum(each.split == "val" for each in first) < 20


def test_a_folder_without_pictures_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="has 0 pictures"):
        read_photographs(tmp_path)


def test_a_picture_that_only_the_split_file_knows_is_named(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photos", 4, 3)
    (folder / "images" / "shelf01.jpg").unlink()
    with pytest.raises(Unavailable, match=r"1 that split\.csv names are missing: shelf01"):
        read_photographs(folder)


def test_linked_photographs_may_not_be_torn_apart(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photos", 4, 3)
    (folder / "split.csv").write_text("name,split,group\nshelf00,train,7\nshelf01,val,7\n")
    with pytest.raises(BadConfig, match=r"group 7 stands in train and, by shelf01, in val"):
        read_photographs(folder)


def test_a_split_file_without_groups_is_refused(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photos", 4, 3)
    (folder / "split.csv").write_text("name,split\nshelf00,train\n")
    with pytest.raises(BadConfig, match="lacks the columns group"):
        read_photographs(folder)


def test_yolo_boxes_become_pixels_and_other_classes_specks_and_repeats_are_left_out(tmp_path: Path) -> None:
    labels = tmp_path / "a.txt"
    labels.write_text(
        "0 0.5 0.5 0.2 0.1\n1 0.2 0.2 0.1 0.1\n0 0.1 0.1 0.001 0.1\n\n0 0.51 0.5 0.2 0.1\n0 0.95 0.2 0.2 0.2\n"
    )
    first, second = read_voids(labels, 200, 100)
    assert first == pytest.approx((80, 45, 120, 55))
    assert second == pytest.approx((170, 10, 199, 30))
    assert read_voids(tmp_path / "none.txt", 200, 100) == ()


@pytest.mark.parametrize("line", ["0 0.5 0.5", "empty 0.5 0.5 0.1 0.1", "0 320 200 40 60", "0 nan 0.5 0.1 0.1"])
def test_a_line_that_is_no_yolo_box_is_named_with_its_place(tmp_path: Path, line: str) -> None:
    labels = tmp_path / "a.txt"
    labels.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(Refused, match=r"a\.txt:2 is"):
        read_voids(labels, 200, 100)


boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h),
    st.floats(0, 500),
    st.floats(0, 500),
    st.floats(10, 120),
    st.floats(10, 120),
)


@given(st.lists(boxes, max_size=8))
def test_facings_lie_inside_the_picture_and_touch_neither_a_void_nor_each_other(voids: list[Box]) -> None:
    facings = facings_of_rows(voids, 640)
    assert len(facings) <= 2 * len(voids)
    for k, facing in enumerate(facings):
        assert 0 <= facing[0] < facing[2] <= 639
        assert all(overlap(facing, other) < 0.05 for other in (*voids, *facings[:k]))


@given(boxes, boxes)
def test_overlap_is_a_share_and_the_same_both_ways(a: Box, b: Box) -> None:
    assert 0 <= overlap(a, b) == overlap(b, a) <= 1 + 1e-9
    assert overlap(a, a) == pytest.approx(1)


@given(boxes, st.integers(0, 1000))
def test_jitter_moves_a_box_a_little_and_repeats_with_the_seed(box: Box, seed: int) -> None:
    (moved,) = jittered([box], np.random.default_rng(seed), 0.05, 0.05)
    assert moved == jittered([box], np.random.default_rng(seed), 0.05, 0.05)[0]
    assert moved[0] < moved[2]
    assert moved[1] < moved[3]
    assert overlap(box, moved) > 0.3
    assert jittered([box], np.random.default_rng(seed), 0.0, 0.0)[0] == pytest.approx(box)


def test_shaken_boxes_are_other_boxes_and_the_same_each_time(photos: Path) -> None:
    photograph, other = read_photographs(photos)[:2]
    still: list[Box] = [(10.0, 10.0, 50.0, 90.0)]
    assert shaken(photograph, still, 0.0) == tuple(still)
    assert shaken(photograph, still, 0.1) == shaken(photograph, still, 0.1) != shaken(other, still, 0.1)
    spec = CropSpec((32, 32), 0.0)
    assert not np.array_equal(cut_photographs([photograph], spec).crops, cut_photographs([photograph], spec, 0.1).crops)


def test_crops_show_their_box_with_its_margin() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 30:50] = 255
    crops = cut_boxes(picture, [(30.0, 40.0, 50.0, 60.0)], CropSpec((32, 32), 0.5))
    assert crops.shape == (1, 32, 32, 3)
    assert crops[0, 16, 16, 0] == 255
    assert crops[0, 3, 16, 0] == 0
    assert crops[0].mean() == pytest.approx(255 / 4, abs=20)
    assert cut_boxes(picture, [], CropSpec((32, 32), 0.5)).shape == (0, 32, 32, 3)


def test_cut_photographs_know_what_they_are_and_read_back(photos: Path, tmp_path: Path) -> None:
    train = read_photographs(photos, "train")
    found = cut_photographs(train, CropSpec((32, 32), 0.0))
    found.save(tmp_path / "crops.npz")
    back = load_photo_crops(tmp_path / "crops.npz")
    assert len(back) == sum(len(slots_of(each, SIDE, SIDE).boxes) for each in train)
    assert np.array_equal(back.crops, found.crops)
    assert back.crops[back.void].mean() < 60 < 100 < back.crops[~back.void].mean()
    assert set(back.group) <= {each.group for each in train}


def test_photographs_without_any_void_are_refused(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photos", 4, 3)
    for labels in (folder / "labels").iterdir():
        labels.write_text("")
    with pytest.raises(Refused, match="none of 4 photographs"):
        cut_photographs(read_photographs(folder), CropSpec((32, 32), 0.0))


def test_a_file_that_holds_no_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        load_photo_crops(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    with pytest.raises(Refused, match="not a set of crops"):
        load_photo_crops(tmp_path / "bad.npz")


def test_held_out_groups_stay_whole() -> None:
    groups = np.repeat([f"g{k}" for k in range(20)], 3)
    held = held_out(groups, 0.25, 1)
    assert held.sum() == 15
    assert all(len(set(held[groups == name])) == 1 for name in set(groups))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=15), st.lists(st.integers(0, 6), min_size=1, max_size=15))
def test_the_area_under_the_curve_is_the_chance_of_the_right_order(high: list[int], low: list[int]) -> None:
    chance = np.mean([(a > b) + 0.5 * (a == b) for a in high for b in low])
    assert area_under_curve(np.array(high, float), np.array(low, float)) == pytest.approx(chance)
    assert math.isnan(area_under_curve(np.array([]), np.array(low, float)))


def test_the_best_threshold_parts_what_can_be_parted() -> None:
    scores, void = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0] * 20), np.array([False] * 3 + [True] * 3).repeat(1)
    assert -1 <= best_threshold(scores, np.tile(void, 20)) < 1


def test_the_boxes_of_the_real_photographs_are_read_where_the_folder_is_there() -> None:
    folder = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "shelf-voids"
    if not folder.is_dir():
        pytest.skip("the photographs (shared/data/shelf-voids, beside the checkout) are not here")
    first = read_photographs(folder, "val")[:5]
    assert all(cv2.imread(str(each.picture)) is not None for each in first)
    assert any(slots_of(each, 640, 640).voids for each in first)
