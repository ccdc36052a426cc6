"""A camera's stream over time: bumps, photographs in between, large references."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.fit import Fit
from edge_runtime.normalize.gate import small_grey
from edge_runtime.normalize.register import Registrar
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.track import HELD_FRAMES, RETRY_EVERY, Tracker, grey_of
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.normalize.warp import Warp
from edge_runtime.records import CropSpec, Image, Layout, Remark, Unusable, View
from tests.normalize.painted import SIZE, crowd, frame, layout, noisy, seen, shelf, view_from

SPEC = CropSpec((64, 64), 0.1)


def _view(normalizer: Normalizer, picture: Image, second: float = 0.0) -> View:
    view = normalizer.normalize(frame(picture, second))
    assert isinstance(view, View), view
    return view


def test_a_bumped_camera_that_is_put_back_is_where_it_was_commissioned() -> None:
    normalizer = Normalizer(layout(), shelf(), SPEC, NormalizeSettings(light=False))
    raw = RawNormalizer(layout(), shelf(), SPEC)
    said = []
    for second, yaw in enumerate((0, 0, 6, 6, 0, 0)):
        picture = noisy(seen(shelf(), view_from(yaw)), seed=second)
        view = _view(normalizer, picture, second)
        said.append((view.registration.moved, view.registration.remarks))
    at_rest, away = (), (Remark.CAMERA_MOVED,)
    assert said == [(False, at_rest), (False, at_rest), (True, away), (False, away), (True, at_rest), (False, at_rest)]
    assert np.array_equal(view.crops, raw.normalize(frame(picture, 5)).crops)


def test_a_photograph_between_the_frames_of_a_stream_changes_nothing() -> None:
    """Crops, with the plane of the packs that they follow, are those of the stream alone."""
    views = enumerate((9.0, -5.0, 9.0))
    first, between, last = (noisy(seen(shelf(), view_from(yaw, 2)), seed=seed) for seed, yaw in views)
    alone, mixed = Normalizer(layout(), shelf(), SPEC), Normalizer(layout(), shelf(), SPEC)
    _view(alone, first)
    _view(mixed, first)
    assert isinstance(mixed.single(frame(between)), View)
    kept, disturbed = _view(alone, last, 1), _view(mixed, last, 1)
    assert kept.registration.detail == disturbed.registration.detail == "still"
    assert kept.registration.packs_px == disturbed.registration.packs_px
    assert np.array_equal(kept.crops, disturbed.crops)


def test_two_normalizers_say_the_same_of_one_frame() -> None:
    picture = noisy((seen(shelf(empty=(3, 8)), view_from(11, 2, 1)) * 0.6).astype(np.uint8), 4.0)
    one, other = (_view(Normalizer(layout(), shelf(), SPEC), picture) for _ in range(2))
    assert np.array_equal(one.crops, other.crops)
    assert np.array_equal(one.registration.homography, other.registration.homography)
    assert (one.light, one.noise, one.sharpness) == (other.light, other.noise, other.sharpness)


def _doubled() -> tuple[Layout, Image]:
    slots = tuple(replace(s, polygon=tuple((2 * x, 2 * y) for x, y in s.polygon)) for s in layout().slots)
    size = (2 * SIZE[0], 2 * SIZE[1])
    return replace(layout(), image_size=size, slots=slots), cv2.resize(shelf(), size, interpolation=cv2.INTER_CUBIC)


def test_pixels_of_a_large_reference_are_smaller_moves() -> None:
    """The same turn of the same camera counts alike, however many pixels its picture has."""
    made, reference = _doubled()
    normalizer = Normalizer(made, reference, SPEC)
    _view(normalizer, noisy(reference))
    for second, (shift, moved) in enumerate(((3.0, False), (9.0, True)), 1):
        move = np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1.0]])
        view = _view(normalizer, noisy(seen(reference, move, made.image_size), seed=second), second)
        assert view.registration.homography is not None
        assert abs(view.registration.homography[0, 2] - shift) < 0.8
        assert view.registration.moved is moved
        assert (Remark.CAMERA_MOVED in view.registration.remarks) is moved


def test_a_frame_of_another_size_than_the_reference_stays_still_too() -> None:
    normalizer = Normalizer(layout(), shelf(), SPEC)
    small = [cv2.resize(noisy(seen(shelf(), view_from(5)), seed=k), (640, 480)) for k in range(3)]
    views = [_view(normalizer, picture, k) for k, picture in enumerate(small)]
    assert [view.registration.detail for view in views] == ["registered", "still", "still"]
    assert views[0].registration.homography is views[2].registration.homography


def test_the_commissioned_place_is_taken_for_granted_at_any_size() -> None:
    tracker = Tracker(layout(), shelf())
    one, same, other = (tracker.assumed(size).fit.warp for size in ((960, 720), (960, 720), (480, 360)))
    assert one is same
    assert one is not None
    assert other is not None
    assert np.allclose(one.points(np.array([[100.0, 50.0]])), [[100, 50]])
    assert np.allclose(other.points(np.array([[100.5, 50.5]])), [[50, 25]])


class _Refusing(Registrar):
    """Finds nothing any more."""

    def register(self, grey: Grey) -> Fit:
        return Fit(None, 0, None, "nothing is found")

    def follow(self, grey: Grey, last: Warp) -> Fit:
        return self.register(grey)


def test_a_registration_is_held_while_what_is_seen_stands_still_but_not_for_ever() -> None:
    tracker = Tracker(layout(), shelf())
    assert tracker.locate(noisy(shelf()), small_grey(noisy(shelf()))).how == "registered"
    tracker.registrar = _Refusing(layout(), grey_of(shelf()))
    hidden = noisy(crowd(520), seed=1)
    hows = [tracker.locate(hidden, small_grey(hidden)).how for _ in range(HELD_FRAMES + 2)]
    assert hows == ["held"] * HELD_FRAMES + ["refused"] * 2
    assert tracker.locate(shelf(), small_grey(shelf())).how == "still"
    assert tracker.locate(hidden, small_grey(hidden)).how == "held", "a clear frame begins the count anew"


def test_a_slot_whose_corners_are_uncertain_counts_as_outside() -> None:
    sigma = np.array([1.0, 11.0, 13.0, np.inf])
    fit = Fit(None, 0, None, "", corner_sigma_px=sigma)
    inside = np.array([1.0, 0.5, 1.0, 1.0], np.float32)
    assert fit.certain(inside, (960, 720)).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert fit.certain(inside, (1920, 1440)).tolist() == [1.0, 0.5, 1.0, 0.0]
    assert replace(fit, corner_sigma_px=None).certain(inside, (960, 720)) is inside


def test_another_scene_that_stays_is_looked_at_again_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that finds nothing costs the most; what was refused and has not changed is refused again."""
    looked, register = [], Registrar.register

    def counted(registrar: Registrar, grey: Grey) -> Fit:
        looked.append(1)
        return register(registrar, grey)

    monkeypatch.setattr(Registrar, "register", counted)
    other = np.random.default_rng(5).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    scene = cv2.resize(other, SIZE, interpolation=cv2.INTER_CUBIC)
    normalizer = Normalizer(layout(), shelf(), SPEC)
    said = [normalizer.normalize(frame(noisy(scene, seed=k), k)) for k in range(2 * RETRY_EVERY)]
    assert all(isinstance(one, Unusable) for one in said)
    assert len(looked) == 2
    _view(normalizer, noisy(shelf()), 99.0)
    assert len(looked) == 3
