"""Disagreement without labels: who is heard, what counts once, and what an equal model may do."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.lifecycle.guard import SlotPair, witnesses
from edge_runtime.lifecycle.guard.disputes import DisputeTest
from edge_runtime.lifecycle.guard.settings import DisputeSettings
from edge_runtime.records import State
from tests.lifecycle.guard.frames import BLOCKED, EMPTY, LOW, STOCKED, UNKNOWN, pair

SETTINGS = DisputeSettings()
PAIRS = st.builds(
    SlotPair,
    st.just("a"),
    st.sampled_from([str(slot) for slot in range(8)]),
    st.sampled_from([STOCKED, LOW, EMPTY, UNKNOWN, BLOCKED]),
    st.sampled_from([STOCKED, LOW, EMPTY, UNKNOWN, BLOCKED]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.none() | st.floats(-1.0, 1.0),
)


def judged(*frames: list[SlotPair]) -> DisputeTest:
    test = DisputeTest(SETTINGS)
    for pairs in frames:
        test.take(pairs)
    return test


@given(PAIRS)
def test_exchanging_the_models_exchanges_the_testimony(one: SlotPair) -> None:
    other = replace(
        one,
        mine=one.theirs,
        theirs=one.mine,
        mine_confidence=one.theirs_confidence,
        theirs_confidence=one.mine_confidence,
    )
    assert -1.0 <= witnesses.testimony(one, SETTINGS) <= 1.0
    assert abs(witnesses.testimony(one, SETTINGS) + witnesses.testimony(other, SETTINGS)) < 1e-9


def test_the_reference_picture_is_believed_more_than_a_sure_model() -> None:
    sure = {"mine_confidence": 0.99, "theirs_confidence": 0.6, "likeness": 0.98}
    assert witnesses.testimony(pair(LOW, STOCKED, **sure), SETTINGS) > 0.5
    assert witnesses.testimony(pair(EMPTY, STOCKED, **(sure | {"likeness": 0.2})), SETTINGS) < 0
    assert witnesses.testimony(pair(STOCKED, EMPTY, theirs_confidence=0.6, mine_confidence=0.6), SETTINGS) < -0.5


def test_pictures_of_the_same_pixels_are_one_piece_of_evidence() -> None:
    frames = [[pair(LOW, STOCKED)]] * 200
    test = judged(*frames)
    assert test.looks == test.disputes == 1
    assert not test.verdict().fall_back


def test_a_dispute_must_last_and_a_shopper_before_it_does_not_end_the_look() -> None:
    flicker = [[pair(LOW, STOCKED)], [pair(STOCKED, STOCKED)]] * 10
    assert judged(*flicker).disputes == 0
    passing = [[pair(LOW, STOCKED)], [pair(BLOCKED, BLOCKED)], [pair(LOW, STOCKED)], [pair(LOW, STOCKED)]]
    assert judged(*passing, *passing).disputes == 1


def test_losses_on_many_slots_condemn_and_wins_do_not() -> None:
    def life(mine: State, theirs: State) -> DisputeTest:
        disputed = [pair(mine, theirs, str(slot)) for slot in range(14)]
        return judged(*[disputed] * 3)

    assert life(LOW, STOCKED).verdict().rule == "disputes"
    assert not life(STOCKED, LOW).verdict().fall_back


def test_the_same_slot_again_and_again_counts_less_each_time() -> None:
    test, gains = DisputeTest(SETTINGS), []
    for _ in range(10):
        before = test.log_wealth
        test.take([pair(LOW, STOCKED, novelty=1.0)])
        test.take([pair(LOW, STOCKED)])
        test.take([pair(LOW, STOCKED)])
        gains.append(test.log_wealth - before)
    assert test.disputes == 10 and gains[0] > gains[-1] > 0


def test_it_names_the_slots_where_a_label_would_say_most() -> None:
    test = judged(*[[pair(LOW, STOCKED, "1"), pair(STOCKED, STOCKED, "2")]] * 3)
    assert test.worth_asking == (("a", "1"),)


@given(st.lists(st.lists(PAIRS, max_size=8), max_size=20))
def test_whatever_is_compared_evidence_is_a_number(frames: list[list[SlotPair]]) -> None:
    test = judged(*frames)
    assert test.disputes <= test.looks
    assert abs(test.log_wealth) < 1e6 and abs(test.log_excess) < 1e6


def test_one_answer_to_everything_is_a_collapse_even_if_that_answer_is_mostly_right() -> None:
    def shown(theirs: list[State]) -> DisputeTest:
        test = DisputeTest(SETTINGS)
        for _ in range(5):
            sold = [pair(STOCKED, said, str(slot), novelty=1.0, likeness=None) for slot, said in enumerate(theirs)]
            test.take(sold)
            for _ in range(2):
                test.take([replace(one, novelty=0.0) for one in sold])
        return test

    assert shown([STOCKED] * 15 + [LOW, EMPTY, LOW, EMPTY, LOW]).verdict().rule == "collapse"
    assert not shown([STOCKED] * 19 + [LOW]).verdict().fall_back
