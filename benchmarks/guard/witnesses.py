"""How often the witnesses of a dispute are right: real models against real models on recorded days.

usage: python -m benchmarks.guard.witnesses [--seeds 51 52 ...]
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.guard.days import Day
from edge_runtime.lifecycle.guard import SlotPair
from edge_runtime.records import State

Dispute = tuple[SlotPair, bool, bool]
"""The pair, and whether the one on trial and the incumbent are right."""


def disputes(day: Day, models: Sequence[str]) -> Iterator[Dispute]:
    """The first of each look in which both answer and exactly one is right."""
    for incumbent, trial in itertools.combinations(models, 2):
        told: set[str] = set()
        for moment in day.life(incumbent, trial):
            for number, pair in enumerate(moment.pairs):
                if pair.novelty >= 0.5:
                    told.discard(pair.slot)
                mine, theirs = bool(moment.right[number]), bool(moment.theirs_right[number])
                if pair.both_answer and mine is not theirs and pair.slot not in told:
                    told.add(pair.slot)
                    yield pair, mine, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(51, 62)))
    heard, right = Counter[str](), Counter[str]()
    for seed in parser.parse_args().seeds:
        day = Day(seed)
        models = [name for name in day.names if name not in ("float", "colours")]
        for pair, mine, theirs in disputes(day, models):
            for name, correct in _said(pair, mine, theirs):
                heard[name] += 1
                right[name] += correct
    for name in sorted(heard):
        print(f"{name}: right in {right[name] / heard[name]:.3f} of {heard[name]}")


def _said(pair: SlotPair, mine: bool, theirs: bool) -> Iterator[tuple[str, bool]]:
    if pair.likeness is not None and (pair.mine is State.STOCKED) != (pair.theirs is State.STOCKED):
        stocked = mine if pair.mine is State.STOCKED else theirs
        band = ">= 0.95" if pair.likeness >= 0.95 else ">= 0.90" if pair.likeness >= 0.90 else "below 0.90"
        yield f"stocked, likeness {band}", stocked
    margin = _logit(pair.theirs_confidence) - _logit(pair.mine_confidence)
    yield f"the surer one, by {min(3, int(abs(margin)))} logits and more", theirs if margin > 0 else mine


def _logit(confidence: float) -> float:
    held = min(max(confidence, 0.002), 0.998)
    return math.log(held / (1.0 - held))


if __name__ == "__main__":
    main()
