"""Labels alone: how many a model that is so much worse survives, and how often a good one is wrongly out.

usage: python -m benchmarks.guard.labels [--first 300000] [--lives 4000]

Slots are labelled at random; 5 % of the labels are wrong; both models share half of what they get wrong. `paired`: the
incumbent's answer to the same slot is known. `disputed`: only slots on which the models differ are asked about. Beside
them the best that any test could do that knew both accuracies beforehand and looked once, at 40 labels (exact, binomial).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from edge_runtime.lifecycle.guard import Feedback
from edge_runtime.lifecycle.guard.labels import LabelTest
from edge_runtime.lifecycle.guard.settings import LabelSettings

NOISE, SHARED = 0.05, 0.5
MODES = ("unpaired", "paired", "disputed")


def labels(random: np.random.Generator, mine: float, theirs: float, mode: str) -> Iterator[Feedback]:
    """For ever; accuracies of the model on trial and of the incumbent."""
    both_wrong = SHARED * min(1 - mine, 1 - theirs)
    chances = [1 - (1 - mine) - (1 - theirs) + both_wrong, 1 - theirs - both_wrong, 1 - mine - both_wrong, both_wrong]
    while True:
        case = int(random.choice(4, p=chances))
        right, theirs_right = case in (0, 1), case in (0, 2)
        if mode == "disputed" and right == theirs_right:
            continue
        if random.random() < NOISE:  # what was said to stand there is another class
            right, theirs_right = (
                not right and random.random() < 0.5,
                not theirs_right and right and random.random() < 0.5,
            )
        yield Feedback(0.0, "camera", "slot", right, None if mode == "unpaired" else theirs_right, mode == "disputed")


def survived(random: np.random.Generator, mine: float, theirs: float, mode: str, most: int) -> float:
    """Labels until the fallback; infinite if there was none within `most`."""
    test = LabelTest(LabelSettings())
    for count, feedback in enumerate(labels(random, mine, theirs, mode), start=1):
        test.take(feedback)
        if test.verdict().fall_back:
            return count
        if count == most:
            return math.inf
    return math.inf


def best_at(count: int, settings: LabelSettings) -> float:
    """Power of the exact binomial test at `count` labels, promised accuracy against 20 points less, level alpha."""
    null = _told_wrong(1 - settings.promise)
    limit = stats.binom.isf(settings.alpha, count, null) + 1
    return float(stats.binom.sf(limit - 1, count, _told_wrong(1 - settings.promise + 0.2)))


def _told_wrong(wrong: float) -> float:
    return wrong * (1 - NOISE) + (1 - wrong) * NOISE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=300_000)
    parser.add_argument("--lives", type=int, default=4_000)
    asked = parser.parse_args()
    print(
        "| labels | trial / incumbent | median | p95 | out at 40 | out at 100 |\n| --- | --- | --- | --- | --- | --- |"
    )
    for mode in MODES:
        for mine, theirs in (
            (0.77, 0.97),
            (0.87, 0.97),
            (0.92, 0.97),
            (0.97, 0.97),
            (0.95, 0.97),
            (0.97, 0.87),
            (0.9, 0.9),
        ):
            random = np.random.default_rng([asked.first, MODES.index(mode), round(100 * mine), round(100 * theirs)])
            lives = max(200, asked.lives // (1 if mine > 0.94 else 4))
            found = np.array([survived(random, mine, theirs, mode, 100) for _ in range(lives)])
            middle, late = (_told(float(np.quantile(found, share, method="higher"))) for share in (0.5, 0.95))
            at = [f"{(found <= most).mean():.4f}" for most in (40, 100)]
            print(f"| {mode} | {mine} / {theirs} | {middle} | {late} | {at[0]} | {at[1]} |", flush=True)
    print(
        f"\nany test that looks once, at 40 labels, level {LabelSettings().alpha}: {best_at(40, LabelSettings()):.3f}"
    )


def _told(count: float) -> str:
    return f"{count:.0f}" if math.isfinite(count) else "> 100"


if __name__ == "__main__":
    main()
