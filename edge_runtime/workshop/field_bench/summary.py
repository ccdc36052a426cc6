"""The few figures that a bench is judged by, their marks, and the contenders side by side. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.workshop.field_bench import counts as c
from edge_runtime.workshop.field_bench.calibration import ReliabilityBin, calibration_error, reliability
from edge_runtime.workshop.field_bench.table import LOST, NAN, STORE, Comparison, Floats, Interval, Mask, Row
from edge_runtime.workshop.field_bench.verdicts import ANSWERED, BLOCKED, LAB


@dataclass(frozen=True, slots=True)
class Class:
    """One true state over a group of conditions: recall with unknown as wrong, among the answers, and coverage."""

    slots: int
    recall: float
    answered: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Shares 0..1, nan where the dataset has nothing to measure. `field`: every condition up to severity 3."""

    lab_without: Interval
    lab_with: Interval
    lab_harm: Interval
    """without - with on lab frames; above 0 is harm."""
    store_without: Interval
    store_with: Interval
    store_coverage: float
    field_without: Interval
    """Mean over the conditions."""
    field_with: Interval
    field_coverage: float
    gap_mean: Interval
    gap_worst: Interval
    gap_worst_at: tuple[str, int] | None
    worst_harm: float
    """Largest loss of any condition of the field, lab among them; 0 if none lost."""
    worst_harm_at: tuple[str, int] | None
    lost_would_be_errors: int
    """At severity 5."""
    lost_abstained: float
    lost_confident_errors: float
    blocked_recall: float
    ece_lab: float
    ece_field: float
    label_free_error: float
    """Mean absolute error of the label-free accuracy estimate over the rows of the field and the lab."""
    label_free_sampling: float
    """The part of it that the number of slots alone would cause."""
    registered_field: float
    classes_lab: tuple[Class, Class, Class]
    classes_field: tuple[Class, Class, Class]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a figure should be."""

    name: str
    figure: Interval
    mark: float
    at_least: bool
    unit: str
    """`%`, `points` or empty."""

    @property
    def value(self) -> float:
        return self.figure.value

    @property
    def met(self) -> bool | None:
        """None where nothing was measured."""
        if np.isnan(self.value):
            return None
        return self.value >= self.mark if self.at_least else self.value <= self.mark


@dataclass(frozen=True, slots=True)
class Standing:
    """A contender's place beside the others; shares 0..1."""

    name: str
    title: str
    note: str
    lab: float
    lab_harm: float
    store: float
    field: float
    lost: float
    gap_mean: float
    gap_worst: float
    worst_harm: float
    worst_harm_at: tuple[str, int] | None
    field_coverage: float
    lost_abstained: float


def summarize(comparison: Comparison, rows: Sequence[Row]) -> Summary:
    """The summary of one contender against the raw crops."""
    truths, said = comparison.truths, comparison.said
    field = comparison.field_cells()
    by_key = {row.key: row for row in rows}
    lab, store = by_key.get(LAB), by_key.get(STORE)
    gaps = [row for row in rows if row.of_field and not np.isnan(row.gap_recovered.value)]
    worst_gap = min(gaps, key=lambda row: row.gap_recovered.value, default=None)
    harm, harm_at = _worst_harm(rows)
    covered = truths.state == BLOCKED
    lost = truths.severity == LOST
    wrong = lost & comparison.would_be_wrong
    nothing = Interval(NAN, NAN, NAN)
    return Summary(
        lab_without=lab.without if lab else nothing,
        lab_with=lab.with_ if lab else nothing,
        lab_harm=_turned(lab.gain) if lab else nothing,
        store_without=store.without if store else nothing,
        store_with=store.with_ if store else nothing,
        store_coverage=store.coverage if store else NAN,
        field_without=comparison.measure(lambda w, o: _over(c.accuracy(o), field))[0],
        field_with=comparison.measure(lambda w, o: _over(c.accuracy(w), field))[0],
        field_coverage=mean([row.coverage for row in rows if row.of_field]),
        gap_mean=comparison.measure(lambda w, o: _over(comparison.recovered(w, o), field))[0],
        gap_worst=worst_gap.gap_recovered if worst_gap else nothing,
        gap_worst_at=worst_gap.key if worst_gap else None,
        worst_harm=harm,
        worst_harm_at=harm_at,
        lost_would_be_errors=int(wrong.sum()),
        lost_abstained=_share(said.state >= ANSWERED, wrong),
        lost_confident_errors=_share(comparison.answered & (said.state != truths.state), lost & comparison.seen),
        blocked_recall=_share(said.state >= BLOCKED, covered),
        ece_lab=calibration_error(bins_of(comparison, LAB.__eq__)),
        ece_field=calibration_error(bins_of(comparison, is_field)),
        label_free_error=mean([abs(r.estimated - r.plain) for r in rows if r.of_field or r.key == LAB]),
        label_free_sampling=mean([_sampling_error(r) for r in rows if r.of_field or r.key == LAB]),
        registered_field=mean([row.registered for row in rows if row.of_field]),
        classes_lab=_classes(comparison, LAB.__eq__),
        classes_field=_classes(comparison, is_field),
    )


def marks_of(s: Summary) -> tuple[Mark, ...]:
    """The marks of the field bench (per cent and points as 0..100), in the order in which they are told."""
    return (
        Mark("lab", _hundred(s.lab_with), 99.0, True, "%"),
        Mark("harm on lab", _hundred(s.lab_harm), 0.1, False, "points"),
        Mark("store mix S3", _hundred(s.store_with), 97.0, True, "%"),
        Mark("store mix S3, coverage", _alone(100 * s.store_coverage), 97.0, True, "%"),
        Mark("gap recovered, mean S1-S3", s.gap_mean, 0.95, True, ""),
        Mark("gap recovered, worst", s.gap_worst, 0.80, True, ""),
        Mark("S5: abstains on would-be errors", _alone(100 * s.lost_abstained), 99.0, True, "%"),
        Mark("calibration error, lab", _alone(100 * s.ece_lab), 1.0, False, "%"),
        Mark("calibration error, field", _alone(100 * s.ece_field), 3.0, False, "%"),
        Mark("label-free estimate, error", _alone(100 * s.label_free_error), 2.0, False, "points"),
    )


def standing_of(name: str, title: str, note: str, rows: Sequence[Row], summary: Summary) -> Standing:
    """A contender's line in the table of baselines."""
    return Standing(
        name,
        title,
        note,
        lab=summary.lab_with.value,
        lab_harm=summary.lab_harm.value,
        store=summary.store_with.value,
        field=summary.field_with.value,
        lost=mean([row.with_.value for row in rows if row.severity == LOST]),
        gap_mean=summary.gap_mean.value,
        gap_worst=summary.gap_worst.value,
        worst_harm=summary.worst_harm,
        worst_harm_at=summary.worst_harm_at,
        field_coverage=summary.field_coverage,
        lost_abstained=summary.lost_abstained,
    )


def is_field(cell: tuple[str, int]) -> bool:
    """A condition of a bad but real store."""
    return cell != LAB and cell[1] <= STORE[1]


def bins_of(comparison: Comparison, chosen: Callable[[tuple[str, int]], bool]) -> tuple[ReliabilityBin, ...]:
    """Reliability of the answers in the chosen cells."""
    rows = comparison.answered & _rows(comparison, chosen)
    right = comparison.said.state[rows] == comparison.truths.state[rows]
    return reliability(comparison.said.confidence[rows], right)


def mean(values: Sequence[float]) -> float:
    """Of those that were measured; nan if none was."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else NAN


def by_severity(rows: Sequence[Row]) -> Mapping[int, tuple[float, float, float, float]]:
    """Severity -> mean over the conditions of without, with, coverage, and accuracy of the answered."""
    severities = sorted({row.severity for row in rows})
    chosen = {s: [row for row in rows if row.severity == s] for s in severities}
    return {
        s: (
            mean([r.without.value for r in some]),
            mean([r.with_.value for r in some]),
            mean([r.coverage for r in some]),
            mean([r.answered for r in some]),
        )
        for s, some in chosen.items()
    }


def _worst_harm(rows: Sequence[Row]) -> tuple[float, tuple[str, int] | None]:
    losers = [row for row in rows if (row.of_field or row.key == LAB) and row.gain.value < 0]
    if not losers:
        return 0.0, None
    worst = min(losers, key=lambda row: row.gain.value)
    return -worst.gain.value, worst.key


def _classes(comparison: Comparison, chosen: Callable[[tuple[str, int]], bool]) -> tuple[Class, Class, Class]:
    rows = _rows(comparison, chosen)
    stocked, low, empty = (_class(comparison, rows & (comparison.truths.state == k)) for k in range(ANSWERED))
    return stocked, low, empty


def _class(comparison: Comparison, rows: Mask) -> Class:
    right = comparison.said.state == comparison.truths.state
    return Class(
        int(rows.sum()),
        _share(right, rows),
        _share(right, rows & comparison.answered),
        _share(comparison.answered, rows),
    )


def _rows(comparison: Comparison, chosen: Callable[[tuple[str, int]], bool]) -> Mask:
    wanted = np.array([bool(chosen(cell)) for cell in comparison.truths.cells], np.bool_)
    return np.asarray(wanted[comparison.truths.cell])


def _share(what: Mask, among: Mask) -> float:
    return float(what[among].mean()) if among.any() else NAN


def _over(values: Floats, cells: Mask) -> Floats:
    """Mean over the chosen cells, (..., cells) to (...), leaving out nan."""
    chosen = values[..., cells]
    there = ~np.isnan(chosen)
    return c.share(np.where(there, chosen, 0.0).sum(-1), there.sum(-1).astype(np.float64))


def _turned(figure: Interval) -> Interval:
    return Interval(-figure.value, -figure.high, -figure.low)


def _hundred(figure: Interval) -> Interval:
    return Interval(100 * figure.value, 100 * figure.low, 100 * figure.high)


def _alone(value: float) -> Interval:
    return Interval(value, NAN, NAN)


def _sampling_error(row: Row) -> float:
    """What so few answers would be off by on average if the estimate were the truth: the mean of a half normal."""
    answers = row.coverage * row.slots
    return float(np.sqrt(2 / np.pi * row.estimated * (1 - row.estimated) / answers)) if answers else NAN
