"""The validation as one HTML page with its style and plots inside; no link leads out of it, and no script runs."""

from __future__ import annotations

import hashlib
import math
from html import escape
from pathlib import Path

from edge_runtime.workshop import field_bench
from edge_runtime.workshop.field_bench import svg
from edge_runtime.workshop.field_bench.markup import number, percent, table, tag
from edge_runtime.workshop.field_bench.summary import bins_of, by_severity, is_field
from edge_runtime.workshop.field_bench.verdicts import LAB
from edge_runtime.workshop.validation.figures import Line
from edge_runtime.workshop.validation.gate import AT_LEAST, Mark
from edge_runtime.workshop.validation.outcome import DatasetOutcome, Outcome

LIMIT = 0.3
"""Points that a condition may lose where the gate does not say."""
_LINE = ("condition", "slots", "float, %", "packed, %", "packed - float, points", "95 %", "changed", "agreement, %", "covered, %", "answered, %", "ECE, %")  # fmt: skip
_BESIDE = (2, 4, 5, 6, 7)
"""Columns of _LINE that compare two files."""
_COST = ("file", "p50, ms", "p95, ms", "file, MB", "adds, MB", "peak of the process, MB")


def render_page(outcome: Outcome) -> str:
    """The whole page."""
    style = (Path(field_bench.__file__).parent / "page.css").read_text("utf-8")
    parts = [
        _lead(outcome),
        *(_dataset(one, _limit(outcome), outcome.two_files) for one in outcome.datasets),
        _cost(outcome),
        _card(outcome),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Validation: {escape(outcome.named)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}{_method()}</main></body></html>\n"
    )


def _lead(outcome: Outcome) -> str:
    short = [mark for mark in outcome.marks if not mark.met]
    told = "No gate was given: these are figures without a verdict."
    if outcome.left_out:
        told = f"{len(outcome.left_out)} marks of int8 are left out: there is one file only."
    if outcome.marks:
        told = f"All {len(outcome.marks)} marks of the gate are met."
    if short:
        told = (
            f"{len(short)} of {len(outcome.marks)} marks fell short: {escape(', '.join(m.wanted.mark for m in short))}."
        )
    digest = hashlib.sha256(outcome.models["packed"]).hexdigest()[:12]
    beside = "beside model.fp32.onnx" if "float" in outcome.models else "the only file"
    names = ", ".join(escape(one.name) for one in outcome.datasets)
    return (
        tag("h1", f"Validation: {escape(outcome.named)}")
        + tag("p", f"model.onnx (sha256 {digest}), {beside}; read over {names}", class_="soft")
        + tag("p", told, class_="lead")
        + tag("div", "".join(_tile(mark) for mark in sorted(outcome.marks, key=lambda m: m.met)), class_="tiles")
    )


def _tile(mark: Mark) -> str:
    sign = "at least" if mark.wanted.relation == AT_LEAST else "at most"
    found = f"<b>{number(mark.found, 2)}</b>" if not math.isnan(mark.found) else '<b class="none">not measured</b>'
    verdict = "met" if mark.met else "fell short"
    return tag(
        "div",
        tag("span", escape(mark.wanted.mark.replace("_", " ")))
        + found
        + tag("span", f"{verdict}; {sign} {mark.wanted.limit:g}, {escape(mark.where)}", class_="verdict"),
        class_=f"tile {'met' if mark.met else 'missed'}",
    )


def _dataset(one: DatasetOutcome, limit: float, two_files: bool) -> str:
    lines = (*one.judged.pooled, *one.judged.lines)
    kept = [k for k in range(len(_LINE)) if two_files or k not in _BESIDE]
    rows = [_line(line, limit) for line in lines]
    header = tuple(_LINE[k] if two_files else _LINE[k].replace("packed", "accuracy") for k in kept)
    return (
        tag("h2", escape(one.name))
        + tag("p", _told(one, two_files))
        + (_difference(one, limit) if two_files else "")
        + _reliability(one, two_files)
        + tag("h3", "All figures")
        + table(header, [(kind, tuple(cells[k] for k in kept)) for kind, cells in rows])
    )


def _told(one: DatasetOutcome, two_files: bool) -> str:
    f = one.judged.figures
    shelves = f"{len(one.shelves)} shelves, {one.frames} frames, {one.slots} slots."
    answered = f"{number(f['coverage_percent'], 1)} % of the slots answered."
    unread = f" {len(one.unread)} frames could not be read." if one.unread else ""
    if not two_files:
        lab, field = number(f["lab_percent"], 2), number(f["field_percent"], 2)
        return f"{shelves} Lab {lab} %; severities 1 to 3 {field} %, {answered}{unread}"
    return (
        f"{shelves} Lab {number(f['lab_float_percent'], 2)} % with the float file, {number(f['lab_percent'], 2)} % packed; "
        f"severities 1 to 3 {number(f['field_float_percent'], 2)} % and {number(f['field_percent'], 2)} %, {answered} The two "
        f"files have the same best label on {number(f['agreement_percent'], 2)} % of the slots up to severity 3.{unread}"
    )


def _difference(one: DatasetOutcome, limit: float) -> str:
    spread = any(not math.isnan(line.delta.low) for line in one.judged.pooled)
    plot = svg.difference_plot(
        [(line.name, line.delta) for line in one.judged.pooled], limit, "Packed minus float per condition, points"
    )
    told = (
        "Balanced accuracy over stocked, low and empty, in points; an unknown slot counts as wrong. Severities 1 to 3 of a "
        f"condition are counted together.{' Pale bars: 95 % intervals over shelves.' if spread else ''} Dashed: what a "
        "condition may lose. What lost most comes first."
    )
    return tag("h3", "Packed minus float, per condition") + tag("p", told, class_="soft") + tag("figure", plot)


def _reliability(one: DatasetOutcome, two_files: bool) -> str:
    groups = {
        "lab:lab": bins_of(one.judged.comparison, LAB.__eq__),
        "ours:S1-S3": bins_of(one.judged.comparison, is_field),
    }
    steps = by_severity(one.judged.rows)
    curves = {
        f"{kind}:{name}": [(severity, values[column]) for severity, values in steps.items()]
        for column, (kind, name) in enumerate((("raw", "float"), ("ours", "packed"), ("covered", "covered")))
        if two_files or kind != "raw"
    }
    f = one.judged.figures
    told = f"Calibration error {number(f['ece_lab_percent'], 2)} % in the lab, {number(f['ece_field_percent'], 2)} % at S1-S3."
    return (
        tag("h3", "Confidence and severity")
        + '<div class="pair">'
        + tag("figure", svg.reliability_plot(groups) + tag("figcaption", told))
        + tag("figure", svg.severity_plot(curves) + tag("figcaption", "Means over the conditions, per cent."))
        + "</div>"
    )


def _line(line: Line, limit: float) -> tuple[str, tuple[str, ...]]:
    delta = line.delta
    spread = "–" if math.isnan(delta.low) else f"{_signed(delta.low)} to {_signed(delta.high)}"
    cells = (
        escape(line.name),
        str(line.slots),
        percent(line.float32.value, 2),
        percent(line.packed.value, 2),
        _signed(delta.value),
        spread,
        str(line.changed),
        percent(line.agreement, 2),
        percent(line.coverage),
        percent(line.answered),
        percent(line.calibration_error),
    )
    return ("bad" if 100 * delta.value < -limit else ""), cells


def _cost(outcome: Outcome) -> str:
    cost = outcome.cost
    if not cost:
        return ""
    rows = [
        ("", (name, *(number(cost[prefix + key], 2) for key in ("p50_ms", "p95_ms", "file_mb", "model_mb", "peak_mb"))))
        for name, prefix in (("model.onnx", ""), ("model.fp32.onnx", "float_"))
        if prefix + "p50_ms" in cost
    ]
    slots = f"{cost['slots_timed']:.0f} slots" if cost["slots_timed"] > 1 else "one view"
    speed = f" The packed file is {number(cost['speedup'], 2)} times as fast." if "speedup" in cost else ""
    return (
        tag("h2", "Cost on this machine")
        + tag(
            "p",
            f"{slots}, one thread, rounds of both files in turn; memory in a process of its own each.{speed}",
            class_="soft",
        )
        + table(_COST, rows)
    )


def _card(outcome: Outcome) -> str:
    if not outcome.manifest.card:
        return ""
    parts = [
        tag("h3", escape(heading.replace("_", " ").capitalize())) + tag("p", escape(text))
        for heading, text in outcome.manifest.card.items()
    ]
    return tag("h2", "Model card") + "".join(parts)


def _method() -> str:
    return tag("h2", "How it was measured") + tag(
        "p",
        "Every frame is a photograph of its own: registered and relit once, then read by both files on the same crops, with "
        "the bundle's confidence and thresholds. Agreement is of the best label, blocked among them. Intervals are percentile "
        "bootstrap intervals over shelves, 2,000 draws. Changed: slots whose best label is another.",
        class_="soft",
    )


def _limit(outcome: Outcome) -> float:
    asked = [mark.wanted.limit for mark in outcome.marks if mark.wanted.figure == "condition_loss_points"]
    return asked[0] if asked else LIMIT


def _signed(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share + 0.0:+.2f}".replace("-", "−")
