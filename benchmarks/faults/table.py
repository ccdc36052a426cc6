"""docs/faults.md: the table of what has been run. Failures first, then what was not run, then the rest by number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.faults.row import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
_HEAD = "| # | What was done | Points | Held | Campaign | Note |\n| ---: | --- | ---: | ---: | --- | --- |\n"
_BEGIN, _END = "<!-- table -->\n", "<!-- end of table -->\n"
_LINE = re.compile(r"\| (\d+) \| (.*?) \| ([\d,]+) \| ([\d,]+) \| (\w+) \| (.*?) \|")
Rows = dict[str, list[Row]]
"""By campaign."""


def read_rows(page: str) -> Rows:
    """The rows that a page holds."""
    rows: Rows = {}
    for found in _LINE.finditer(page):
        points, held = (int(text.replace(",", "")) for text in found.group(3, 4))
        row = Row(int(found[1]), found[2], points, held, found[6].strip())
        rows.setdefault(found[5], []).append(row)
    return rows


def with_rows(page: str, fresh: Mapping[str, Iterable[Row]]) -> str:
    """The page with the rows of the campaigns in `fresh` replaced, those of others as they were."""
    rows = read_rows(page) | {name: list(found) for name, found in fresh.items()}
    listed = sorted(
        ((row, name) for name, found in rows.items() for row in found),
        key=lambda entry: (entry[0].held == entry[0].points, bool(entry[0].points), entry[0].fault, entry[1]),
    )
    before, rest = page.split(_BEGIN)
    after = rest.split(_END)[1]
    return before + _BEGIN + _HEAD + "".join(_line(row, name) for row, name in listed) + _END + after


def _line(row: Row, campaign: str) -> str:
    what, note = (_cell(text) for text in (row.what, row.note))
    return f"| {row.fault} | {what} | {row.points:,} | {row.held:,} | {campaign} | {note} |\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
