"""The bench as one JSON object: names and units as `tools/score_field.py` has them, and what goes beyond it. Pure.

Accuracies, harm and calibration errors are per cent and points (0..100), all other shares 0..1; null where there is
nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_runtime.workshop.field_bench.analysis import Analysis, Confusion
from edge_runtime.workshop.field_bench.summary import Class, Mark, Standing, Summary, marks_of
from edge_runtime.workshop.field_bench.table import Interval, Row
from edge_runtime.workshop.field_bench.verdicts import STATES

Record = dict[str, object]
_CLASSES = ("stocked", "low", "empty")


def row_record(row: Row) -> Record:
    """One condition at one severity."""
    return {
        "condition": row.condition,
        "severity": row.severity,
        "frames": row.frames,
        "n": row.slots,
        "without": _percent(row.without.value),
        "without_interval": _percents(row.without),
        "with": _percent(row.with_.value),
        "with_interval": _percents(row.with_),
        "harm": _percent(-row.gain.value),
        "harm_interval": _percents(Interval(-row.gain.value, -row.gain.high, -row.gain.low)),
        "gap_recovered": _share(row.gap_recovered.value),
        "gap_recovered_interval": _bounds(row.gap_recovered),
        "coverage": _share(row.coverage),
        "answered": _percent(row.answered),
        **{f"{name}_recall": _share(value) for name, value in zip(_CLASSES, row.recalls, strict=True)},
        "empty_precision": _share(row.empty_precision),
        "blocked_recall": _share(row.blocked_recall),
        "confident_errors": _share(row.confident_errors),
        "would_be_errors": row.would_be_errors,
        "abstained": _share(row.abstained),
        "ece": _percent(row.calibration_error),
        "plain": _percent(row.plain),
        "estimated": _percent(row.estimated),
        "registered": _share(row.registered),
        "relit": _share(row.relit),
    }


def summary_record(summary: Summary) -> Record:
    """The figures over all conditions, and how they stand to their marks."""
    s = summary
    return {
        "lab_without": _percent(s.lab_without.value),
        "lab_with": _percent(s.lab_with.value),
        "lab_with_interval": _percents(s.lab_with),
        "lab_harm": _percent(s.lab_harm.value),
        "lab_harm_interval": _percents(s.lab_harm),
        "store3_without": _percent(s.store_without.value),
        "store3_with": _percent(s.store_with.value),
        "store3_with_interval": _percents(s.store_with),
        "store3_coverage": _share(s.store_coverage),
        "field_without": _percent(s.field_without.value),
        "field_mean": _percent(s.field_with.value),
        "field_mean_interval": _percents(s.field_with),
        "field_coverage": _share(s.field_coverage),
        "gr_mean": _share(s.gap_mean.value),
        "gr_mean_interval": _bounds(s.gap_mean),
        "gr_worst": _share(s.gap_worst.value),
        "gr_worst_interval": _bounds(s.gap_worst),
        "gr_worst_at": _cell(s.gap_worst_at),
        "worst_harm": _percent(s.worst_harm),
        "worst_harm_at": _cell(s.worst_harm_at),
        "s5_would_be_errors": s.lost_would_be_errors,
        "s5_abstained": _share(s.lost_abstained),
        "s5_confident_errors": _share(s.lost_confident_errors),
        "blocked_recall": _share(s.blocked_recall),
        "ece_lab": _percent(s.ece_lab),
        "ece_field": _percent(s.ece_field),
        "label_free_error": _percent(s.label_free_error),
        "label_free_sampling": _percent(s.label_free_sampling),
        "registered_field": _share(s.registered_field),
        "classes_lab": _classes(s.classes_lab),
        "classes_field": _classes(s.classes_field),
        "marks": [_mark(mark) for mark in marks_of(s)],
    }


def standing_record(standing: Standing) -> Record:
    """One contender."""
    return {
        "name": standing.name,
        "title": standing.title,
        "note": standing.note,
        "lab": _percent(standing.lab),
        "lab_harm": _percent(standing.lab_harm),
        "store3": _percent(standing.store),
        "field_mean": _percent(standing.field),
        "s5_mean": _percent(standing.lost),
        "gr_mean": _share(standing.gap_mean),
        "gr_worst": _share(standing.gap_worst),
        "worst_harm": _percent(standing.worst_harm),
        "worst_harm_at": _cell(standing.worst_harm_at),
        "field_coverage": _share(standing.field_coverage),
        "s5_abstained": _share(standing.lost_abstained),
    }


def analysis_record(analysis: Analysis) -> Record:
    """Where the errors are: confusion as true state -> said state -> slots, reasons, and the weakest products."""
    return {
        "confusion_lab": _confusion(analysis.lab),
        "confusion_field": _confusion(analysis.field),
        "reasons": [
            {"reason": one.reason, "field": one.field, "lost": one.lost, "would_be_errors": one.would_be_errors}
            for one in analysis.reasons
        ],
        "products": [
            {
                "sku": one.sku,
                "n": one.slots,
                "right": _share(one.right),
                "wrong": one.wrong,
                "unanswered": one.unanswered,
            }
            for one in analysis.products
        ],
    }


def _confusion(table: Confusion) -> Record:
    return {true: dict(zip(STATES, row, strict=True)) for true, row in zip(_CLASSES, table, strict=True)}


def cell_name(cell: tuple[str, int] | None) -> str:
    """`store S3`; a dash for none."""
    return "-" if cell is None else f"{cell[0]} S{cell[1]}" if cell[1] else cell[0]


def _mark(mark: Mark) -> Record:
    return {
        "name": mark.name,
        "value": _number(mark.value, 4),
        "interval": [_number(mark.figure.low, 4), _number(mark.figure.high, 4)],
        "mark": mark.mark,
        "at_least": mark.at_least,
        "met": mark.met,
    }


def _classes(classes: Sequence[Class]) -> Record:
    return {
        name: {
            "n": one.slots,
            "recall": _share(one.recall),
            "answered": _share(one.answered),
            "coverage": _share(one.coverage),
        }
        for name, one in zip(_CLASSES, classes, strict=True)
    }


def _cell(cell: tuple[str, int] | None) -> Record | None:
    return None if cell is None else {"condition": cell[0], "severity": cell[1]}


def _percent(value: float) -> float | None:
    return _number(100 * value, 3)


def _percents(interval: Interval) -> list[float | None]:
    return [_percent(interval.low), _percent(interval.high)]


def _share(value: float) -> float | None:
    return _number(value, 5)


def _bounds(interval: Interval) -> list[float | None]:
    return [_share(interval.low), _share(interval.high)]


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) + 0.0 if math.isfinite(value) else None
