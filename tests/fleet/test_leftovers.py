from __future__ import annotations

from edge_runtime.fleet.leftovers import LISTEN_S, MAX_TOPICS, Leftovers

PREFIX = "edge/v1/store/box/shelf/"


class Case:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.leftovers = Leftovers(PREFIX, {f"{PREFIX}cam"}, lambda: self.now_s)


def test_only_what_is_retained_and_not_known_is_cleared_and_once() -> None:
    case = Case()
    assert case.leftovers.filter == f"{PREFIX}+" and case.leftovers.begin()
    for name, payload, retained in (
        ("cam", b"x", True),
        ("old", b"x", True),
        ("new", b"x", False),
        ("gone", b"", True),
    ):
        assert case.leftovers.heard(PREFIX + name, payload, retained)
    assert not case.leftovers.heard("edge/v1/store/box/status", b"x", True)
    assert case.leftovers.to_clear() == (f"{PREFIX}old",)
    assert case.leftovers.to_clear() == ()


def test_it_listens_once_a_start_and_anew_if_the_connection_went() -> None:
    case = Case()
    assert case.leftovers.begin()
    case.now_s = LISTEN_S - 1
    assert not case.leftovers.finish()
    assert case.leftovers.begin(), "the connection was lost: it was not long enough"
    case.now_s = 3 * LISTEN_S
    assert case.leftovers.finish() and case.leftovers.over
    assert not case.leftovers.begin() and not case.leftovers.finish()
    assert not case.leftovers.heard(f"{PREFIX}old", b"x", True)


def test_a_broker_that_invents_topics_is_not_followed_for_long() -> None:
    case = Case()
    case.leftovers.begin()
    for number in range(10_000):
        case.leftovers.heard(f"{PREFIX}{number}", b"x", True)
    assert len(case.leftovers.to_clear()) == MAX_TOPICS
