"""From what was said to the bench's table. Pure and seeded: the same verdicts give the same figures.

Accuracies are balanced over stocked, low and empty on slots whose truth is not blocked. Intervals are 95 % percentile
bootstrap intervals over shelves (Efron 1979): the slots of one shelf are alike, so they are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.workshop.field_bench import counts as c
from edge_runtime.workshop.field_bench.calibration import calibration_error, reliability
from edge_runtime.workshop.field_bench.verdicts import ANSWERED, BLOCKED, LAB, NO_GUESS, Said, Truths

RESAMPLES, SEED = 2000, 20261123
MIN_SHELVES = 2
"""One shelf has no spread over shelves."""
FIELD_UP_TO = 3
"""Severities up to this are a bad but real store."""
STORE = ("store", 3)
LOST = 5
"""The severity at which abstaining is right."""
NAN = float("nan")

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Measure = Callable[[c.Counts, c.Counts], Floats]
"""Confusions with and without the runtime, (..., cells, 3, 5), to (..., cells) or (...)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval; nan where there is nothing to measure."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One condition at one severity; shares 0..1."""

    condition: str
    severity: int
    frames: int
    slots: int
    without: Interval
    with_: Interval
    gain: Interval
    """with - without; below 0 is harm."""
    gap_recovered: Interval
    """nan where the raw model loses less than 5 points."""
    coverage: float
    answered: float
    recalls: tuple[float, float, float]
    """Of stocked, low and empty."""
    empty_precision: float
    blocked_recall: float
    """Slots that are blocked and were called blocked or unknown."""
    confident_errors: float
    would_be_errors: int
    """Slots on which the best of three is wrong."""
    abstained: float
    """Share of those that were called blocked or unknown."""
    calibration_error: float
    estimated: float
    """Label-free estimate of `plain`: the mean confidence of the answers."""
    plain: float
    """Share of the answers that are right, not balanced."""
    registered: float
    """Share of the frames in which the reference was found."""
    relit: float

    @property
    def key(self) -> tuple[str, int]:
        return self.condition, self.severity

    @property
    def of_field(self) -> bool:
        """A bad but real store: not the lab, and not lost."""
        return self.key != LAB and self.severity <= FIELD_UP_TO


class Comparison:
    """One way of preparing frames (`with`) against the raw one (`without`) over the same rows."""

    def __init__(self, truths: Truths, said: Said, raw: Said, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        self.truths, self.said, self.raw = truths, said, raw
        self._with, self._without = c.confusion(truths, said.state), c.confusion(truths, raw.state)
        shelves = len(truths.shelves)
        self._weights = c.draw_weights(shelves, resamples, seed) if shelves >= MIN_SHELVES else None
        self._lab = truths.cells.index(LAB) if LAB in truths.cells else None
        self.seen = truths.state != BLOCKED
        self.answered = self.seen & (said.state < ANSWERED)
        guess = np.where(said.best == NO_GUESS, raw.best, said.best)
        self.would_be_wrong = self.seen & (guess != truths.state)
        """Where a whole frame was refused there are no scores; the forced guess is then that of the raw crops."""

    def measure(self, f: Measure) -> tuple[Interval, ...]:
        """A figure of each cell (or one of all) with its interval."""
        values = np.atleast_1d(f(self._with.sum(0), self._without.sum(0)))
        if self._weights is None:
            return tuple(Interval(float(v), NAN, NAN) for v in values)
        drawn = f(c.resampled(self._with, self._weights), c.resampled(self._without, self._weights))
        bounds = [_bounds(column) for column in drawn.reshape(len(drawn), -1).T]
        return tuple(Interval(float(v), *b) for v, b in zip(values, bounds, strict=True))

    def lab_without(self, without: c.Counts) -> Floats:
        """The raw model's lab figure, (..., 1); nan if the dataset has no lab frames."""
        if self._lab is None:
            return np.full((*without.shape[:-3], 1), NAN)
        return c.accuracy(without[..., self._lab, :, :])[..., None]

    @property
    def gaps(self) -> Mask:
        """(cells,) where the raw model has a gap to recover."""
        without = self._without.sum(0)
        return c.has_gap(c.accuracy(without), self.lab_without(without))

    def recovered(self, with_: c.Counts, without: c.Counts) -> Floats:
        """GR of each cell; nan where there is no gap."""
        rates = c.recovered(c.accuracy(with_), c.accuracy(without), self.lab_without(without))
        return np.where(self.gaps, rates, NAN)

    def field_cells(self) -> Mask:
        """(cells,) those of a bad but real store."""
        return np.array([key != LAB and key[1] <= FIELD_UP_TO for key in self.truths.cells], np.bool_)


def rows_of(comparison: Comparison) -> tuple[Row, ...]:
    """One row a cell: those that got worse first, the worst of them at the top; then the least accurate first."""
    without = comparison.measure(lambda w, o: c.accuracy(o))
    with_ = comparison.measure(lambda w, o: c.accuracy(w))
    gain = comparison.measure(lambda w, o: c.accuracy(w) - c.accuracy(o))
    gap = comparison.measure(comparison.recovered)
    rows = [_row(comparison, k, *four) for k, four in enumerate(zip(without, with_, gain, gap, strict=True))]
    return tuple(sorted(rows, key=_worst_first))


def harmed(row: Row) -> bool:
    """The runtime made it worse."""
    return row.gain.value < 0


def _worst_first(row: Row) -> tuple[bool, float, int, str]:
    worse = harmed(row)
    return not worse, row.gain.value if worse else row.with_.value, -row.severity, row.condition


def _row(comparison: Comparison, cell: int, without: Interval, with_: Interval, gain: Interval, gap: Interval) -> Row:
    truths, said = comparison.truths, comparison.said
    here = truths.cell == cell
    whole = c.confusion(truths, said.state)[:, cell].sum(0)
    frames = np.unique(truths.frame[here])
    covered = here & (truths.state == BLOCKED)
    wrong, answered = here & comparison.would_be_wrong, here & comparison.answered
    right = said.state[answered] == truths.state[answered]
    return Row(
        *truths.cells[cell],
        frames=len(frames),
        slots=int((here & comparison.seen).sum()),
        without=without,
        with_=with_,
        gain=gain,
        gap_recovered=gap,
        coverage=float(c.coverage(whole)),
        answered=float(c.answered(whole)),
        recalls=(float(c.recall(whole, 0)), float(c.recall(whole, 1)), float(c.recall(whole, 2))),
        empty_precision=float(c.precision(whole, 2)),
        blocked_recall=_mean(said.state[covered] >= BLOCKED),
        confident_errors=float(c.confident_errors(whole)),
        would_be_errors=int(wrong.sum()),
        abstained=_mean(said.state[wrong] >= ANSWERED),
        calibration_error=calibration_error(reliability(said.confidence[answered], right)),
        estimated=_mean(said.confidence[answered]),
        plain=_mean(right),
        registered=_mean(said.registered[frames]),
        relit=_mean(said.relit[frames]),
    )


def _mean(values: NDArray[np.bool_] | Floats) -> float:
    return float(values.mean()) if len(values) else NAN


def _bounds(drawn: Floats) -> tuple[float, float]:
    kept = drawn[~np.isnan(drawn)]
    if not len(kept):
        return NAN, NAN
    low, high = np.quantile(kept, (0.025, 0.975))
    return float(low), float(high)
