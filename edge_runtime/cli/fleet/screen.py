"""Text on a terminal: widths as they are seen, tables that fit, and ages as people say them."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence

from edge_runtime.cli.output import paint, watched

WIDE = 10_000
"""Where nobody watches, nothing is cut."""
_COLOUR = re.compile(r"(\x1b\[(?:0|1|3[1-4]|90)m)")
"""What `paint` writes."""
_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def width() -> int:
    """Columns that a line may have."""
    return max(20, shutil.get_terminal_size((100, 24)).columns) if watched() else WIDE


def height() -> int:
    return max(5, shutil.get_terminal_size((100, 24)).lines)


def columns(text: str) -> int:
    """Cells that `text` takes up: wide signs two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(sign) for sign in text)


def cut(text: str, room: int) -> str:
    """At most `room` cells of it, with an ellipsis where some are missing; what would move the cursor is left out."""
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    if columns(text) <= room:
        return text
    kept, used = [], 0
    for sign in text:
        used += _cell(sign)
        if used > room - 1:
            break
        kept.append(sign)
    return "".join(kept) + "…" if room > 0 else ""


def clean(line: str) -> str:
    """The line without what a device could say to move the cursor or to hide something; our own colours stay."""
    return "".join(part if _COLOUR.fullmatch(part) else cut(part, WIDE) for part in _COLOUR.split(line))


def fit(text: str, room: int) -> str:
    """Exactly `room` cells."""
    shown = cut(text, room)
    return shown + " " * (room - columns(shown))


def grid(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    room: int,
    colours: Mapping[str, str] | None = None,
    least: int = 8,
) -> list[str]:
    """Aligned lines, none wider than `room`: the last column gives way first, then whole columns before it, from the right.

    A cell whose text is a key of `colours` is painted. The first and the last column stay.
    """
    table = [[cut(cell, WIDE) for cell in row] for row in (header, *rows)]
    widths = [max(map(columns, cells)) for cells in zip(*table, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > room and len(widths) > 1:
        rest = room - sum(widths[:-1]) - 2 * (len(widths) - 1)
        if rest >= min(least, widths[-1]):
            widths[-1] = rest
        elif len(widths) > 2:
            widths.pop(-2)
            for row in table:
                row.pop(-2)
        else:
            widths[-1] = max(0, min(widths[-1], room // 2 - 2))
            widths[0] = max(1, room - widths[-1] - 2)
    widths[0] = min(widths[0], room)
    lines = [_line(table[0], widths, dict.fromkeys(header, "bold"))]
    return lines + [_line(row, widths, colours or {}) for row in table[1:]]


def _line(cells: Sequence[str], widths: Sequence[int], colours: Mapping[str, str]) -> str:
    """One line; cells beyond the widths are left out."""
    parts = []
    for number, (text, room) in enumerate(zip(cells, widths, strict=False)):
        last = number == len(widths) - 1
        shown = cut(text, room) if last else fit(text, room)
        parts.append(paint(shown, colours[text]) if text in colours else shown)
    return "  ".join(parts)


def age(seconds: float | None) -> str:
    """`12 s`, `4 min`, `3 h`, `9 d`; `-` if it is not known."""
    if seconds is None:
        return "-"
    for unit, size, until in (("s", 1.0, 90.0), ("min", _MINUTE, 90 * _MINUTE), ("h", _HOUR, 36 * _HOUR)):
        if seconds < until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / _DAY:.0f} d"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _cell(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
