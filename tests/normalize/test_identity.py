"""What is written on the rails tells the commissioned shelf from its sisters, and the right geometry from a near one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from edge_runtime.normalize.anchors import Anchors
from edge_runtime.normalize.features import Grey
from edge_runtime.normalize.identity import ELSEWHERE, RAILS, Identity
from edge_runtime.normalize.warp import Warp
from tests.normalize.painted import SIZE, layout, noisy, seen, shelf, view_from


def _grey(image: np.ndarray) -> Grey:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


@cache
def _commissioned() -> tuple[Anchors, Identity]:
    anchors = Anchors(layout(), _grey(shelf()))
    return anchors, Identity(layout(), anchors.flat)


def _agreement(picture: np.ndarray, homography: np.ndarray) -> float:
    anchors, identity = _commissioned()
    warp = Warp(homography, (picture.shape[1], picture.shape[0]))
    return identity.agreement(anchors.unwarped(_grey(picture), warp), warp)


@pytest.mark.parametrize("light", [0.3, 0.6, 1.0, 1.15])
def test_the_shelf_agrees_whatever_stands_on_it_and_in_any_light(light: float) -> None:
    homography = view_from(12, 3, 1)
    picture = np.clip(seen(shelf(packs=50, empty=(2, 9)), homography) * light, 0, 255).astype(np.uint8)
    assert _agreement(noisy(picture), homography) > 0.7


@pytest.mark.parametrize("seed", range(2, 8))
def test_a_sister_with_every_product_in_the_same_place_does_not_agree(seed: int) -> None:
    assert _agreement(noisy(shelf(seed, packs=1)), np.eye(3)) < RAILS - 0.1


def test_a_geometry_that_is_a_stroke_off_agrees_less() -> None:
    off = [_agreement(noisy(shelf()), np.array([[1, 0, x], [0, 1, 0], [0, 0, 1.0]])) for x in (0.0, 3.0, 6.0)]
    assert off[0] > 0.9
    assert off[0] > off[1] + 0.15
    assert off[2] < RAILS


def test_nothing_is_known_of_a_frame_that_shows_next_to_nothing_of_the_rails() -> None:
    away = np.array([[1, 0, -900.0], [0, 1, -650.0], [0, 0, 1.0]])
    assert _agreement(noisy(seen(shelf(), away)), away) == 0.0


def test_where_rails_are_blank_more_is_asked_of_what_is_beside_the_slots() -> None:
    bare = shelf()
    for slot in layout().slots:
        (x0, _), _, (x1, y1), _ = slot.polygon
        cv2.rectangle(bare, (int(x0) - 10, int(y1)), (int(x1) + 10, int(y1) + 36), (196, 200, 204), -1)
    anchors = Anchors(layout(), _grey(bare))
    assert _commissioned()[1].needed == RAILS
    assert Identity(layout(), anchors.flat).needed == ELSEWHERE


def test_a_layout_of_one_slot_over_all_of_the_picture_is_told_by_all_that_is_in_it() -> None:
    wide, high = SIZE[0] - 1.0, SIZE[1] - 1.0
    one = replace(layout().slots[0], polygon=((0.0, 0.0), (wide, 0.0), (wide, high), (0.0, high)))
    made = replace(layout(), slots=(one,))
    anchors = Anchors(made, _grey(shelf()))
    identity, here = Identity(made, anchors.flat), Warp(np.eye(3), SIZE)
    assert identity.needed == ELSEWHERE
    assert identity.agreement(anchors.unwarped(_grey(noisy(shelf())), here), here) > 0.9
    assert identity.agreement(anchors.unwarped(_grey(noisy(shelf(3))), here), here) < ELSEWHERE
