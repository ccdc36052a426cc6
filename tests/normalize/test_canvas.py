"""The canvas shows the commissioned view: what lies at a reference point is found at its place in the canvas."""

from __future__ import annotations

from typing import Any

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from edge_runtime.normalize.canvas import fitted, region_of, tiles_of
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.records import CanvasSpec, CropSpec, Image, View
from tests.normalize.painted import SIZE, frame, layout, shelf

SPECS = [
    CanvasSpec((416, 416), letterbox=True),
    CanvasSpec((416, 416), letterbox=True, centred=True, pad=(1, 2, 3)),
    CanvasSpec((320, 240)),
    CanvasSpec((256, 320), slots_only=True, margin=0.05),
    CanvasSpec((256, 256), tiles=(2, 2), overlap=0.2, letterbox=True, slots_only=True),
]


def crop_of(spec: CanvasSpec) -> CropSpec:
    return CropSpec((32, 32), 0.1, spec)


def painted(spec: CanvasSpec, image: Image, **settings: Any) -> View:
    normalizer = Normalizer(layout(), shelf(), crop_of(spec), NormalizeSettings(stateless=True, **settings))
    view = normalizer.normalize(frame(image))
    assert isinstance(view, View)
    return view


def read_back(view: View, points: Any) -> Any:
    """Colours of the canvas at reference points (n, 2), of the first tile that shows each; NaN where none does."""
    assert view.canvas is not None
    found = np.full((len(points), 3), np.nan)
    for tile, (x0, y0, sx, sy) in zip(view.canvas.pixels, view.canvas.places, strict=True):
        at = (points + 0.5 - [x0, y0]) / [sx, sy] - 0.5
        seen = (at >= 1).all(1) & (at < np.array(tile.shape[1::-1]) - 2).all(1) & np.isnan(found[:, 0])
        maps = at[seen].astype(np.float32)
        if len(maps):
            found[seen] = cv2.remap(tile, maps[:, None], None, cv2.INTER_LINEAR)[:, 0]  # type: ignore[call-overload]
    return found


def slot_middles() -> Any:
    return np.array([np.mean(slot.polygon, axis=0) for slot in layout().slots])


def smooth(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 6), np.uint8)


@pytest.mark.parametrize("spec", SPECS)
def test_what_lies_at_a_reference_point_lies_at_its_place_in_the_canvas(spec: CanvasSpec) -> None:
    image = smooth(shelf())
    normalizer = RawNormalizer(layout(), image, crop_of(spec))
    view = normalizer.normalize(frame(image))
    assert isinstance(view, View) and view.canvas is not None
    width, height = spec.size
    assert view.canvas.pixels.shape == (spec.tiles[0] * spec.tiles[1], height, width, 3)
    points = slot_middles()
    wanted = image[points[:, 1].astype(int), points[:, 0].astype(int)].astype(float)
    assert np.abs(read_back(view, points) - wanted).max() < 6


def test_a_camera_that_moved_shows_the_same_canvas() -> None:
    move = np.array([[0.97, 0.03, 12.0], [-0.02, 0.98, 9.0], [1e-5, 0.0, 1.0]])
    still = shelf()
    moved = np.asarray(cv2.warpPerspective(still, move, SIZE, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    spec = SPECS[3]
    one, other = painted(spec, still), painted(spec, moved)
    assert one.canvas is not None and other.canvas is not None
    unregistered = painted(spec, moved, register=False)
    assert unregistered.canvas is not None
    off = np.abs(smooth(one.canvas.pixels[0]).astype(float) - smooth(other.canvas.pixels[0])).mean()
    raw = np.abs(smooth(one.canvas.pixels[0]).astype(float) - smooth(unregistered.canvas.pixels[0])).mean()
    assert off < 3 and raw > 3 * off


def test_the_light_is_evened_out_as_in_the_crops() -> None:
    """Of two colours of light the canvas goes as far back as the crops do, everywhere."""
    still = shelf()
    across = np.linspace(0.55, 1.0, SIZE[0])[None, :, None] * np.array([0.8, 1.0, 0.9])
    dim = np.clip(still * across, 0, 255).astype(np.uint8)
    spec = CanvasSpec(SIZE)
    lit, plain = painted(spec, dim), painted(spec, dim, light=False)
    assert lit.light.applied and lit.canvas is not None and plain.canvas is not None
    target = smooth(still).astype(float)
    left = np.abs(smooth(lit.canvas.pixels[0]) - target).mean()
    before = np.abs(smooth(plain.canvas.pixels[0]) - target).mean()
    assert left < 0.25 * before
    cut, _, _ = SlotSampler(layout(), CropSpec((32, 32), 0.1)).sample(lit.canvas.pixels[0], None)
    assert np.abs(smooth_rows(cut) - smooth_rows(lit.crops)).mean() < 3


def smooth_rows(crops: Image) -> Any:
    return crops.astype(float).mean((1, 2))


def test_a_model_that_looks_at_crops_has_no_canvas() -> None:
    view = Normalizer(layout(), shelf(), CropSpec((32, 32), 0.1)).normalize(frame(shelf()))
    assert isinstance(view, View) and view.canvas is None


def test_a_canvas_does_not_change_the_crops() -> None:
    image = shelf(empty=(1, 7))
    with_canvas = painted(SPECS[0], image)
    without = Normalizer(layout(), shelf(), CropSpec((32, 32), 0.1), NormalizeSettings(stateless=True)).normalize(
        frame(image)
    )
    assert isinstance(without, View) and np.array_equal(with_canvas.crops, without.crops)


def test_another_models_canvas_comes_from_the_registration_that_is_held() -> None:
    normalizer = Normalizer(layout(), shelf(), CropSpec((32, 32), 0.1))
    other = normalizer.recut(crop_of(SPECS[2]))
    taken = frame(shelf())
    assert isinstance(normalizer.normalize(taken), View)
    view = other.again(taken)
    assert view is not None and view.canvas is not None


def test_padding_is_the_declared_colour_and_lies_where_it_was_declared() -> None:
    corner, centre = (painted(spec, shelf()).canvas for spec in SPECS[:2])
    assert corner is not None and centre is not None
    assert (corner.pixels[0, 312:] == 114).all() and not (corner.pixels[0, :312] == 114).all(-1).all()
    assert (centre.pixels[0, :52] == (1, 2, 3)).all() and (centre.pixels[0, 364:] == (1, 2, 3)).all()


spans = st.floats(1, 5000)


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(spans, spans),
    st.tuples(st.integers(8, 1024), st.integers(8, 1024)),
    st.tuples(st.integers(1, 4), st.integers(1, 2)),
    st.floats(0, 0.5),
    st.booleans(),
)
def test_tiles_cover_the_region_and_fit_the_input(
    region: tuple[float, float], size: tuple[int, int], tiles: tuple[int, int], overlap: float, centred: bool
) -> None:
    spec = CanvasSpec(size, tiles, overlap, letterbox=True, centred=centred)
    rects = tiles_of((5.0, 7.0, *region), spec)
    assert len(rects) == tiles[0] * tiles[1]
    assert min(r[0] for r in rects) == 5.0 and min(r[1] for r in rects) == 7.0
    assert max(r[0] + r[2] for r in rects) == pytest.approx(5.0 + region[0])
    assert max(r[1] + r[3] for r in rects) == pytest.approx(7.0 + region[1])
    inner, (left, top) = fitted(rects[0][2:], spec)
    assert 1 <= inner[0] <= size[0] - left and 1 <= inner[1] <= size[1] - top
    assert size[0] in inner or size[1] in inner


def test_the_region_of_the_slots_stays_in_the_picture() -> None:
    left, top, width, height = region_of(layout(), CanvasSpec((64, 64), slots_only=True, margin=1.0))
    assert left >= 0 and top >= 0 and left + width <= SIZE[0] and top + height <= SIZE[1]
