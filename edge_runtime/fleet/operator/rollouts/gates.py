"""Gates over figures: is the model worse than the one before by more than is borne? Pure.

For every device the mean after is compared with its own mean before (paired), and the change with that of devices that
were not touched meanwhile, because light, trade and season change for all of them. A bound on the difference decides, not
the difference: harm is only shown where the lower bound is above the limit, harmlessness only where the upper bound is not.
Each further look has a smaller share of the error, alpha / (k (k + 1)) at the k-th: they sum to alpha for any number of looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from edge_runtime.fleet.operator.rollouts.records import Judged
from edge_runtime.fleet.operator.rollouts.student import t_quantile

ALPHA = 0.05
MIN_WINDOWS = 3
"""Before and after, of one device, for it to count."""
MIN_DEVICES = 3
"""For a variance between devices; smaller rings are judged by their windows."""
MIN_ALONE = 6
"""Windows after, over all devices of such a small ring."""
Means = Mapping[str, tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One device's figures before and after, and the single windows after."""

    before: Means
    after: Means
    windows: Mapping[str, Sequence[float]]


def share_of_look(look: int) -> float:
    """The error that the `look`-th look (from 1) may make."""
    return ALPHA / (look * (look + 1))


def judge(
    gate: str, limit: float, ring: Sequence[Pair], controls: Sequence[Pair], look: int, size: int, reporting: float
) -> Judged:
    """One gate at its `look`-th look. `size`: devices of the ring; at least the share `reporting` of them must have figures.

    `silent`: too few have; `unsure`: the bounds lie on both sides of the limit. Only `passed` is a yes.
    """
    sign = -1.0 if gate == "accuracy_drop" else 1.0
    borne = math.log1p(limit) if gate == "latency_rise" else limit
    paired = [pair for pair in ring if _counts(pair, gate)]
    harms = [sign * (pair.after[gate][0] - pair.before[gate][0]) for pair in paired]
    if len(paired) < max(1, math.ceil(reporting * size)):
        return Judged(gate, "silent", limit, devices=len(paired), controls=len(controls))
    if size < MIN_DEVICES:
        harms = [sign * (value - pair.before[gate][0]) for pair in paired for value in pair.windows[gate]]
        if len(harms) < MIN_ALONE:
            return Judged(gate, "silent", limit, devices=len(paired), controls=len(controls))
    elif len(harms) < MIN_DEVICES:
        return Judged(gate, "silent", limit, devices=len(paired), controls=len(controls))
    others = [sign * (p.after[gate][0] - p.before[gate][0]) for p in controls if _counts(p, gate)]
    harm, low, high = _bounds(harms, others if len(others) >= MIN_DEVICES else [], share_of_look(look))
    outcome: Literal["failed", "passed", "unsure"] = (
        "failed" if low > borne else "passed" if high <= borne else "unsure"
    )
    shown = math.expm1 if gate == "latency_rise" else float
    return Judged(
        gate,
        outcome,
        limit,
        round(shown(harm), 4),
        round(shown(low), 4),
        round(shown(high), 4),
        len(paired),
        len(others) if len(others) >= MIN_DEVICES else 0,
    )


def _counts(pair: Pair, gate: str) -> bool:
    return all(means.get(gate, (0.0, 0))[1] >= MIN_WINDOWS for means in (pair.before, pair.after))


def _bounds(harms: Sequence[float], others: Sequence[float], error: float) -> tuple[float, float, float]:
    """The mean harm beyond that of the others, with one-sided bounds on both sides (Welch)."""
    harm = fmean(harms)
    parts = [(variance(harms) / len(harms), len(harms) - 1)]
    if others:
        harm -= fmean(others)
        parts.append((variance(others) / len(others), len(others) - 1))
    total = math.fsum(part for part, _ in parts)
    if total <= 1e-18:
        return harm, harm, harm
    df = max(1.0, total**2 / math.fsum(part**2 / degrees for part, degrees in parts))
    reach = t_quantile(1.0 - error, df) * math.sqrt(total)
    return harm, harm - reach, harm + reach


def counted(gate: str, limit: float, harmed: int, size: int, others_harmed: int = 0, others: int = 0) -> Judged:
    """A gate that counts devices: the share that is harmed, beyond that of the others, must not exceed the limit."""
    share = harmed / size if size else 0.0
    beyond = share - (others_harmed / others if others >= MIN_DEVICES else 0.0)
    return Judged(
        gate,
        "failed" if harmed and beyond > limit + 1e-9 else "passed",
        limit,
        round(beyond, 4),
        devices=size,
        controls=others if others >= MIN_DEVICES else 0,
    )
