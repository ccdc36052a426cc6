"""What of a picture leaves the device: with a person in front of the shelf, for every policy."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.daemon.faces import Faces
from edge_runtime.daemon.photographer import MAX_JPEG_BYTES, Photographer, Shot, encode_bounded, take
from edge_runtime.daemon.privacy import GREY, Box, blurred, only_slots
from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.fleet.handlers import Picture
from edge_runtime.records import ANSWERS, Image, Outcome, Slot, State, View
from tests.daemon.rig import Rig, shelf_picture

FACE = Path(__file__).parent / "pictures" / "astronaut.jpg"
EYES = (slice(90, 120), slice(80, 130))
"""Rows and columns of the eyes in FACE."""


class NoFaces:
    """Finds nobody."""

    def find(self, pixels: Image) -> tuple[Box, ...]:
        return ()


def face() -> Image:
    found = cv2.imread(str(FACE))
    assert found is not None
    return np.ascontiguousarray(found, np.uint8)


def with_person(x: int = 40, side: int = 110) -> tuple[Image, tuple[slice, slice]]:
    """The shelf with a face before it, and where its eyes are."""
    picture, head = shelf_picture().copy(), cv2.resize(face(), (side, side))
    picture[60 : 60 + side, x : x + side] = head
    rows = slice(60 + EYES[0].start * side // 240, 60 + EYES[0].stop * side // 240)
    columns = slice(x + EYES[1].start * side // 220, x + EYES[1].stop * side // 220)
    return picture, (rows, columns)


def detail_left(before: Image, after: Image) -> float:
    """Of fine structure, as a share of what there was: eyes and mouth are that."""

    def fine(pixels: Image) -> float:
        return float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.CV_32F).std())

    return fine(after) / fine(before)


def outcome_of(rig: Rig, pixels: Image) -> Outcome:
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 6, shelf_picture())
    rig.turns(daemon, 1, pixels)
    found = daemon.roster.stations["a"].outcome
    daemon.close()
    assert found is not None
    return found


@pytest.mark.parametrize("size", [(960, 720), (1920, 1080), (320, 240)])
@pytest.mark.parametrize("side", [40, 90, 200])
def test_a_face_is_found_wherever_and_however_large_it_is(size: tuple[int, int], side: int) -> None:
    scene = cv2.resize(shelf_picture(), size)
    for x, y in ((0, 0), (size[0] - side, size[1] - side), (size[0] // 3, size[1] // 7)):
        scene[y : y + side, x : x + side] = cv2.resize(face(), (side, side))
    boxes = Faces().find(np.ascontiguousarray(scene))
    for x, y in ((0, 0), (size[0] - side, size[1] - side), (size[0] // 3, size[1] // 7)):
        middle = (x + side * 0.46, y + side * 0.46)
        assert any(bx < middle[0] < bx + w and by < middle[1] < by + h for bx, by, w, h in boxes), (x, y)


def test_a_blurred_face_has_nothing_left_of_its_features_and_the_rest_is_as_it_was() -> None:
    picture, eyes = with_person()
    before = picture.copy()
    after = blurred(picture, Faces().find(picture))
    assert detail_left(before[eyes], after[eyes]) < 0.15
    assert np.array_equal(after[:30], before[:30]) and np.array_equal(picture, before)


@pytest.mark.parametrize("box", [(-50.0, -50.0, 20.0, 20.0), (310.0, 230.0, 90.0, 90.0), (5.0, 5.0, 0.0, 0.0)])
def test_a_box_that_reaches_out_of_the_picture_is_no_fault(box: Box) -> None:
    assert blurred(shelf_picture(), [box]).shape == shelf_picture().shape


def test_slots_shows_slots_and_no_person_in_front_of_them(tmp_path: Path) -> None:
    picture, eyes = with_person(x=100, side=130)
    outcome = outcome_of(Rig(tmp_path), picture)
    slots = Rig(tmp_path).open_station(Rig(tmp_path).config.cameras[0], None).parts.layout.slots
    shot = take(outcome, slots, "slots", Faces)
    after = cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert after is not None and shot.policy == "slots"
    assert detail_left(picture[eyes], np.ascontiguousarray(after[eyes], np.uint8)) < 0.3
    assert float(np.abs(after[:30].astype(int) - GREY).max()) < 12


def test_a_slot_that_the_frame_did_not_answer_is_grey(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    slots = rig.open_station(rig.config.cameras[0], None).parts.layout.slots
    shown = only_slots(outcome, slots)
    assert shown is not None and float(shown[60:180, 45:65].std()) > 5
    first, *others = outcome.readings
    for state in (State.BLOCKED, State.UNKNOWN):
        hidden = only_slots(replace(outcome, readings=(replace(first, state=state), *others)), slots)
        assert hidden is not None and (hidden[60:180, 45:65] == GREY).all()
        assert float(hidden[60:180, 110:130].std()) > 5


def test_where_the_slots_are_not_found_nothing_is_shown(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, np.zeros_like(shelf_picture()))
    slots = rig.open_station(rig.config.cameras[0], None).parts.layout.slots
    with pytest.raises(TryAgain, match="can not be found"):
        take(outcome, slots, "slots", NoFaces)
    assert take(outcome, slots, "whole", NoFaces).jpeg  # it is the picture that was asked for


def test_without_a_detector_nothing_is_shown(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    with pytest.raises(Unavailable, match="face detector"):
        take(outcome, (), "faces-blurred", lambda: Faces(tmp_path / "none.onnx"))


def test_pictures_are_made_one_at_a_time_and_only_where_they_are_allowed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    photographer, station = Photographer(NoFaces), daemon.roster.stations["a"]
    with pytest.raises(TryAgain, match="no picture"):
        photographer.shoot(station, "whole")
    rig.turns(daemon, 2, shelf_picture())
    with pytest.raises(Refused, match="snapshots is off"):
        photographer.shoot(station, "off")
    picture = made(photographer.shoot(station, "whole"))
    assert (picture.camera, picture.width, picture.height, picture.policy) == ("a", 320, 240, "whole")
    photographer.shoot(station, "whole")  # whoever asked for this one went away
    while True:
        try:
            assert made(photographer.shoot(station, "slots")).policy == "slots"
            break
        except TryAgain:
            time.sleep(0.01)
    daemon.close()


def made(shot: Shot) -> Picture:
    while (picture := shot.picture()) is None:
        time.sleep(0.005)
    assert shot.picture() is picture
    return picture


def test_a_picture_that_does_not_compress_is_made_smaller_until_it_fits() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1500, 2000, 3), np.uint8)
    small, jpeg = encode_bounded(noise, MAX_JPEG_BYTES)
    assert len(jpeg) <= MAX_JPEG_BYTES and max(small.shape) <= 1280


def test_where_hidden_slots_overlap_nothing_is_shown_either(tmp_path: Path) -> None:
    """Outlines that are filled together cancel out where they overlap: blocked neighbours would uncover each other."""
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    shelf, left, right = (
        replace(slot, id=name) for slot, name in zip(slots_of(rig), ("shelf", "left", "right"), strict=False)
    )
    shelf = replace(shelf, polygon=((30, 40), (210, 40), (210, 190), (30, 190)))
    left = replace(left, polygon=((60, 60), (140, 60), (140, 170), (60, 170)))
    right = replace(right, polygon=((100, 60), (180, 60), (180, 170), (100, 170)))
    reading = outcome.readings[0]
    states = {"shelf": State.STOCKED, "left": State.BLOCKED, "right": State.BLOCKED}
    readings = tuple(replace(reading, slot=name, state=state) for name, state in states.items())
    for slots in ((shelf, left, right), (left, right, shelf), (shelf, left, replace(left, id="right"))):
        shown = only_slots(replace(outcome, readings=readings, statuses=()), slots)
        assert shown is not None
        assert (shown[75:155, 105:135] == GREY).all() and float(shown[75:155, 190:205].std()) > 5


def test_a_slot_that_is_blocked_over_time_is_grey_though_this_frame_answers_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    blocked = tuple(replace(status, state=State.BLOCKED) for status in outcome.statuses)
    assert blocked and all(reading.state in ANSWERS for reading in outcome.readings)
    for statuses in (blocked, (*blocked[:1], *outcome.statuses[1:])):
        shown = only_slots(replace(outcome, statuses=statuses), slots_of(rig))
        assert shown is not None and (shown[60:180, 45:65] == GREY).all()


def test_where_a_hidden_slot_can_not_be_outlined_nothing_is_shown(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    assert isinstance(outcome.view, View)
    tilted = np.array(
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0 / 55.0, 0.0, 1.0]]
    )  # the horizon runs through the first slot
    view = replace(outcome.view, registration=replace(outcome.view.registration, homography=tilted))
    first, *others = outcome.readings
    readings = (replace(first, state=State.BLOCKED), *others)
    assert only_slots(replace(outcome, view=view, readings=readings, statuses=()), slots_of(rig)) is None


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_detector_that_answers_nonsense_shows_nothing_and_ends_nothing(tmp_path: Path, wrong: float) -> None:
    class Nonsense:
        def find(self, pixels: Image) -> tuple[Box, ...]:
            return ((10.0, 10.0, wrong, 20.0),)

    rig = Rig(tmp_path)
    outcome = outcome_of(rig, shelf_picture())
    with pytest.raises(TryAgain, match="could not be made"):
        take(outcome, (), "faces-blurred", Nonsense)


def slots_of(rig: Rig) -> tuple[Slot, ...]:
    return rig.open_station(rig.config.cameras[0], None).parts.layout.slots
