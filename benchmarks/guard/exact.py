"""Exact intervals, by scipy."""

from __future__ import annotations

from scipy import stats


def upper(hits: int, count: int, level: float = 0.95) -> float:
    """Upper end of the one-sided Clopper-Pearson interval of a share."""
    return float(stats.beta.ppf(level, hits + 1, count - hits)) if hits < count else 1.0
