from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import BadConfig, EdgeError, Unavailable, Usage
from edge_runtime.workshop.field_bench.dataset import read_bench, truths_of
from workshop.conftest import write_dataset


@pytest.fixture
def field(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "field", shelves=2, frames=2, seed=4)


def _edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def _refused(folder: Path) -> EdgeError:
    with pytest.raises(EdgeError) as told:
        read_bench(folder)
    return told.value


def test_a_dataset_is_read_by_name_and_rows_keep_the_order_of_the_file(field: Path) -> None:
    shelves = read_bench(field)
    assert [shelf.name for shelf in shelves] == ["shelf00", "shelf01"]
    truths = truths_of(shelves)
    assert len(truths) == 2 * 2 * 15
    assert truths.cells == (("lab", 0), ("exposure", 2))
    assert [path.name for path in truths.frames] == ["lab-0.jpg", "exposure-1.jpg"] * 2
    assert list(truths.severity[:16]) == [0] * 15 + [2]


def test_fewer_shelves_are_the_first_ones_and_a_half_rendered_one_is_none(field: Path) -> None:
    (field / "shelves" / "shelf00.part").mkdir()
    assert [shelf.name for shelf in read_bench(field, 1)] == ["shelf00"]
    assert len(read_bench(field, 99)) == 2
    with pytest.raises(Usage, match="--shelves 0"):
        read_bench(field, 0)


def test_no_dataset_and_no_shelf_are_not_there(tmp_path: Path, field: Path) -> None:
    assert isinstance(_refused(tmp_path / "none"), Unavailable)
    (tmp_path / "empty").mkdir()
    assert "dataset.json" in str(_refused(tmp_path / "empty"))
    (tmp_path / "empty" / "dataset.json").write_bytes((field / "dataset.json").read_bytes())
    told = _refused(tmp_path / "empty")
    assert isinstance(told, Unavailable)
    assert "no shelf" in str(told)


@pytest.mark.parametrize(
    ("head", "word"), [("{", "not a dataset's head"), ('{"format":"coco"}', "'field-dataset/1'"), ("\xff", "head")]
)
def test_a_wrong_head_is_a_wrong_file(field: Path, head: str, word: str) -> None:
    (field / "dataset.json").write_text(head, "latin-1")
    told = _refused(field)
    assert isinstance(told, BadConfig)
    assert word in str(told)


@pytest.mark.parametrize(
    ("field_of", "value", "word"),
    [
        (4, "full", "the state is 'full'; one of stocked, low, empty, blocked was expected"),
        (4, "unknown", "the state is 'unknown'"),
        (3, "r9s9", "the slot 'r9s9' is not in layout.json, which has s0"),
        (0, "lab-77", "there is no picture frames/lab-77.jpg"),
        (0, "../truth", "there is no picture"),
        (0, "", "there is no picture"),
        (2, "two", "the severity is 'two'"),
        (2, "-1", "the severity is '-1'"),
        (2, "3", "the condition is 'lab' at severity 3; lab, and only lab, is severity 0"),
        (1, "", "the condition is ''"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(field: Path, field_of: int, value: str, word: str) -> None:
    table = field / "shelves" / "shelf01" / "truth.csv"

    def change(lines: list[str]) -> list[str]:
        cells = lines[1].split(",")
        cells[field_of] = value
        return [lines[0], ",".join(cells), *lines[2:]]

    _edit(table, change)
    told = _refused(field)
    assert isinstance(told, BadConfig)
    assert f"{table}:2: {word}" in str(told)
    assert told.mend


def test_all_faults_are_told_at_once_and_many_are_counted(field: Path) -> None:
    table = field / "shelves" / "shelf00" / "truth.csv"
    _edit(table, lambda lines: [lines[0], *(line.replace(",s", ",x") for line in lines[1:])])
    told = _refused(field)
    assert isinstance(told, BadConfig)
    assert len(told.faults) == 30
    assert "and 10 more lines" in str(told)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "has the columns none"),
        ("frame,slot,state\nlab-0,s0,low\n", "has the columns frame, slot, state"),
        ("frame,condition,severity,slot,state,covered\n", "holds no row"),
        ("frame,condition,severity,slot,state,covered\nlab-0\n", ":2: the state is ''"),
    ],
)
def test_what_is_no_truth_table_is_told(field: Path, text: str, word: str) -> None:
    (field / "shelves" / "shelf00" / "truth.csv").write_text(text)
    told = _refused(field)
    assert isinstance(told, BadConfig)
    assert word in str(told)


def test_a_table_that_is_not_there_or_not_text(field: Path) -> None:
    table = field / "shelves" / "shelf00" / "truth.csv"
    table.write_bytes(b"frame,condition,severity,slot,state,covered\nlab-0,\xff\xfe,0,s0,low,0\n")
    assert isinstance(_refused(field), BadConfig)
    table.unlink()
    assert isinstance(_refused(field), Unavailable)


def test_a_slot_given_twice_and_a_frame_of_two_conditions(field: Path) -> None:
    table = field / "shelves" / "shelf00" / "truth.csv"
    _edit(table, lambda lines: [*lines, lines[1], lines[2].replace("lab,0,s1", "night,2,s1")])
    told = str(_refused(field))
    assert "slot 's0' of frame 'lab-0' is given twice" in told
    _edit(table, lambda lines: [lines[0], lines[1], lines[2].replace("lab,0,s1", "night,2,s1")])
    assert "frame 'lab-0' is night S2 here and lab S0 before" in str(_refused(field))
