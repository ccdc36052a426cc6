"""Simulated store days that nothing was tuned on: are the states over time right?

usage: python -m benchmarks.days [--seeds 101 102 103 104] [--seconds 60] [--interval 0.5]

The first minute of each seed's day goes through the daemon's pipeline. Every published slot state is compared with the
truth at its capture: accuracy over answered slots whose truth is not blocked, coverage over all slots whose truth is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from edge_runtime.daemon.compose import load_pipeline
from edge_runtime.records import ANSWERS, Frame, State
from edge_runtime.simulator.demo import commission, demo_day


def measure(seed: int, seconds: float, interval_s: float) -> dict[str, float]:
    """One day: accuracy, balanced accuracy, coverage, and events told."""
    day = demo_day(seed)
    pairs: Counter[tuple[State, State]] = Counter()
    told = 0
    with tempfile.TemporaryDirectory() as name:
        commission(Path(name), day)
        _, _, pipeline = load_pipeline(Path(name) / "layout.json")
        for number in range(int(seconds / interval_s)):
            t = number * interval_s
            rendering, moment = day.frame_at(t), day.moment(t)
            truth = day.truth_of(moment, rendering.covered)
            outcome = pipeline.step(Frame("day", number, rendering.image, 1.7e9 + t, t))
            told += sum(event.kind == "slot" for event in outcome.events)
            for status in outcome.statuses:
                pairs[State(truth[status.slot].state), status.state] += 1
    seen = {pair: n for pair, n in pairs.items() if pair[0] is not State.BLOCKED}
    answered = {pair: n for pair, n in seen.items() if pair[1] in ANSWERS}
    recalls = []
    for state in ANSWERS:
        total = sum(n for pair, n in answered.items() if pair[0] is state)
        if total:
            recalls.append(answered.get((state, state), 0) / total)
    right = sum(n for (was, said), n in answered.items() if was is said)
    return {
        "seed": seed,
        "accuracy": round(right / sum(answered.values()), 4),
        "balanced_accuracy": round(sum(recalls) / len(recalls), 4),
        "coverage": round(sum(answered.values()) / sum(seen.values()), 4),
        "events_told": told,
        "slot_states": sum(pairs.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=0.5)
    asked = parser.parse_args()
    for seed in asked.seeds:
        print(json.dumps(measure(seed, asked.seconds, asked.interval)), flush=True)


if __name__ == "__main__":
    main()
