"""HTML by hand: escaped text, tables, pictures as data. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape

import cv2

from edge_runtime.records import Image
from edge_runtime.workshop.field_bench.table import Interval

JPEG_QUALITY = 80


def tag(name: str, content: str, **attributes: str) -> str:
    """An element; `content` is markup, attribute values are text (`class_` for class)."""
    written = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items() if value)
    return f"<{name}{written}>{content}</{name}>"


def table(header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table; each row is its class and its cells, which are markup."""
    head = tag("tr", "".join(tag("th", escape(name)) for name in header))
    body = "".join(
        tag("tr", "".join(cell if cell.startswith("<td") else tag("td", cell) for cell in cells), class_=kind)
        for kind, cells in rows
    )
    return tag("div", tag("table", tag("thead", head) + tag("tbody", body)), class_="scroll")


def picture(pixels: Image, told: str) -> str:
    """A BGR picture as an inline JPEG."""
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done, "encoding an in-memory picture as JPEG does not fail"
    text = base64.b64encode(data.tobytes()).decode("ascii")
    size = f'width="{pixels.shape[1]}" height="{pixels.shape[0]}"'
    return f'<img {size} alt="{escape(told)}" src="data:image/jpeg;base64,{text}">'


def number(value: float, digits: int) -> str:
    """With a real minus sign, never -0; a dash where nothing was measured."""
    return "–" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent."""
    return number(100 * value, digits)


def ratio(value: float) -> str:
    """A ratio with two digits."""
    return number(value, 2)


def with_range(interval: Interval) -> str:
    """A share with its interval, small."""
    if math.isnan(interval.low) or interval.low == interval.high:
        return percent(interval.value)
    return f'{percent(interval.value)} <span class="range">{percent(interval.low)}–{percent(interval.high)}</span>'
