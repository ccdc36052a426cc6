from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.records import State
from edge_runtime.web.annotate import COLOURS, Tag, draw_frame, draw_sheet, draw_view, encode_jpeg, readings_of

from .outcomes import SIZE, good, layout, refused, shelf


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where an RGB colour is to be seen in a BGR picture."""
    return np.abs(picture.astype(int) - np.array(colour[::-1])).sum(2) < 40


def test_the_normalized_picture_lies_on_the_reference_and_shows_every_state() -> None:
    picture = draw_view(good(), layout(), readings_of(good()))
    assert picture is not None
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    for slot, tag in zip(layout().slots, readings_of(good()).values(), strict=True):
        (x, y), _, (right, bottom), _ = (tuple(map(int, p)) for p in slot.polygon)
        assert near(picture[y : bottom + 1, x : right + 1], COLOURS[tag.state]).sum() > 100, slot.id
    _, green, red = (picture[100:150, 60:120] / np.maximum(1, shelf()[100:150, 60:120])).reshape(-1, 3).mean(0)
    assert red < green, "the light match of the outcome (red 0.9) is applied"


def test_the_captured_picture_is_not_written_to() -> None:
    outcome = good()
    before = outcome.frame.pixels.copy()
    drawn = draw_frame(outcome, layout(), readings_of(outcome))
    assert np.array_equal(outcome.frame.pixels, before)
    assert not np.array_equal(drawn, before)


def test_a_refused_frame_has_no_normalized_picture_but_a_sheet_that_says_why() -> None:
    assert draw_view(refused(), layout(), {}) is None
    sheet = draw_sheet(refused(), layout())
    assert sheet.shape[0] > SIZE[1]
    pane = sheet[60 : 60 + SIZE[1] // 2, sheet.shape[1] // 2 + 20 : -20]
    assert near(pane, (255, 255, 255)).any(), "the empty pane says why it is empty"


@pytest.mark.parametrize("limit", [64, 320])
def test_pictures_keep_to_the_asked_size(limit: int) -> None:
    picture = draw_view(good(), layout(), {"r0s0": Tag(State.EMPTY, 1.0)}, limit)
    assert picture is not None
    assert max(picture.shape[:2]) == limit
    assert encode_jpeg(picture)[:2] == b"\xff\xd8"
