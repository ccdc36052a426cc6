"""The report's parts that need only figures. Pure: a bench in, markup out."""

from __future__ import annotations

import math
from html import escape

from edge_runtime.workshop.field_bench import svg
from edge_runtime.workshop.field_bench.analysis import Confusion
from edge_runtime.workshop.field_bench.bench import Bench
from edge_runtime.workshop.field_bench.contenders import OURS
from edge_runtime.workshop.field_bench.markup import number, percent, ratio, table, tag, with_range
from edge_runtime.workshop.field_bench.record import cell_name
from edge_runtime.workshop.field_bench.summary import Class, Mark, bins_of, by_severity, is_field, marks_of
from edge_runtime.workshop.field_bench.table import Row, harmed
from edge_runtime.workshop.field_bench.verdicts import LAB, STATES

_ROW = (
    "condition", "frames", "raw", "with the runtime", "GR", "covered", "answered", "low", "empty: recall / precision",
    "blocked", "confident errors", "abstained on would-be errors", "ECE", "found",
)  # fmt: skip
_STANDING = (
    "preparation", "lab, %", "harm on lab, points", "store S3, %", "S1–S3, %", "S5, %", "GR mean", "GR worst",
    "worst harm, points", "covered S1–S3, %",
)  # fmt: skip


def lead(bench: Bench) -> str:
    """What it is, of what, and the founding sentence with this model's figures."""
    truths, s, model = bench.benched.truths, bench.summary, bench.model
    worse = [row for row in bench.rows if harmed(row)]
    harm = (
        f"It made {len(worse)} of {len(bench.rows)} conditions worse, told first below."
        if worse
        else f"It made none of the {len(bench.rows)} conditions worse."
    )
    return (
        tag("h1", f"Field bench: {escape(bench.dataset)}")
        + tag(
            "p",
            f"{escape(model.name)} {escape(model.version)} (sha256 {model.sha256[:12]}), {len(truths.shelves)} shelves, "
            f"{len(truths.frames)} frames, {len(truths)} slots",
            class_="soft",
        )
        + tag(
            "p",
            f"In a bad but real store (severities 1 to 3) the raw model is right on {percent(s.field_without.value)} % "
            f"of the slots. With the runtime it is right on {percent(s.field_with.value)} %, and answers "
            f"{percent(s.field_coverage)} % of them. {harm}",
            class_="lead",
        )
        + tag("div", "".join(_tile(mark) for mark in marks_of(s)), class_="tiles")
    )


def conditions(bench: Bench) -> str:
    """Before and after, drawn and as a table."""
    near = [row for row in bench.rows if row.severity <= 3]
    far = [row for row in bench.rows if row.severity > 3]
    parts = [
        tag("h2", "Before and after"),
        tag(
            "p",
            "Balanced accuracy over stocked, low and empty; an unknown slot counts as wrong. Ring: the raw crops. Dot: the "
            "same model with the runtime. Pale bars: 95 % intervals over shelves. Conditions that got worse come first, "
            "in red; then the least accurate.",
            class_="soft",
        ),
        tag("figure", svg.before_after(near)),
    ]
    if far:
        parts.append(tag("h3", "Severities 4 and 5: much of the picture is lost, and abstaining is right"))
        parts.append(tag("figure", svg.before_after(far)))
    parts.append(tag("h3", "All figures"))
    parts.append(
        tag(
            "p",
            "Per cent, with 95 % intervals; GR: share of the gap to the lab that is recovered. Covered: share of the slots "
            "that are answered; answered: balanced accuracy of those. Low, blocked: recall. Found: share of the frames "
            "that were registered.",
            class_="soft",
        )
    )
    parts.append(table(_ROW, [("bad" if harmed(row) else "", _row(row)) for row in bench.rows]))
    return "".join(parts)


def by_severity_section(bench: Bench) -> str:
    """Accuracy and coverage over severity, and the classes apart."""
    steps = by_severity(bench.rows)
    curves = {
        "raw:raw": [(s, v[0]) for s, v in steps.items()],
        "ours:with the runtime": [(s, v[1]) for s, v in steps.items()],
        "covered:covered": [(s, v[2]) for s, v in steps.items()],
        "answered:answered slots": [(s, v[3]) for s, v in steps.items()],
    }
    s = bench.summary
    rows = [
        ("", _class("lab", name, one)) for name, one in zip(("stocked", "low", "empty"), s.classes_lab, strict=True)
    ]
    rows += [
        ("", _class("S1–S3", name, one)) for name, one in zip(("stocked", "low", "empty"), s.classes_field, strict=True)
    ]
    classes = table(("state", "slots", "right, %", "covered, %", "right among answered, %"), rows)
    return (
        tag("h2", "Severity and states")
        + '<div class="pair">'
        + tag("figure", svg.severity_plot(curves) + tag("figcaption", "Means over the conditions, per cent."))
        + tag(
            "figure", classes + tag("figcaption", "“low”: the front row is gone, stock remains behind. The hard one.")
        )
        + "</div>"
    )


def confidence_section(bench: Bench) -> str:
    """Reliability and the label-free estimate."""
    groups = {
        "ours:S1–S3": bins_of(bench.comparison, is_field),
        "lab:lab": bins_of(bench.comparison, LAB.__eq__),
    }
    s = bench.summary
    told = f"ECE-15: lab {percent(s.ece_lab, 2)} %, S1–S3 {percent(s.ece_field, 2)} %. The area of a dot is its share of the answers."
    error = f"Mean confidence of the answers against how many were right: off by {percent(s.label_free_error, 2)} points on average over lab and S1–S3; so few slots alone would cause {percent(s.label_free_sampling, 2)}."
    return (
        tag("h2", "Does the confidence mean what it says?")
        + '<div class="pair">'
        + tag("figure", svg.reliability_plot(groups) + tag("figcaption", told))
        + tag("figure", svg.estimate_plot(bench.rows) + tag("figcaption", error))
        + "</div>"
    )


def baselines_section(bench: Bench) -> str:
    """Other preparations of the same frames for the same model; empty if they did not run."""
    if not bench.standings:
        return ""
    rows = []
    for one in bench.standings:
        worst = f"{percent(one.worst_harm)} {cell_name(one.worst_harm_at) if one.worst_harm_at else ''}".strip()
        cells = (
            escape(one.title), percent(one.lab), percent(one.lab_harm), percent(one.store), percent(one.field),
            percent(one.lost), ratio(one.gap_mean), ratio(one.gap_worst), worst, percent(one.field_coverage),
        )  # fmt: skip
        rows.append(("ours" if one.name == OURS.name else "", cells))
    notes = "".join(tag("li", f"<b>{escape(one.title)}</b>: {escape(one.note)}") for one in bench.standings)
    return (
        tag("h2", "Beside other preparations")
        + tag(
            "p",
            "The same model file and thresholds on the same frames; only what is done to the picture differs. The enhancers "
            "are textbook implementations, not gated, applied to the frame and to the commissioned picture alike.",
            class_="soft",
        )
        + table(_STANDING, rows)
        + tag("ul", notes, class_="soft")
    )


def method(bench: Bench) -> str:
    """How the figures are made."""
    told = (
        "Every slot of every frame counts once; frames stand alone. Slots whose truth is “blocked” are left out, except of "
        "the recall of blocked.",
        "Raw: the slots' polygons scaled to the frame, no registration, no light match, nothing refused for the picture's "
        "sake (--no-normalize). Both use one model file and its thresholds.",
        "Gap recovered = (with − raw) / (lab raw − raw), where the raw model loses at least 5 points.",
        "Would-be errors: slots on which the most probable of the three states is wrong. Where a whole frame was refused "
        "there are no probabilities, and those of the raw crops stand in.",
        "Intervals: 2,000 seeded bootstrap resamples of the shelves; none with a single shelf.",
    )
    return tag("h2", "How it is measured") + tag("ul", "".join(tag("li", escape(line)) for line in told), class_="soft")


def analysis_section(bench: Bench) -> str:
    """Which state is taken for which, why nothing was answered, and which products fail."""
    a = bench.analysis
    matrices = "".join(
        tag("figure", tag("h3", name) + _confusion(t)) for name, t in (("Lab", a.lab), ("S1–S3", a.field))
    )
    reasons = [
        (
            "",
            (
                escape(one.reason.replace("_", " ") or "none given"),
                str(one.field),
                str(one.lost),
                str(one.would_be_errors),
            ),
        )
        for one in a.reasons
    ]
    products = [
        ("", (escape(one.sku), str(one.slots), percent(one.right), str(one.wrong), str(one.unanswered)))
        for one in a.products
    ]
    return (
        tag("h2", "Where the errors are")
        + tag("div", matrices, class_="pair")
        + '<div class="pair">'
        + tag(
            "figure",
            tag("h3", "Why nothing was answered")
            + table(("reason", "lab, S1–S3", "S5", "would have been wrong"), reasons)
            + tag("figcaption", "Slots whose truth is not blocked. In the last column abstaining was right."),
        )
        + tag(
            "figure",
            tag("h3", "The products that fail most")
            + table(("product", "slots", "right, %", "wrong", "not answered"), products)
            + tag("figcaption", "Lab and S1–S3."),
        )
        + "</div>"
    )


def _confusion(counted: Confusion) -> str:
    rows = []
    for true, row in enumerate(counted):
        cells = [STATES[true]]
        for said, slots in enumerate(row):
            cells.append(f"<b>{slots}</b>" if said == true else str(slots) if slots else "–")
        rows.append(("", cells))
    return table(("truth \\ said", *STATES), rows)


def _tile(mark: Mark) -> str:
    kind = {None: "", True: "met", False: "missed"}[mark.met]
    unit = {"%": " %", "points": " points", "": ""}[mark.unit]
    digits = 1 if mark.unit else 2
    value = f"{number(mark.value, digits)}<small>{unit}</small>" if kind else "not measured"
    sign = {None: "", True: "✓ met, ", False: "✗ missed, "}[mark.met]
    wanted = f"{sign}mark {'≥' if mark.at_least else '≤'} {mark.mark:g}{unit}"
    low, high = mark.figure.low, mark.figure.high
    spread = "" if math.isnan(low) else f"95 %: {number(low, digits)} to {number(high, digits)}"
    return tag(
        "div",
        tag("span", escape(mark.name))
        + tag("b", value, class_="" if kind else "none")
        + tag("span", escape(wanted), class_="verdict")
        + tag("span", spread),
        class_=f"tile {kind}".strip(),
    )


def _row(row: Row) -> tuple[str, ...]:
    both = f"{percent(row.recalls[2])} / {percent(row.empty_precision)}"
    return (
        escape(cell_name(row.key)),
        str(row.frames),
        with_range(row.without),
        with_range(row.with_),
        ratio(row.gap_recovered.value),
        percent(row.coverage),
        percent(row.answered),
        percent(row.recalls[1]),
        both,
        percent(row.blocked_recall),
        percent(row.confident_errors),
        f'{percent(row.abstained)} <span class="range">of {row.would_be_errors}</span>' if row.would_be_errors else "–",
        percent(row.calibration_error),
        percent(row.registered),
    )


def _class(where: str, name: str, one: Class) -> tuple[str, ...]:
    return f"{where}, {name}", str(one.slots), percent(one.recall), percent(one.coverage), percent(one.answered)
