"""Real models against real models on recorded store days: is the simulated error process wishful?

usage: python -m benchmarks.guard.record --seeds 51 52 ... && python -m benchmarks.guard.real [--seeds 51 52 ...]

Every ordered pair of models of the pool (`--incumbents`: those that may be in charge before) lives through every day, with
one camera and, side by side, with two. By how much the one on trial is worse is counted on that very day: the share of the
visible slots that it answers rightly, less the incumbent's. Seeds 1 to 10 were used to build the guard.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.guard.days import Day, Moment
from edge_runtime.lifecycle.guard import TrialWatch

GAPS = (-1.0, -0.1, -0.03, 0.0, 0.03, 0.07, 0.12, 0.17, 0.25, 1.0)
SOUND = ("shipped", "before", "noise-3")
LEFT_OUT = ("float", "colours")
"""Agree with the shipped model on 98 % and more: nothing to tell apart."""
Found = tuple[float, float, str, bool]
"""(points that the one on trial is worse, hours to the fallback, rule, whether it passed its trial before that)."""


def lives(days: Sequence[Day], incumbents: Sequence[str]) -> Iterator[Found]:
    for incumbent in incumbents:
        for trial in days[0].names:
            if trial == incumbent or trial in LEFT_OUT:
                continue
            loss = float(np.mean([day.accuracy(incumbent) - day.accuracy(trial) for day in days]))
            yield (loss, *_live(days, incumbent, trial))


def _live(days: Sequence[Day], incumbent: str, trial: str) -> tuple[float, str, bool]:
    watch, passed = TrialWatch(), False
    streams = [_as_camera(number, day.life(incumbent, trial)) for number, day in enumerate(days)]
    for moment in heapq.merge(*streams, key=lambda moment: moment.evidence.at_s):
        verdict = watch.observe(moment.evidence, moment.environment, moment.pairs)
        if verdict.fall_back:
            return moment.evidence.at_s / 3600, verdict.rule, passed
        passed = passed or watch.passed
    return math.inf, "", passed


def _as_camera(number: int, moments: Iterator[Moment]) -> Iterator[Moment]:
    name = f"camera-{number}"
    for moment in moments:
        pairs = tuple(replace(pair, camera=name) for pair in moment.pairs)
        yield replace(moment, evidence=replace(moment.evidence, camera=name), pairs=pairs)


def tell(title: str, found: Sequence[Found]) -> None:
    print(
        f"\n{title}\n\n| worse by | lives | out in 2 h | out in 4 h | passed | median h | rules |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for low, high in itertools.pairwise(GAPS):
        rows = [row for row in found if low <= row[0] < high]
        if not rows:
            continue
        hours = np.array([row[1] for row in rows])
        middle = float(np.quantile(hours, 0.5, method="higher"))
        rules = sorted({row[2] for row in rows if row[2]})
        shares = f"{(hours <= 2).mean():.2f} | {np.isfinite(hours).mean():.2f}"
        passed = f"{np.mean([row[3] for row in rows]):.2f}"
        told = f"{middle:.1f}" if math.isfinite(middle) else "-"
        print(
            f"| {100 * low:.0f} to {100 * high:.0f} | {len(rows)} | {shares} | {passed} | {told} | {', '.join(rules)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(51, 62)))
    parser.add_argument("--incumbents", nargs="+", default=list(SOUND))
    asked = parser.parse_args()
    days = [Day(seed) for seed in asked.seeds]
    tell("one camera", [row for day in days for row in lives([day], asked.incumbents)])
    twos = [(day, days[(number + 1) % len(days)]) for number, day in enumerate(days)]
    tell("two cameras", [row for two in twos for row in lives(two, asked.incumbents)])


if __name__ == "__main__":
    main()
