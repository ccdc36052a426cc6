from __future__ import annotations

from edge_runtime.fleet.twins import REMEMBERED_S, Twins
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.topics import Topics

TOPICS = Topics("store", "box")


def words(session: int, at: float) -> bytes:
    return encode(builders.availability(Stamp(TOPICS, session), at, 1, "offline", "lost"))


class Case:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.twins = Twins(Stamp(TOPICS, 5), lambda: self.now_s)


def test_what_lies_there_at_the_first_connect_is_of_an_earlier_start() -> None:
    case = Case()
    case.twins.found(words(4, 900.0))
    case.twins.found(words(77, 900.0))
    assert not case.twins.suspected


def test_words_of_another_session_after_the_own_birth_are_a_twin() -> None:
    for session, at in ((77, 10.0), (2, 1_100.0)):
        case = Case()
        case.twins.born(1_000.0)
        case.twins.found(words(session, at))
        assert case.twins.suspected and case.twins.count == 1


def test_own_words_older_words_and_nonsense_are_none() -> None:
    case = Case()
    case.twins.born(1_000.0)
    for payload in (words(5, 1_100.0), words(4, 900.0), b"", b"{", b"[" * 9_999):
        case.twins.found(payload)
    assert not case.twins.suspected


def test_it_is_forgotten_after_a_while() -> None:
    case = Case()
    case.twins.sign()
    case.now_s += 10.0
    case.twins.sign()
    assert case.twins.count == 2 and case.twins.seen_since(5.0) and not case.twins.seen_since(11.0)
    case.now_s += REMEMBERED_S
    assert not case.twins.suspected
    case.twins.sign()
    assert case.twins.count == 1
