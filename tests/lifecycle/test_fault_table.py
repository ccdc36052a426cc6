"""The page of the campaigns: rows survive a rewrite, failures come first, and no campaign is forgotten."""

from __future__ import annotations

from pathlib import Path

import benchmarks.faults
from benchmarks.faults.__main__ import CAMPAIGNS
from benchmarks.faults.row import Row
from benchmarks.faults.table import PAGE, read_rows, with_rows

EMPTY = "# Faults\n<!-- table -->\n<!-- end of table -->\nthe end\n"


def test_rows_are_replaced_by_campaign_and_failures_come_first() -> None:
    first = with_rows(
        EMPTY, {"one": [Row(7, "a", 1200, 1200, "x | y\nz")], "two": [Row(1, "b", 3, 3), Row(2, "c", 0, 0)]}
    )
    page = with_rows(first, {"two": [Row(9, "d", 5, 4, "why")]})
    assert read_rows(page) == {"two": [Row(9, "d", 5, 4, "why")], "one": [Row(7, "a", 1200, 1200, "x / y z")]}
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert lines[0].startswith("| 9 |") and page.endswith("the end\n") and page.startswith("# Faults")


def test_what_was_not_run_stands_before_what_held() -> None:
    page = with_rows(EMPTY, {"one": [Row(1, "a", 5, 5), Row(8, "b", 0, 0, "not run"), Row(9, "c", 2, 1)]})
    assert [row.fault for row in read_rows(page)["one"]] == [9, 8, 1]


def test_every_campaign_is_run_by_name() -> None:
    folder = Path(benchmarks.faults.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "def campaign(" in path.read_text(encoding="utf-8")}
    assert found <= set(CAMPAIGNS)


def test_the_page_is_one_that_the_runner_can_write() -> None:
    page = with_rows(PAGE.read_text(encoding="utf-8"), {})
    assert with_rows(page, {}) == page and page.startswith("# Faults")
