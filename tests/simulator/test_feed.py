"""The camera's loop: what it remembers, and that it ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_runtime.simulator.demo import demo_day
from edge_runtime.simulator.feed import Fault, Feed, spoiled


def test_past_frames_are_remembered_without_their_pictures() -> None:
    feed = Feed(demo_day(size=(160, 120)), fps=50)
    feed.start()
    try:
        shot = feed.after(3, 20.0)
        assert shot is not None and shot.data[:2] == b"\xff\xd8"
        record = tuple(feed.since(0.0))
        assert [old.sequence for old in record][:3] == [1, 2, 3]
        assert not any(old.data for old in record)
        assert all(len(old.truth) == 24 for old in record)
    finally:
        feed.stop()
    assert feed.after(10**9, 60.0) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "feed"]


def test_faults_spoil_the_picture_but_not_the_truth() -> None:
    frame = demo_day(size=(160, 120)).frame_at(3.0)
    assert np.array_equal(spoiled(frame, Fault.STALL, 1), frame.image)
    assert spoiled(frame, Fault.BLACK, 1).mean() < 8
    covered = spoiled(frame, Fault.COVERED, 1)
    assert covered.std() < 0.5 * frame.image.std()


def test_a_camera_that_hardly_ever_looks_is_refused() -> None:
    with pytest.raises(ValueError, match="fps"):
        Feed(demo_day(size=(160, 120)), fps=0.0)
