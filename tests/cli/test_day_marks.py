"""What counts as told, as late, as false: small days whose score is plain to see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_runtime.cli.day_marks import DayMarks, DayScore
from edge_runtime.cli.day_truth import LASTING, Seen, read_truth, standing
from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.records import Event, SlotStatus, State

S, L, E, B = State.STOCKED, State.LOW, State.EMPTY, State.BLOCKED
LETTERS = {"s": S, "l": L, "e": E}


def seen(text: str) -> list[Seen]:
    """`s`, `l`, `e`: what stands in the slot; a capital is hidden."""
    return [Seen(LETTERS[letter.lower()], letter.islower()) for letter in text]


def score(truth: str, said: str, told: dict[int, str]) -> DayMarks:
    """One slot: the truth, what is published, and capture -> letter of the events that were told."""
    day, before = DayScore(), said[0]
    for number, (row, letter) in enumerate(zip(seen(truth), said, strict=True)):
        status = SlotStatus("a", "sku", LETTERS[letter], 0.9, 0.0)
        events = []
        if number in told:
            now = LETTERS[told[number]]
            events = [Event(f"{number}", "slot", "cam", float(number), "a", LETTERS[before], now, 0.9)]
            before = told[number]
        day.take(float(number), {"a": row}, [status], events)
    return day.marks()


def test_a_change_told_in_the_second_capture() -> None:
    marks = score("ssssslllll", "sssssslllll"[:10], {6: "l"})
    assert (marks.wanted, marks.told, marks.right, marks.delays) == (1, 1, 1, [2])
    summary = marks.summary()
    assert (summary["event_recall"], summary["event_precision"], summary["false_alerts_per_day"]) == (1.0, 1.0, 0.0)
    assert summary["captures_to_detect_p95"] == 2


def test_captures_in_which_the_slot_is_hidden_are_not_held_against_it() -> None:
    assert score("sssssEEEeeee", "ssssssssssee", {9: "e"}).delays == [2]


def test_what_is_told_after_the_next_change_comes_too_late() -> None:
    marks = score("sssslllleeee", "ssssssssssss", {9: "l"})
    assert (marks.wanted, marks.right, len(marks.false)) == (2, 0, 1)
    assert [(change.state, change.first) for change in marks.missed] == [(L, 4), (E, 8)]


def test_a_wrong_state_is_a_false_alert_and_the_right_one_is_still_missed() -> None:
    marks = score("sssssllllll", "sssssseeeee", {6: "e"})
    assert (marks.right, len(marks.false), len(marks.missed)) == (0, 1, 1)


def test_the_same_change_told_twice_counts_once() -> None:
    marks = score("ssssseeeeeeee", "ssssseesseeee"[:13], {6: "e", 8: "s", 10: "e"})
    assert (marks.right, len(marks.false)) == (1, 2)


def test_what_comes_and_goes_is_neither_asked_for_nor_false() -> None:
    truth = "sssss" + "e" * (LASTING - 1) + "sssss"
    assert score(truth, "s" * len(truth), {}).wanted == 0
    told = score(truth, "s" * len(truth), {6: "e", 9: "s"})
    assert (told.wanted, told.told, told.false) == (0, 0, [])


def test_availability_counts_hidden_stock_in_the_truth() -> None:
    marks = score("ssssEEEEss", "sssseeeess", {})
    assert marks.availability_errors == [pytest.approx(100 * (5 / 9 - 6 / 10))]


def test_days_add_up() -> None:
    two = score("ssssslllll", "ssssssllll", {6: "l"}) + score("ssssslllll", "ssssssssss", {})
    assert two.summary()["event_recall"] == 0.5 and two.summary()["days"] == 2


def test_nothing_to_measure_is_none_not_a_fault() -> None:
    summary = DayMarks().summary()
    assert summary["event_recall"] is None and summary["captures_to_detect_median"] is None


def test_short_runs_between_equal_ones_do_not_split_them() -> None:
    assert [(c.state, c.first, c.end) for c in standing("a", seen("sssssllssssseeeee"))] == [(S, 0, 12), (E, 12, 17)]


def write(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_a_field_datasets_truth_is_taken_in_the_order_of_its_names(tmp_path: Path) -> None:
    header = "frame,condition,severity,slot,state,covered"
    path = write(tmp_path / "truth.csv", header, "b,lab,0,x,blocked,0.9", "a,lab,0,x,empty,0", "c,lab,0,x,low,0")
    truth = read_truth(path, 2.0)
    assert len(truth) == 3
    assert truth.at(2.1, 1.0) == {"x": Seen(E, False)}
    assert truth.at(4.0, 1.0) == {"x": Seen(L, True)}
    assert truth.at(9.0, 1.0) is None


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (("frame,slot",), "no rows"),
        (("frame,slot", "1,a"), ":2: there is no state"),
        (("frame,slot,state", "1,a,low", "2,a,full"), ":3: state is 'full'"),
        (("frame,slot,state,t", "1,a,low,x"), ":2: t is 'x'"),
    ],
)
def test_a_table_that_is_no_truth_is_refused(tmp_path: Path, rows: tuple[str, ...], told: str) -> None:
    with pytest.raises(BadConfig, match=re.escape(told)):
        read_truth(write(tmp_path / "truth.csv", *rows), 1.0)


def test_a_truth_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        read_truth(tmp_path / "none.csv", 1.0)
