"""From what was said to everything that is told about it: the one value that the terminal, `--json` and the report share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.records import ModelId
from edge_runtime.workshop.field_bench.analysis import Analysis, analyse
from edge_runtime.workshop.field_bench.contenders import BASELINES, OURS, RAW, Contender
from edge_runtime.workshop.field_bench.run import Benched
from edge_runtime.workshop.field_bench.summary import Standing, Summary, standing_of, summarize
from edge_runtime.workshop.field_bench.table import Comparison, Row, rows_of


@dataclass(frozen=True, slots=True)
class Bench:
    """One model on one dataset."""

    dataset: str
    """The dataset's own name, without where it lies."""
    model: ModelId
    benched: Benched
    comparison: Comparison
    """Ours against the raw crops."""
    rows: tuple[Row, ...]
    summary: Summary
    analysis: Analysis
    standings: tuple[Standing, ...]
    """Every contender, the raw crops first and ours last; empty without baselines."""


def contenders(baselines: bool) -> tuple[Contender, ...]:
    """Who takes part; the raw crops and ours always do."""
    return (RAW, *BASELINES, OURS) if baselines else (RAW, OURS)


def conclude(dataset: str, model: ModelId, benched: Benched, taking_part: Sequence[Contender]) -> Bench:
    """All figures of a run."""
    raw = benched.said[RAW.name]
    comparison = Comparison(benched.truths, benched.said[OURS.name], raw)
    rows = rows_of(comparison)
    beside = len(taking_part) > len(contenders(baselines=False))
    standings = tuple(_standing(one, benched) for one in taking_part) if beside else ()
    return Bench(dataset, model, benched, comparison, rows, summarize(comparison, rows), analyse(comparison), standings)


def _standing(one: Contender, benched: Benched) -> Standing:
    against = Comparison(benched.truths, benched.said[one.name], benched.said[RAW.name], resamples=1)
    rows = rows_of(against)
    return standing_of(one.name, one.title, one.note, rows, summarize(against, rows))
