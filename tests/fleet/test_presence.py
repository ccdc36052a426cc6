"""Birth, will and farewell: whose word is the last one on the device's own topic."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from edge_runtime.fleet.presence import AGAIN_S, OUTLIVED, Presence
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.retained import DOUBTS, LATE_S, SLOW_S
from edge_runtime.telemetry.topics import Topics

STAMP = Stamp(Topics("store", "box"), 5)


@dataclass
class Case:
    """A device in its third connection, and its clock."""

    hears_itself: bool = True
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.presence = Presence(STAMP, lambda: 1_000.0, lambda: self.now_s, self.hears_itself, 30.0)
        self.presence.will(3)
        self.presence.birth()


def words(session: int, connection: int, state: str = "offline") -> bytes:
    return encode(builders.availability(Stamp(STAMP.topics, session), 900.0, connection, state, "lost"))


def test_all_three_carry_the_number_of_the_connection() -> None:
    case = Case()
    found = [
        json.loads(said()) for said in (lambda: case.presence.will(4), case.presence.birth, case.presence.farewell)
    ]
    assert [(each["state"], each["reason"], each["connection"]) for each in found] == [
        ("offline", "lost", 4), ("online", "connected", 4), ("offline", "stopped", 4)
    ]  # fmt: skip


@pytest.mark.parametrize(("session", "connection"), [(5, 2), (5, 3), (4, 9)])
def test_after_an_older_will_the_birth_is_due_once_more(session: int, connection: int) -> None:
    case = Case()
    assert not case.presence.due()
    case.presence.heard(words(session, connection))
    assert not case.presence.due(), "somebody may go on saying the opposite"
    case.now_s += AGAIN_S
    assert case.presence.due()
    assert not case.presence.due()


def test_words_of_others_the_own_birth_and_nonsense_change_nothing() -> None:
    case = Case()
    for payload in (words(6, 1), words(5, 4), words(5, 3, "online"), words(4, 1, "online"), b"", b"{", b"[" * 9_999):
        case.presence.heard(payload)
    case.now_s += 1e6
    assert not case.presence.due()


def test_who_does_not_hear_itself_says_it_again_when_no_older_connection_can_be_left() -> None:
    case = Case(hears_itself=False)
    case.now_s += OUTLIVED * 30.0 - 1.0
    assert not case.presence.due()
    case.now_s += 1.0
    assert case.presence.due()
    assert not case.presence.due()
    case.presence.will(4)
    case.now_s += OUTLIVED * 30.0
    assert case.presence.due(), "anew in each connection"


@pytest.mark.parametrize(
    ("after_s", "outcome", "doubted"),
    [
        (0.1, Delivery.ACKNOWLEDGED, False),
        (SLOW_S, Delivery.ACKNOWLEDGED, True),
        (SLOW_S, Delivery.PENDING, False),
        (LATE_S, Delivery.PENDING, True),
        (LATE_S, Delivery.REFUSED, False),
    ],
)
def test_a_birth_whose_answer_is_late_or_missing_is_said_again(
    after_s: float, outcome: Delivery, doubted: bool
) -> None:
    case = Case()
    case.now_s += after_s
    case.presence.answered(outcome)
    case.now_s += AGAIN_S
    assert case.presence.due() is doubted


def test_a_birth_that_is_always_late_is_said_a_few_times_and_anew_with_the_next_connection() -> None:
    case = Case()
    births = 0
    for _ in range(100):
        case.now_s += SLOW_S
        case.presence.answered(Delivery.ACKNOWLEDGED)
        if case.presence.due():
            case.presence.birth()
            births += 1
    assert births == DOUBTS
    case.presence.will(4)
    case.presence.birth()
    case.now_s += SLOW_S
    case.presence.answered(Delivery.ACKNOWLEDGED)
    case.now_s += AGAIN_S
    assert case.presence.due()
