"""What comes after a shadow run. Pure."""

from __future__ import annotations

from edge_runtime.daemon.shadow import ShadowReport
from edge_runtime.daemon.terms import Terms
from edge_runtime.records import ANSWERS

AGREEMENT = 0.8
"""Share of the slots answered by both on which a candidate must agree with the current model to be tried: a better model
differs where the old one errs, a broken one nearly everywhere."""
LEAST_SLOTS = 24
"""Slots that both must have answered before a shadow run says anything."""
SILENT_SLOTS = 10 * LEAST_SLOTS
"""A candidate that still has not answered those, where the current model answered so many, is not waited for."""
BARRED, WITHDRAWN, TRIAL, COMMITTED = "barred", "withdrawn", "trial", "committed"
"""The steps that a candidate may take: out for good, out, into its trial, in."""


def judge_shadow(report: ShadowReport, gone_s: float, terms: Terms) -> tuple[str, str]:
    """(step, what is said of it); an empty step while there is nothing to do. One that failed never runs again, one that
    disagrees is only not tried: that may be the current model's fault."""
    if report.fault:
        return BARRED, report.fault
    if gone_s < terms.shadow_s:
        return "", ""
    if report.slots < LEAST_SLOTS:
        asked = sum(count for (current, _), count in report.confusion.items() if current in ANSWERS)
        if asked < SILENT_SLOTS:
            return "", ""
        return WITHDRAWN, f"answers {report.slots} of {asked} slots that the current model answers"
    agreement = report.agreement or 0.0
    said = f"agrees with the current model on {agreement:.1%} of {report.slots} slots"
    if agreement >= AGREEMENT:
        return TRIAL, said
    return WITHDRAWN, f"{said}; at least {AGREEMENT:.0%} was expected"
