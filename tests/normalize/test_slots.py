from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.warp import Warp, scaling
from edge_runtime.records import CropSpec, Layout, Slot
from tests.normalize.painted import layout, seen, shelf, view_from


def _exact(image: np.ndarray, quad: np.ndarray, spec: CropSpec) -> np.ndarray:
    """The crop by cv2.warpPerspective, from the corners of the grown slot in the unit square's own perspective."""
    (width, height), m = spec.size, spec.margin
    unit = cv2.getPerspectiveTransform(
        np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), np.asarray(quad, np.float32)
    )
    to_unit = np.array([[(1 + 2 * m) / width, 0, -m + 0.5 * (1 + 2 * m) / width],
                        [0, (1 + 2 * m) / height, -m + 0.5 * (1 + 2 * m) / height],
                        [0, 0, 1]])  # fmt: skip
    return cv2.warpPerspective(
        image, unit @ to_unit, spec.size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def _smooth(size: tuple[int, int]) -> np.ndarray:
    small = np.random.default_rng(3).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("yaw", [0.0, 15.0])
def test_crops_are_the_perspective_rectification_of_the_grown_polygon(margin: float, yaw: float) -> None:
    spec = CropSpec((120, 128), margin)
    image, homography = _smooth((960, 720)), view_from(yaw, 2.0)
    crops, inside, _ = SlotSampler(layout(), spec).sample(image, homography)
    for slot, crop, share in zip(layout().slots, crops, inside, strict=True):
        quad = Warp(homography, (960, 720)).points(np.asarray(slot.polygon))
        if share > 0.999:
            off = np.abs(crop.astype(int) - _exact(image, quad, spec).astype(int))
            # Extrapolated margins may leave the picture, where interpolation differs by rounding.
            assert np.percentile(off, 99) <= 4
            assert off.mean() < 1.0


def test_without_a_homography_the_layout_is_scaled_to_the_picture() -> None:
    spec = CropSpec((64, 64), 0.1)
    whole = SlotSampler(layout(), spec).sample(_smooth((960, 720)), None)[0].astype(int)
    double = SlotSampler(layout(), spec).sample(cv2.resize(_smooth((960, 720)), (1920, 1440)), None)
    assert np.abs(whole - double[0]).mean() < 2.0
    assert np.allclose(double[2], 2.0, atol=0.01)
    assert np.all(double[1] == 1.0)


def test_the_buffer_and_the_lookup_are_reused() -> None:
    sampler = SlotSampler(layout(), CropSpec((64, 64), 0.1))
    first = sampler.sample(shelf(), np.eye(3))[0]
    kept = first.copy()
    second = sampler.sample(shelf(2), np.eye(3))[0]
    assert second is first
    assert not np.array_equal(kept, second)


def test_a_slot_half_out_of_the_picture_is_half_inside_and_repeats_the_edge() -> None:
    move = np.eye(3)
    move[0, 2] = -(110.0 + 148 / 2)
    crops, inside, density = SlotSampler(layout(), CropSpec((64, 64), 0.0)).sample(shelf(), move)
    assert inside[0] == pytest.approx(0.5, abs=0.03)
    assert inside[1] == 1.0
    assert np.allclose(density, 1.0, atol=1e-3)
    assert np.array_equal(crops[0, :, 0], crops[0, :, 20])


def test_a_slot_wholly_outside_does_not_harm_the_others() -> None:
    move = np.eye(3)
    move[0, 2] = -5000.0
    _, inside, _ = SlotSampler(layout(), CropSpec((32, 32), 0.1)).sample(shelf(), move)
    assert np.all(inside == 0.0)


def test_fine_pictures_are_averaged_not_skipped() -> None:
    """One-pixel stripes, seen ten times too fine, are grey, not black or white."""
    stripes = np.zeros((1440, 1920, 3), np.uint8)
    stripes[:, ::2] = 255
    crops = SlotSampler(layout(), CropSpec((24, 24), 0.0)).sample(stripes, None)[0]
    assert np.abs(crops.astype(int) - 127).max() <= 40
    assert crops.std() < 12


def test_the_lens_is_folded_in() -> None:
    image, lens = _smooth((960, 720)), (0.08, -0.01)
    warp = Warp(np.eye(3), (960, 720), lens)
    xs, ys = np.meshgrid(np.arange(960.0), np.arange(720.0))
    points = np.stack([xs.ravel(), ys.ravel()], 1)
    straight = warp.points(points).astype(np.float32).reshape(720, 960, 2)
    undone = cv2.remap(image, straight, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    spec = CropSpec((128, 128), 0.0)
    bent = SlotSampler(layout(), spec).sample(image, np.eye(3), lens)[0].copy()
    plain = SlotSampler(layout(), spec).sample(undone, np.eye(3))[0]
    assert np.abs(bent.astype(int) - plain).mean() < 1.5


def test_five_hundred_slots_fit_although_remap_has_a_row_limit() -> None:
    slots = tuple(
        Slot(f"{k}", "s", ((x, y), (x + 20.0, y), (x + 20.0, y + 20.0), (x, y + 20.0)))
        for k in range(512)
        for x, y in [(10.0 + 28 * (k % 32), 10.0 + 40 * (k // 32))]
    )
    many = replace(layout(), slots=slots)
    crops = SlotSampler(many, CropSpec((96, 96), 0.1)).sample(shelf(), None)[0]
    alone = SlotSampler(replace(layout(), slots=slots[500:501]), CropSpec((96, 96), 0.1)).sample(shelf(), None)[0]
    assert np.abs(crops[500].astype(int) - alone[0]).max() <= 1


def test_a_picture_smaller_than_a_block_still_gives_crops() -> None:
    tiny = Layout(Path("l"), Path("r"), (960, 720), layout().slots)
    crops, _, density = SlotSampler(tiny, CropSpec((16, 16), 0.1)).sample(shelf()[:20, :30], None)
    assert crops.shape == (15, 16, 16, 3)
    assert density.max() < 0.5, "a slot is four pixels wide, its crop sixteen"


def test_a_smaller_picture_is_missed_only_where_the_crop_would_have_held_more() -> None:
    picture = cv2.resize(shelf(), (480, 360), interpolation=cv2.INTER_AREA)
    small_crops = SlotSampler(layout(), CropSpec((64, 64), 0.1)).sample(picture, None)[2]
    large_crops = SlotSampler(layout(), CropSpec((256, 256), 0.1)).sample(picture, None)[2]
    assert np.allclose(small_crops, 1.0, atol=0.02), "148 x 160 px slots in 64 px crops lose nothing at half the size"
    assert np.allclose(large_crops, 0.5, atol=0.02)


def test_scaling_keeps_pixel_centres() -> None:
    assert np.allclose(scaling((100, 50), (200, 100)) @ [0, 0, 1], [0.5, 0.5, 1])


def test_seen_and_view_from_agree_at_the_middle() -> None:
    assert np.allclose(view_from(0), np.eye(3), atol=1e-9)
    assert seen(shelf(), np.eye(3)).shape == (720, 960, 3)
