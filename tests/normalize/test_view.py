from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.normalize.warp import project
from edge_runtime.records import CropSpec, Reason, RegistrationStatus, Remark, Unusable, View
from tests.normalize.painted import SIZE, crowd, frame, layout, noisy, seen, shelf, view_from

SPEC = CropSpec((64, 64), 0.1)


def _normalizer(**chosen: bool) -> Normalizer:
    return Normalizer(layout(), shelf(), SPEC, NormalizeSettings(**chosen))


def _usable(view: View | Unusable) -> View:
    assert isinstance(view, View), view
    return view


def test_the_reference_itself_gives_its_own_crops() -> None:
    normalizer = _normalizer()
    view = _usable(normalizer.normalize(frame(shelf())))
    assert np.abs(view.crops.astype(int) - normalizer.reference_crops).mean() < 1.0
    assert view.registration.status is RegistrationStatus.OK
    assert view.sharpness == pytest.approx(1.0, abs=0.05)
    assert np.all(view.quality.inside == 1.0)
    assert set(view.ms) == {"register", "light", "crops", "quality"}


def test_crops_come_back_from_the_side() -> None:
    normalizer, homography = _normalizer(), view_from(14, 3, 1, 0.9)
    view = _usable(normalizer.normalize(frame(noisy(seen(shelf(), homography)))))
    assert np.abs(view.crops.astype(int) - normalizer.reference_crops).mean() < 8
    corners = np.array([s.polygon for s in layout().slots]).reshape(-1, 2)
    assert view.registration.homography is not None
    off = project(view.registration.homography, corners) - project(homography, corners)
    assert np.hypot(*off.T).max() < 1.5
    assert view.quality.density.mean() == pytest.approx(0.9, abs=0.05)


def test_slots_that_leave_the_picture_say_so() -> None:
    move = np.eye(3)
    move[0, 2] = -190.0
    view = _usable(_normalizer().normalize(frame(noisy(seen(shelf(), move)))))
    assert view.quality.inside[0] < 0.6
    assert view.quality.inside[4] == 1.0
    assert view.registration.remarks == (Remark.CAMERA_MOVED, Remark.PARTLY_OUT_OF_VIEW)


def test_a_camera_that_was_moved_says_so_in_every_frame_and_one_in_its_place_says_nothing() -> None:
    normalizer = _normalizer()
    assert _usable(normalizer.normalize(frame(noisy(shelf())))).registration.remarks == ()
    walked = noisy(seen(shelf(), view_from(8, 0, 0, 0.85)))
    for second in (1, 2, 3):
        assert _usable(normalizer.normalize(frame(walked, second))).registration.remarks == (Remark.CAMERA_MOVED,)


BAD = {
    Reason.BLACK: lambda: noisy(np.full((720, 960, 3), 2, np.uint8), 1),
    Reason.OVEREXPOSED: lambda: np.clip(shelf().astype(float) * 30 + 120, 0, 255).astype(np.uint8),
    Reason.COVERED: lambda: noisy(np.full((720, 960, 3), (70, 90, 140), np.uint8), 3),
    Reason.BLURRED: lambda: cv2.GaussianBlur(shelf(), (0, 0), 16),
    Reason.WRONG_SCENE: lambda: shelf(9),
    Reason.TOO_SMALL: lambda: cv2.resize(shelf(), (120, 90)),
}


@pytest.mark.parametrize("reason", BAD, ids=str)
def test_a_picture_that_can_not_be_used_says_why(reason: Reason) -> None:
    unusable = _normalizer().normalize(frame(BAD[reason]()))
    assert isinstance(unusable, Unusable), unusable
    assert unusable.reason is reason
    assert unusable.detail
    assert unusable.registration.status is RegistrationStatus.REFUSED
    assert unusable.registration.homography is None
    assert set(unusable.ms) == {"register", "light", "crops", "quality"}


def test_a_frozen_camera_is_found_and_forgiven_when_it_lives_again() -> None:
    normalizer, still = _normalizer(), noisy(shelf())
    seen_so_far = [normalizer.normalize(frame(still, 10.0 * k)) for k in range(5)]
    assert [isinstance(v, Unusable) for v in seen_so_far] == [False, False, False, True, True]
    assert isinstance(seen_so_far[-1], Unusable)
    assert seen_so_far[-1].reason is Reason.FROZEN
    _usable(normalizer.normalize(frame(noisy(shelf(), seed=2), 50.0)))


def test_an_encoder_that_repeats_a_picture_until_its_next_keyframe_is_not_frozen() -> None:
    normalizer = _normalizer()
    for k in range(24):
        _usable(normalizer.normalize(frame(noisy(shelf(), seed=k // 8), 2.0 * k)))


def test_equal_photographs_are_not_a_frozen_camera() -> None:
    normalizer, still = _normalizer(stateless=True), noisy(shelf())
    for k in range(5):
        _usable(normalizer.normalize(frame(still, 10.0 * k)))
    streaming = _normalizer()
    for k in range(5):
        _usable(streaming.single(frame(still, 10.0 * k)))


def test_a_still_camera_keeps_its_registration_and_a_moved_one_is_registered_anew() -> None:
    normalizer = _normalizer()
    hows = []
    for k in range(4):
        view = _usable(normalizer.normalize(frame(noisy(shelf(empty=range(k)), seed=k), k)))
        hows.append(view.registration.detail)
        assert not view.registration.moved
    assert hows == ["registered", "still", "still", "still"]
    first = view.registration.homography
    homography = view_from(4, 1, 0.5)
    moved = _usable(normalizer.normalize(frame(noisy(seen(shelf(), homography), seed=9), 9)))
    assert moved.registration.moved
    assert not np.array_equal(moved.registration.homography, first)
    after = _usable(normalizer.normalize(frame(noisy(seen(shelf(), homography), seed=10), 10)))
    assert after.registration.detail == "still"
    corners = np.array([s.polygon for s in layout().slots]).reshape(-1, 2)
    assert after.registration.homography is not None
    off = project(after.registration.homography, corners) - project(homography, corners)
    assert np.hypot(*off.T).max() < 1.5


def test_a_small_bump_is_noticed() -> None:
    normalizer = _normalizer()
    normalizer.normalize(frame(noisy(shelf()), 0))
    bump = np.array([[1, 0, 3.0], [0, 1, 1.5], [0, 0, 1.0]])
    view = _usable(normalizer.normalize(frame(noisy(seen(shelf(), bump), seed=1), 1)))
    assert view.registration.moved
    assert view.registration.homography is not None
    assert np.allclose(project(view.registration.homography, np.array([[400.0, 300.0]])), [[403.0, 301.5]], atol=0.4)


def test_dusk_does_not_look_like_a_moved_camera() -> None:
    normalizer = _normalizer()
    for k, gain in enumerate((1.0, 0.9, 0.75, 0.6, 0.45)):
        view = _usable(normalizer.normalize(frame(noisy((shelf() * gain).astype(np.uint8), seed=k), k)))
        assert not view.registration.moved
    assert view.registration.detail == "still"


def test_a_hand_before_the_lens_then_the_shelf_again() -> None:
    normalizer = _normalizer()
    normalizer.normalize(frame(noisy(shelf()), 0))
    hand = normalizer.normalize(frame(noisy(np.full((720, 960, 3), (60, 80, 150), np.uint8), seed=1), 1))
    assert isinstance(hand, Unusable)
    assert hand.reason is Reason.COVERED
    _usable(normalizer.normalize(frame(noisy(shelf(), seed=2), 2)))


def test_a_grey_camera_works() -> None:
    grey = cv2.cvtColor(cv2.cvtColor(shelf(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert isinstance(_normalizer().normalize(frame(noisy(grey))), View)


def test_the_frame_is_not_written_to() -> None:
    picture = noisy(shelf() // 2)
    picture.flags.writeable = False
    kept = picture.copy()
    _usable(_normalizer().normalize(frame(picture)))
    assert np.array_equal(picture, kept)


def test_a_change_of_the_stream_size_is_registered_anew() -> None:
    normalizer = _normalizer()
    normalizer.normalize(frame(noisy(shelf()), 0))
    double = cv2.resize(noisy(shelf()), (1920, 1440), interpolation=cv2.INTER_CUBIC)
    view = _usable(normalizer.normalize(frame(double, 1)))
    assert view.quality.density.mean() == pytest.approx(2.0, abs=0.02)


def test_raw_mode_scales_the_polygons_and_refuses_nothing() -> None:
    raw = RawNormalizer(layout(), shelf(), SPEC)
    for picture in (shelf(), shelf(5), np.zeros((720, 960, 3), np.uint8), cv2.resize(shelf(), (480, 360))):
        view = _usable(raw.normalize(frame(picture)))
        assert view.registration.status is RegistrationStatus.OFF
        assert view.registration.homography is not None
        assert not view.light.applied
    same = _usable(raw.normalize(frame(shelf())))
    assert np.array_equal(same.crops, raw.reference_crops)


def test_registration_can_be_switched_off_with_the_light_on() -> None:
    view = _usable(_normalizer(register=False).normalize(frame(shelf() // 2)))
    assert view.registration.status is RegistrationStatus.OFF
    assert view.light.applied


def test_one_slot_is_enough() -> None:
    one = replace(layout(), slots=layout().slots[:1])
    view = _usable(Normalizer(one, shelf(), SPEC).normalize(frame(noisy(shelf()))))
    assert view.crops.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("gate", [True, False])
def test_tiny_and_odd_pictures_never_raise(gate: bool) -> None:
    normalizer = _normalizer(gate=gate)
    for height, width in ((1, 1), (5, 5), (1, 900), (2, 900), (97, 96), (721, 133), (100, 4000)):
        noise = np.random.default_rng(1).integers(0, 255, (height, width, 3)).astype(np.uint8)
        assert isinstance(normalizer.normalize(frame(noise)), Unusable)


def test_a_layout_whose_slots_cover_the_whole_picture_works() -> None:
    """Nothing is left to measure light, sharpness or noise on; the camera is still found, and found to be still."""
    wide, high = SIZE[0] - 1.0, SIZE[1] - 1.0
    one = replace(layout().slots[0], polygon=((0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)))
    normalizer = Normalizer(replace(layout(), slots=(one,)), shelf(), SPEC)
    views = [_usable(normalizer.normalize(frame(noisy(shelf(), seed=k), k))) for k in range(3)]
    assert [view.registration.detail for view in views] == ["registered", "still", "still"]
    assert views[-1].sharpness == 1.0
    assert not views[-1].light.applied


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_blank_reference_is_named_as_the_fault(level: int) -> None:
    blank = Normalizer(layout(), np.full((SIZE[1], SIZE[0], 3), level, np.uint8), SPEC)
    unusable = blank.normalize(frame(noisy(shelf())))
    assert isinstance(unusable, Unusable)
    assert "the reference picture itself" in unusable.detail


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (120, 90)])
def test_a_tiny_reference_never_raises(size: tuple[int, int]) -> None:
    scale = np.array(size) / SIZE
    slots = tuple(replace(s, polygon=tuple(map(tuple, np.array(s.polygon) * scale))) for s in layout().slots)
    tiny = Normalizer(replace(layout(), image_size=size, slots=slots), cv2.resize(shelf(), size), SPEC)
    assert isinstance(tiny.normalize(frame(noisy(shelf(7)))), Unusable)


def test_a_camera_that_stays_in_place_gives_the_crops_of_the_reference_grid() -> None:
    """What the fit says below half a pixel is its own error: crops are then those of the scaled layout, to the bit."""
    normalizer, raw = _normalizer(light=False), RawNormalizer(layout(), shelf(), SPEC)
    for seed, sold in enumerate(((), (2, 7), range(0, 15, 2))):
        picture = frame(noisy(shelf(empty=sold), 3.0, seed))
        assert np.array_equal(_usable(normalizer.single(picture)).crops, _usable(raw.normalize(picture)).crops)
    move = np.array([[1, 0, 0.9], [0, 1, 0.6], [0, 0, 1.0]])
    moved = _usable(normalizer.single(frame(noisy(seen(shelf(), move)))))
    assert moved.registration.homography is not None
    assert np.allclose(moved.registration.homography[:2, 2], (0.9, 0.6), atol=0.3)


def test_a_crowd_before_half_of_the_shelf_does_not_lose_it_and_one_before_nearly_all_does_until_it_goes() -> None:
    normalizer = _normalizer()
    normalizer.normalize(frame(noisy(shelf()), 0))
    half = _usable(normalizer.normalize(frame(noisy(crowd(480), seed=1), 1)))
    assert half.registration.detail == "still"
    assert not half.registration.moved
    lost = normalizer.normalize(frame(noisy(crowd(740), seed=2), 2))
    assert isinstance(lost, Unusable)
    back = _usable(normalizer.normalize(frame(noisy(shelf(), seed=99), 99)))
    assert back.registration.detail == "still"


def test_a_sister_bay_hung_before_a_registered_camera_is_not_believed() -> None:
    normalizer = _normalizer()
    normalizer.normalize(frame(noisy(shelf()), 0))
    views = [normalizer.normalize(frame(noisy(shelf(7), seed=k), k)) for k in range(1, 4)]
    assert all(isinstance(v, Unusable) and v.reason is Reason.WRONG_SCENE for v in views)


def test_another_models_crops_come_from_the_registration_that_is_held() -> None:
    normalizer, move = _normalizer(), view_from(8, 0, 0, 0.9)
    first = frame(noisy(seen(shelf(), move)))
    held = _usable(normalizer.normalize(first))
    other = normalizer.recut(CropSpec((96, 48), 0.2))
    beside = other.again(first)
    assert beside is not None and beside.crops.shape[1:] == (48, 96, 3)
    assert beside.registration.homography is held.registration.homography
    fresh = Normalizer(layout(), shelf(), CropSpec((96, 48), 0.2))
    assert np.array_equal(other.reference_crops, fresh.reference_crops)
    assert np.abs(beside.crops.astype(int) - _usable(fresh.normalize(first)).crops).mean() < 2
    second = frame(noisy(seen(shelf(), move), seed=1), 1.0)
    taken_over = _usable(other.normalize(second))
    assert taken_over.registration.detail == "still", "nothing is registered anew when the model changes"
    assert normalizer.again(first) is None, "that was an older frame"
