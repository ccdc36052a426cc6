"""A look at the fleet: whole, or said not to be."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from edge_runtime.fleet.operator.connection import Arrived
from edge_runtime.fleet.operator.survey import survey


class Broker:
    """What a connection gives, a message a time; it has caught up when none is left, if ever."""

    def __init__(self, left: float, answers: bool = True) -> None:
        self.left = left
        self.caught_up, self._answers = threading.Event(), answers

    def drain(self, wait_s: float) -> Iterator[Arrived]:
        if self.left > 0:
            self.left -= 1
            yield Arrived("t", b"", True, 1.0)
        elif self._answers:
            self.caught_up.set()


def test_a_look_that_is_cut_short_says_so():
    whole, part, mute = Broker(5), Broker(float("inf")), Broker(2, answers=False)
    heard: list[Arrived] = []
    assert survey(whole, heard.append, 20.0) and len(heard) == 5
    assert not survey(part, heard.append, 0.2)
    assert not survey(mute, heard.append, 0.2)
