"""The day script (BENCH.md 1): simulated store days through the daemon's pipeline, and what could be made of them.

usage: python -m benchmarks.days [--seeds 51 52 ...] [--rules | --pace minute] [--model BUNDLE] [--keep FOLDER]

A day is four hours before a bay that no model was trained on, a picture every 45 s: slots sell off and are filled,
shoppers, arms and trolleys stand in front, the light changes, in three days of five the camera is knocked
(edge_runtime/simulator/trading.py). `--pace minute` plays the demo's days instead: a whole day in a minute, two pictures
a second. Recordings and the model's answers are kept, so that a second run takes seconds.

What counts as an event of the truth, as told, as false: edge_runtime/cli/day_truth.py and day_marks.py. Seeds 1 to 10
are those on which the rules were compared while they were made; 51 and up were looked at afterwards only. `answerable`
is the share of the true events that any rule could tell: those after which the model's answers were mostly right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2

from benchmarks.day_rules import RULES, Rule
from benchmarks.day_scores import RecordedDay, load_day
from edge_runtime.cli.day_marks import DayMarks
from edge_runtime.cli.day_truth import standing
from edge_runtime.daemon.compose import default_bundle
from edge_runtime.lifecycle.bundle import Bundle, read_bundle
from edge_runtime.records import ANSWERS
from edge_runtime.shelf.states import TrackerSettings
from edge_runtime.simulator.demo import demo_day
from edge_runtime.simulator.record import record_day
from edge_runtime.simulator.trading import HOUR_S, store_day

SHIPPED = Rule(TrackerSettings())
PACES = {"store": (45.0, 4 * HOUR_S), "minute": (0.5, 60.0)}
"""Seconds between two pictures, and how long a day is watched."""
COLUMNS = {
    "event_recall": "recall",
    "event_precision": "precision",
    "captures_to_detect_median": "median",
    "captures_to_detect_p95": "p95",
    "false_alerts_per_day": "false/day",
    "availability_error_points": "OSA error",
    "balanced_accuracy": "bal. acc.",
    "coverage": "coverage",
}


def days(keep: Path, pace: str, seeds: Sequence[int], bundle: Bundle) -> Iterator[tuple[int, RecordedDay]]:
    """Each seed's day with the model's answers, rendered and inferred unless that was done before."""
    interval_s, until_s = PACES[pace]
    for seed in seeds:
        folder = keep / f"{pace}-{seed}"
        if not (folder / "day.json").exists():
            day = store_day(seed, until_s / HOUR_S) if pace == "store" else demo_day(seed)
            record_day(folder, day, interval_s, until_s)
        yield seed, load_day(folder, bundle, interval_s)


def answerable(day: RecordedDay) -> tuple[int, int]:
    """(events after which the model's answers were mostly right, events) of one day."""
    right = wanted = 0
    for number, slot in enumerate(day.layout.slots):
        seen = [capture.truth[slot.id] for capture in day.captures]
        for change in standing(slot.id, seen)[1:]:
            hits = [
                ANSWERS[int(capture.scores.probabilities[number].argmax())] is change.state
                for capture in day.captures[change.first : change.end]
                if capture.scores is not None and capture.truth[slot.id].visible
            ]
            wanted += 1
            right += 2 * sum(hits) > len(hits)
    return right, wanted


def main() -> None:
    asked = _parser().parse_args()
    cv2.setNumThreads(1)
    bundle = read_bundle(asked.model or default_bundle())
    rules: Mapping[str, Rule] = RULES if asked.rules else {"shipped": SHIPPED}
    totals = {name: DayMarks() for name in rules}
    possible = 0
    for seed, day in days(asked.keep, asked.pace, asked.seeds, bundle):
        possible += answerable(day)[0]
        for name, rule in rules.items():
            found = rule.play(day, bundle.manifest.thresholds)
            totals[name] += found
            if not asked.rules:
                print(json.dumps({"seed": seed} | found.summary()), flush=True)
        sys.stderr.write(f"day {seed} done\n")
    _tell(totals, possible)
    print(json.dumps({"model": bundle.id.version, "pace": asked.pace, "seeds": asked.seeds} | _all(totals, possible)))


def _all(totals: Mapping[str, DayMarks], possible: int) -> dict[str, object]:
    wanted = max(1, next(iter(totals.values())).wanted)
    return {"answerable": round(possible / wanted, 4)} | {name: marks.summary() for name, marks in totals.items()}


def _tell(totals: Mapping[str, DayMarks], possible: int) -> None:
    width = max(len(name) for name in totals)
    print(" " * width, *(title.rjust(10) for title in COLUMNS.values()))
    for name, marks in totals.items():
        summary = marks.summary()
        print(name.ljust(width), *(_shown(summary[key]).rjust(10) for key in COLUMNS))
    marks = next(iter(totals.values()))
    print(f"{marks.days} days, {marks.captures} captures, {marks.wanted} events, {possible} of them answerable")


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(51, 71)))
    parser.add_argument("--pace", choices=tuple(PACES), default="store")
    parser.add_argument("--rules", action="store_true", help="compare all rules over time of day_rules.py")
    parser.add_argument("--model", type=Path, help="a bundle; default: the newest that ships")
    parser.add_argument("--keep", type=Path, default=Path("var/tmp/days"), help="where recordings and answers are kept")
    return parser


if __name__ == "__main__":
    main()
