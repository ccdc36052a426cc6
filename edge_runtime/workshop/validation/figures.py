"""What a validation says of one dataset: figures by name, and a row for every condition. Pure.

Per cent and points are 0..100. `field` is every condition up to severity 3; a *loss* is float minus packed, in points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.workshop.field_bench import counts as c
from edge_runtime.workshop.field_bench.summary import summarize
from edge_runtime.workshop.field_bench.table import FIELD_UP_TO, Comparison, Interval, Row, rows_of
from edge_runtime.workshop.field_bench.verdicts import BLOCKED, LAB
from edge_runtime.workshop.validation.pair import Paired


@dataclass(frozen=True, slots=True)
class Line:
    """One condition at one severity, or one condition over severities 1 to 3 (`severity` -1)."""

    condition: str
    severity: int
    slots: int
    float32: Interval
    packed: Interval
    delta: Interval
    """packed - float, balanced accuracy; shares."""
    agreement: float
    changed: int
    """Slots whose best label changed."""
    coverage: float
    answered: float
    calibration_error: float

    @property
    def name(self) -> str:
        return self.condition + {0: "", -1: " S1-S3"}.get(self.severity, f" S{self.severity}")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One dataset, judged."""

    figures: Mapping[str, float]
    """nan where nothing was there to measure."""
    lines: tuple[Line, ...]
    """Every cell: those that lost most first."""
    pooled: tuple[Line, ...]
    """Every condition over severities 1 to 3, and the lab: those that lost most first."""
    rows: tuple[Row, ...]
    """As the field bench draws them: `without` is float, `with_` packed."""
    comparison: Comparison


def judge(paired: Paired) -> Judged:
    """All figures of one dataset."""
    comparison = Comparison(paired.truths, paired.packed, paired.float32)
    rows = rows_of(comparison)
    lines = tuple(_line(row, paired) for row in rows)
    pooled = tuple(_pooled(paired, name) for name in dict.fromkeys(cell[0] for cell in paired.truths.cells))
    measured = tuple(line for line in pooled if line.slots)
    return Judged(
        _figures(comparison, rows, paired, measured),
        tuple(sorted(lines, key=_by_loss)),
        tuple(sorted(measured, key=_by_loss)),
        rows,
        comparison,
    )


def _figures(
    comparison: Comparison, rows: tuple[Row, ...], paired: Paired, pooled: tuple[Line, ...]
) -> dict[str, float]:
    s = summarize(comparison, rows)
    near = paired.seen & (paired.truths.severity <= FIELD_UP_TO)
    losses = _numbers(-100 * line.delta.value for line in pooled)
    sure = _numbers(-100 * line.delta.high for line in pooled)
    shares = {
        "lab_percent": s.lab_with.value,
        "lab_float_percent": s.lab_without.value,
        "field_percent": s.field_with.value,
        "field_float_percent": s.field_without.value,
        "store_percent": s.store_with.value,
        "coverage_percent": s.field_coverage,
        "blocked_percent": s.blocked_recall,
        "abstained_percent": s.lost_abstained,
        "ece_lab_percent": s.ece_lab,
        "ece_field_percent": s.ece_field,
        "agreement_percent": float(paired.alike[near].mean()) if near.any() else math.nan,
        "agreement_all_percent": float(paired.alike[paired.seen].mean()) if paired.seen.any() else math.nan,
        "same_answer_percent": float((paired.packed.state == paired.float32.state)[near].mean())
        if near.any()
        else math.nan,
    }
    figures = {name: 100 * value for name, value in shares.items()}
    return figures | {
        "lab_loss_points": figures["lab_float_percent"] - figures["lab_percent"],
        "field_loss_points": figures["field_float_percent"] - figures["field_percent"],
        "condition_loss_points": max(losses, default=math.nan),
        "condition_sure_loss_points": max(sure, default=math.nan),
        "largest_probability_gap": float(paired.gap.max(initial=0.0)),
        "slots": float(len(paired.truths)),
    }


def _line(row: Row, paired: Paired) -> Line:
    cell = paired.truths.cells.index(row.key)
    mine = paired.seen & (paired.truths.cell == cell)
    return Line(
        row.condition,
        row.severity,
        row.slots,
        row.without,
        row.with_,
        row.gain,
        float(paired.alike[mine].mean()) if mine.any() else math.nan,
        int((~paired.alike[mine]).sum()),
        row.coverage,
        row.answered,
        row.calibration_error,
    )


def _pooled(paired: Paired, condition: str) -> Line:
    """One condition, its severities up to 3 counted together: single cells are too few slots for tenths of points."""
    cells = [
        k for k, (name, severity) in enumerate(paired.truths.cells) if name == condition and severity <= FIELD_UP_TO
    ]
    mine = np.isin(paired.truths.cell, cells)
    visible = mine & (paired.truths.state != BLOCKED)
    whole = Comparison(paired.truths, paired.packed, paired.float32)
    chosen = np.isin(np.arange(len(paired.truths.cells)), cells)
    known = mine & paired.seen
    return Line(
        condition,
        LAB[1] if condition == LAB[0] else -1,
        int(visible.sum()),
        _over(whole, chosen, lambda w, o: c.accuracy(o)),
        _over(whole, chosen, lambda w, o: c.accuracy(w)),
        _over(whole, chosen, lambda w, o: c.accuracy(w) - c.accuracy(o)),
        float(paired.alike[known].mean()) if known.any() else math.nan,
        int((~paired.alike[known]).sum()),
        _share(whole.answered, visible),
        _share(paired.packed.state == paired.truths.state, visible & whole.answered),
        math.nan,
    )


def _over(
    comparison: Comparison, cells: NDArray[np.bool_], figure: Callable[[c.Counts, c.Counts], c.Floats]
) -> Interval:
    """A figure of the chosen cells counted together."""
    return comparison.measure(lambda w, o: figure(_sum(w, cells), _sum(o, cells)))[0]


def _sum(counts: c.Counts, cells: NDArray[np.bool_]) -> c.Counts:
    return np.asarray(counts[..., cells, :, :].sum(-3)[..., None, :, :])


def _share(what: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(what[among].mean()) if among.any() else math.nan


def _numbers(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _by_loss(line: Line) -> tuple[float, float, str]:
    delta = line.delta.value
    return (0.0 if math.isnan(delta) else delta, line.agreement, line.name)
