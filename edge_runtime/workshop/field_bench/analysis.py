"""Where the errors are: which state is taken for which, why nothing was answered, which products fail. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from edge_runtime.workshop.field_bench.counts import confusion
from edge_runtime.workshop.field_bench.table import FIELD_UP_TO, LOST, Comparison, Mask
from edge_runtime.workshop.field_bench.verdicts import ANSWERED, LAB

PRODUCTS_TOLD = 12
Confusion = tuple[tuple[int, ...], ...]
"""Slots by true state (stocked, low, empty) and said state (those, blocked, unknown)."""


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Why slots were not answered that could have been: their truth is not blocked."""

    reason: str
    field: int
    """Slots in lab frames and up to severity 3."""
    lost: int
    """Slots at severity 5."""
    would_be_errors: int
    """Those of both on which the best guess is wrong: there it was right not to answer."""


@dataclass(frozen=True, slots=True)
class ProductCount:
    """One product over lab frames and the field."""

    sku: str
    slots: int
    right: float
    """Share of the slots; unknown is wrong."""
    wrong: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """The error analysis of one bench."""

    lab: Confusion
    field: Confusion
    """Severities 1 to 3."""
    reasons: tuple[ReasonCount, ...]
    """Most frequent first."""
    products: tuple[ProductCount, ...]
    """The least right first, at most PRODUCTS_TOLD."""


def analyse(comparison: Comparison) -> Analysis:
    """Of the runtime's verdicts; the raw crops only stand in where a frame was refused."""
    truths = comparison.truths
    by_cell = confusion(truths, comparison.said.state).sum(0)
    in_lab = np.array([cell == LAB for cell in truths.cells], np.bool_)
    return Analysis(
        lab=_whole(by_cell[in_lab].sum(0)),
        field=_whole(by_cell[comparison.field_cells()].sum(0)),
        reasons=_reasons(comparison),
        products=_products(comparison),
    )


def _whole(table: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Confusion:
    return tuple(tuple(int(value) for value in row) for row in table)


def _reasons(comparison: Comparison) -> tuple[ReasonCount, ...]:
    severity = comparison.truths.severity
    silent = comparison.seen & (comparison.said.state >= ANSWERED)
    near, lost = silent & (severity <= FIELD_UP_TO), silent & (severity == LOST)
    names = comparison.said.reason
    told = Counter(names[near | lost].tolist())
    return tuple(
        ReasonCount(
            reason,
            field=_count(near & (names == reason)),
            lost=_count(lost & (names == reason)),
            would_be_errors=_count((near | lost) & (names == reason) & comparison.would_be_wrong),
        )
        for reason, _ in sorted(told.items(), key=lambda item: (-item[1], item[0]))
    )


def _products(comparison: Comparison) -> tuple[ProductCount, ...]:
    truths, said = comparison.truths, comparison.said
    near = comparison.seen & (truths.severity <= FIELD_UP_TO)
    right, answered = said.state == truths.state, comparison.answered
    found = []
    for sku in np.unique(truths.sku[near]):
        rows = near & (truths.sku == sku)
        found.append(
            ProductCount(
                str(sku),
                slots=_count(rows),
                right=float(right[rows].mean()),
                wrong=_count(rows & answered & ~right),
                unanswered=_count(rows & ~answered),
            )
        )
    found = [one for one in found if one.right < 1.0]
    return tuple(sorted(found, key=lambda one: (one.right, -one.slots, one.sku))[:PRODUCTS_TOLD])


def _count(rows: Mask) -> int:
    return int(rows.sum())
