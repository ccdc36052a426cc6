"""The report's plots as inline SVG, drawn by hand: no library, no script. Pure: figures in, text out.

Colours come from the page's style sheet by class (`raw`, `ours`, `bad`, `grid`), so that one drawing suits light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from edge_runtime.workshop.field_bench.calibration import ReliabilityBin
from edge_runtime.workshop.field_bench.record import cell_name
from edge_runtime.workshop.field_bench.table import Interval, Row, harmed

WIDTH = 940.0
SQUARE = 440.0
LINE = 21.0
"""Height of one condition."""
_NAMES, _FIGURES = 128.0, 120.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis: data low..high to drawing start..end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies, held inside the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, step: float) -> list[float]:
        """Multiples of `step` on the axis."""
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def before_after(rows: Sequence[Row]) -> str:
    """One line a condition: raw (ring) and with the runtime (dot), each with its 95 % interval."""
    values = [v for row in rows for v in _values(row.without) + _values(row.with_)]
    low = math.floor(10 * min(values, default=0.0)) / 10
    axis = Axis(100 * min(low, 0.9), 100.0, _NAMES, WIDTH - _FIGURES)
    height = LINE * (len(rows) + 2)
    parts = [_grid(axis, LINE, height - LINE)]
    for number, row in enumerate(rows):
        parts.append(_condition(row, axis, LINE * (number + 1.5)))
    return _drawing(WIDTH, height, "Balanced accuracy before and after, per condition", parts)


def difference_plot(rows: Sequence[tuple[str, Interval]], limit: float, label: str) -> str:
    """One line a name: a difference in shares with its 95 % interval, around nothing; in red beyond -`limit` points."""
    ends = [100 * abs(v) for _, figure in rows for v in _values(figure)]
    reach = min(20.0, max(1.0, 2 * limit, *(math.ceil(v) for v in ends))) if ends else 1.0
    axis = Axis(-reach, reach, _NAMES + 24, WIDTH - _FIGURES)
    height = LINE * (len(rows) + 2)
    step = 0.5 if reach <= 2 else 1.0 if reach <= 5 else 5.0
    parts = [
        _line(axis.at(v), LINE, axis.at(v), height - LINE, "grid")
        + _text(axis.at(v), LINE - 6, f"{v:+g}" if v else "0", "tick mid")
        for v in axis.ticks(step)
    ]
    parts.append(_line(axis.at(0), LINE, axis.at(0), height - LINE, "whisker raw"))
    parts.append(_line(axis.at(-limit), LINE, axis.at(-limit), height - LINE, "ideal"))
    for number, (name, figure) in enumerate(rows):
        y = LINE * (number + 1.5)
        kind = "bad" if 100 * figure.value < -limit else "ours"
        parts.append(_text(axis.start - 12, y + 4, name, "tick end"))
        parts.append(_whisker(figure, axis, y, kind))
        parts.append(_circle(axis.at(100 * figure.value), y, 4.5, f"dot {kind}", f"{name}: {100 * figure.value:+.2f}"))
        parts.append(
            _text(axis.end + 14, y + 4, f"{100 * figure.value:+.2f}", f"tick {'badtext' if kind == 'bad' else ''}")
        )
    return _drawing(WIDTH, height, label, parts)


def severity_plot(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Named curves (class of the style sheet: label) over severity, shares 0..1."""
    least = min((v for points in curves.values() for _, v in points if not math.isnan(v)), default=0.9)
    low = min(90.0, 10 * math.floor(10 * least))
    across, up = Axis(-0.2, 5.2, 46, SQUARE - 14), Axis(low, 100, SQUARE - 80, 14)
    step = 2.0 if low >= 90 else 5.0 if low >= 80 else 10.0
    parts = [_line(across.start, up.at(v), across.end, up.at(v), "grid") for v in up.ticks(step)]
    parts += [_text(across.start - 8, up.at(v) + 4, f"{v:.0f}", "tick end") for v in up.ticks(step)]
    parts += [_text(across.at(s), SQUARE - 60, "lab" if not s else f"S{s}", "tick mid") for s in range(6)]
    for number, (name, points) in enumerate(curves.items()):
        kind, label = name.split(":")
        known = [(across.at(s), up.at(100 * v)) for s, v in points if not math.isnan(v)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        parts.append(f'<polyline class="curve {kind}" points="{path}"/>')
        parts += [f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in known]
        x, y = across.start + (number % 2) * 200, SQUARE - 34 + (number // 2) * 20
        parts.append(_line(x, y - 4, x + 22, y - 4, f"curve {kind}") + _text(x + 30, y, label, "tick"))
    return _drawing(SQUARE, SQUARE, "Accuracy and coverage by severity, per cent", parts)


def reliability_plot(groups: Mapping[str, Sequence[ReliabilityBin]]) -> str:
    """How right the answers of each confidence are; a perfect runtime lies on the diagonal. Area shows the share of answers."""
    low = min((b.confidence for bins in groups.values() for b in bins), default=0.3)
    axis = min(30.0, 10 * math.floor(10 * low))
    across, up = Axis(axis, 100, 46, SQUARE - 14), Axis(0, 100, SQUARE - 80, 14)
    parts = _square_grid(across, up)
    parts.append(_line(across.at(axis), up.at(axis), across.at(100), up.at(100), "ideal"))
    for number, (name, bins) in enumerate(groups.items()):
        kind, label = name.split(":")
        answers = max(1, sum(b.answers for b in bins))
        for b in bins:
            told = f"{label}: {b.answers} answers, confidence {b.confidence:.3f}, right {b.accuracy:.3f}"
            radius = 3.0 + 12.0 * math.sqrt(b.answers / answers)
            parts.append(_circle(across.at(100 * b.confidence), up.at(100 * b.accuracy), radius, f"bin {kind}", told))
        parts.append(_circle(across.start + 6 + number * 200, SQUARE - 20, 5, f"bin {kind}", label))
        parts.append(_text(across.start + 18 + number * 200, SQUARE - 16, label, "tick"))
    parts.append(_text((across.start + across.end) / 2, SQUARE - 42, "confidence, %", "tick mid"))
    return _drawing(SQUARE, SQUARE, "Share of right answers against confidence, per cent", parts)


def estimate_plot(rows: Sequence[Row]) -> str:
    """The label-free estimate against the truth: a dot a condition."""
    known = [row for row in rows if not math.isnan(row.estimated) and not math.isnan(row.plain)]
    least = min((min(row.estimated, row.plain) for row in known), default=0.8)
    low = min(90.0, 10 * math.floor(10 * least))
    across, up = Axis(low, 100, 46, SQUARE - 14), Axis(low, 100, SQUARE - 80, 14)
    parts = _square_grid(across, up)
    parts.append(_line(across.start, up.start, across.end, up.end, "ideal"))
    for row in known:
        told = f"{cell_name(row.key)}: estimated {100 * row.estimated:.1f} %, really {100 * row.plain:.1f} %"
        kind = "dot ours" if row.severity <= 3 else "ring raw"
        parts.append(_circle(across.at(100 * row.estimated), up.at(100 * row.plain), 4.5, kind, told))
    parts.append(_text((across.start + across.end) / 2, SQUARE - 42, "estimated without labels, %", "tick mid"))
    parts.append(_circle(across.start + 6, SQUARE - 20, 4.5, "dot ours", "to S3"))
    parts.append(_text(across.start + 18, SQUARE - 16, "lab and S1-S3", "tick"))
    parts.append(_circle(across.start + 206, SQUARE - 20, 4.5, "ring raw", "S4, S5"))
    parts.append(_text(across.start + 218, SQUARE - 16, "S4, S5", "tick"))
    return _drawing(SQUARE, SQUARE, "True share of right answers against the estimate, per cent", parts)


def _condition(row: Row, axis: Axis, y: float) -> str:
    kind = "bad" if harmed(row) else "ours"
    before, after = axis.at(100 * row.without.value), axis.at(100 * row.with_.value)
    told = (
        f"{cell_name(row.key)}: {_told(row.without)} raw, {_told(row.with_)} with the runtime, "
        f"coverage {100 * row.coverage:.1f} %"
    )
    figures = f"{100 * row.without.value:.1f} → {100 * row.with_.value:.1f}"
    return (
        f"<g><title>{escape(told)}</title>"
        + _text(_NAMES - 12, y + 4, cell_name(row.key), "tick end")
        + _whisker(row.without, axis, y + 3.5, "raw")
        + _whisker(row.with_, axis, y - 3.5, kind)
        + _line(before, y, after, y, f"step {kind}")
        + f'<circle class="ring raw" cx="{before:.1f}" cy="{y:.1f}" r="4.5"/>'
        + f'<circle class="dot {kind}" cx="{after:.1f}" cy="{y:.1f}" r="4.5"/>'
        + _text(WIDTH - _FIGURES + 16, y + 4, figures, f"tick {'badtext' if kind == 'bad' else ''}")
        + "</g>"
    )


def _whisker(interval: Interval, axis: Axis, y: float, kind: str) -> str:
    if math.isnan(interval.low):
        return ""
    return _line(axis.at(100 * interval.low), y, axis.at(100 * interval.high), y, f"whisker {kind}")


def _grid(axis: Axis, top: float, bottom: float) -> str:
    step = 10.0 if axis.high - axis.low > 20 else 5.0 if axis.high - axis.low > 10 else 2.0
    return "".join(
        _line(axis.at(v), top, axis.at(v), bottom, "grid")
        + _text(axis.at(v), top - 6, f"{v:.0f}", "tick mid")
        + _text(axis.at(v), bottom + 16, f"{v:.0f}", "tick mid")
        for v in axis.ticks(step)
    )


def _square_grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for axis, level in ((across, False), (up, True)):
        step = 20.0 if axis.high - axis.low > 40 else 10.0 if axis.high - axis.low > 20 else 2.0
        for value in axis.ticks(step):
            at = axis.at(value)
            if level:
                parts.append(_line(across.start, at, across.end, at, "grid"))
                parts.append(_text(across.start - 8, at + 4, f"{value:.0f}", "tick end"))
            else:
                parts.append(_line(at, up.start, at, up.end, "grid"))
                parts.append(_text(at, up.start + 18, f"{value:.0f}", "tick mid"))
    return parts


def _values(interval: Interval) -> list[float]:
    return [v for v in (interval.value, interval.low, interval.high) if not math.isnan(v)]


def _told(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.value:.1f} %"
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _circle(x: float, y: float, radius: float, kind: str, told: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(told)}</title></circle>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _drawing(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
