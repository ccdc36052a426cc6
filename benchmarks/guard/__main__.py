"""1,000 healthy lives and 200 of each bad kind: who is wrongly out, who is found, and how fast.

usage: python -m benchmarks.guard [--first 200000] [--healthy 1000] [--bad 200] [--labels 5]

A life is one camera of 24 slots, a picture every 45 s: four hours of trial at least, as shipped, and longer while
there is suspicion; six hours are watched. Seeds from 1 were used to build the guard; the figures that are published are those of
seeds from 200000.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.guard.exact import upper
from benchmarks.guard.lives import HEALTHY, WORSE, Kind, Life
from edge_runtime.lifecycle.guard import TrialWatch

WATCHED_H = 6.0


@dataclass(frozen=True, slots=True)
class Fate:
    """How one life ended."""

    hours: float
    """To the fallback; infinite if there was none."""
    labels: int
    rule: str
    passed: bool
    """It would have been committed before that."""
    loss: float


def live(kind: Kind, seed: int, hours: float, labels_an_hour: float, to_the_end: bool) -> Fate:
    """One life. `to_the_end`: it is watched on after it passed."""
    life, watch, passed = Life(kind, seed, hours, labels_an_hour), TrialWatch(), False
    for step in life.steps():
        verdict = watch.observe(step.evidence, step.environment, step.pairs)
        if step.label is not None and not verdict.fall_back:
            verdict = watch.feedback(step.label)
        passed = passed or watch.passed
        labels = int(watch.describe()["labels"])
        if verdict.fall_back:
            return Fate(step.evidence.at_s / 3600, labels, verdict.rule, passed, life.loss())
        if passed and not to_the_end:
            break
    return Fate(math.inf, labels, "", passed, life.loss())


def healthy(first: int, count: int, labels: float) -> int:
    """Lives in turn of every healthy kind; returns how many were wrongly out."""
    wrong = 0
    for number, kind in enumerate(HEALTHY):
        share = range(number, count, len(HEALTHY))
        fates = [live(kind, first + seed, WATCHED_H, labels, False) for seed in share]
        out = [fate.rule for fate in fates if fate.rule]
        wrong += len(out)
        passed = sum(fate.passed for fate in fates)
        print(f"| {kind.name} | {len(fates)} | {len(out)} {' '.join(sorted(set(out)))} | {passed} |", flush=True)
    return wrong


def bad(kind: Kind, first: int, count: int, labels: float) -> dict[str, object]:
    fates = [live(kind, first + seed, WATCHED_H, labels, True) for seed in range(count)]
    hours = np.array([fate.hours for fate in fates])
    rules = [fate.rule for fate in fates if fate.rule]
    return {
        "kind": kind.name,
        "worse": round(float(np.mean([fate.loss for fate in fates])), 3),
        "out in 2 h": round(float((hours <= 2).mean()), 3),
        "out in 4 h": round(float((hours <= 4).mean()), 3),
        "out in 6 h": round(float(np.isfinite(hours).mean()), 3),
        "passed": round(float(np.mean([fate.passed for fate in fates])), 3),
        "median h": _quantile(hours, 0.5),
        "p95 h": _quantile(hours, 0.95),
        "rules": {rule: rules.count(rule) for rule in sorted(set(rules))},
    }


def _quantile(values: np.ndarray, share: float) -> float | None:  # type: ignore[type-arg]
    found = float(np.quantile(values, share, method="higher"))
    return round(found, 2) if math.isfinite(found) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=200_000)
    parser.add_argument("--healthy", type=int, default=1_000)
    parser.add_argument("--bad", type=int, default=200)
    parser.add_argument("--labels", type=float, default=0.0, help="an hour")
    asked = parser.parse_args()
    print("| healthy kind | lives | wrongly out | passed |\n| --- | --- | --- | --- |")
    wrong = healthy(asked.first, asked.healthy, asked.labels)
    limit = upper(wrong, asked.healthy)
    print(f"\nwrong rollbacks: {wrong} of {asked.healthy} lives, at most {limit:.2%} (95 %, Clopper and Pearson)\n")
    run = partial(bad, first=asked.first, count=asked.bad, labels=asked.labels)
    for kind in WORSE:
        print(json.dumps(run(kind)), flush=True)


if __name__ == "__main__":
    main()
