"""How often drift is told where there is none, and how soon where there is: made-up store days, seeded.

    python benchmarks/drift.py [--cameras N] [--days N] [--tries N] [--seed N] [--json]

Each camera learns its first days and is then watched, a value a minute, round the clock. Its signals have a rhythm of
the day, memory from minute to minute, days that differ, now and then a wild value (a shopper, a reflection), and the
dependences of the real ones: what the slots show moves together. Then each kind of harm comes, at random minutes
of the next day, and stays: how many values until it is told, and as which cause.
It is not: a rendered store. It measures the detector on signals whose truth is known, not the signals.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.drift.cause import Cause
from edge_runtime.drift.monitor import DriftMonitor, DriftState
from edge_runtime.drift.signals import NAMES

DAY = 1440
LEARNING_DAYS = 5
WITHIN = 12
"""Values in which a harm should be told."""
BEFORE = 60
"""Values before a harm that are watched, so that it finds a monitor in the middle of its work."""
WILD_PER_DAY = 1.0
WILD_SIZE = 8.0
"""Of a wild value, in the minute noise's spread; one to three values long."""


@dataclass(frozen=True)
class Shape:
    """How a signal lives, in its own unit."""

    level: float
    noise: float
    memory: float
    """Correlation of the noise from minute to minute."""
    swing: float
    """Half the way from night to day."""
    days: float
    """Spread of the level over days."""
    goes_with: str = ""
    closely: float = 0.0


SHAPES: Mapping[str, Shape] = {
    "gain": Shape(0.0, 0.01, 0.7, 0.10, 0.01),
    "light_residual": Shape(0.04, 0.006, 0.7, 0.02, 0.004),
    "registration_residual": Shape(0.6, 0.03, 0.3, 0.02, 0.01),
    "inliers": Shape(5.5, 0.04, 0.5, 0.08, 0.02),
    "sharpness": Shape(1.0, 0.01, 0.5, 0.03, 0.005),
    "noise": Shape(2.0, 0.05, 0.3, 0.30, 0.05),
    "usable": Shape(1.0, 0.0, 0.0, 0.0, 0.0),
    "confidence": Shape(0.95, 0.004, 0.9, 0.005, 0.002),
    "entropy": Shape(0.15, 0.01, 0.9, 0.01, 0.005, "confidence", -0.9),
    "unknown": Shape(0.03, 0.015, 0.9, 0.01, 0.003),
    "answered": Shape(0.95, 0.015, 0.9, 0.01, 0.003, "unknown", -0.9),
    "stocked": Shape(0.85, 0.02, 0.98, 0.03, 0.01),
    "low": Shape(0.06, 0.015, 0.98, 0.02, 0.005, "stocked", -0.6),
    "empty": Shape(0.05, 0.015, 0.98, 0.02, 0.005, "stocked", -0.6),
}


@dataclass(frozen=True)
class Harm:
    """What goes wrong, and what it adds to the signals. `alone`: nothing else can be measured any more."""

    name: str
    cause: Cause
    adds: Mapping[str, float]
    alone: bool = False


HARMS = (
    Harm("lamp fails", Cause.ENVIRONMENT, {"gain": 0.5, "light_residual": 0.08, "noise": 1.0, "confidence": -0.03}),
    Harm(
        "lens dirty",
        Cause.ENVIRONMENT,
        {"sharpness": -0.3, "inliers": -0.7, "registration_residual": 0.3, "confidence": -0.05, "entropy": 0.12},
    ),
    Harm(
        "camera bumped",
        Cause.ENVIRONMENT,
        {"inliers": -0.9, "registration_residual": 0.5, "confidence": -0.03, "unknown": 0.15, "answered": -0.15},
    ),
    Harm("sensor noisy", Cause.ENVIRONMENT, {"noise": 1.5, "sharpness": -0.1, "confidence": -0.02}),
    Harm("covered", Cause.ENVIRONMENT, {"usable": -1.0}, alone=True),
    Harm("new packs", Cause.PRODUCT, {"confidence": -0.06, "entropy": 0.15, "unknown": 0.12, "answered": -0.12}),
    Harm("model wrong", Cause.PRODUCT, {"confidence": -0.08, "entropy": 0.2, "stocked": -0.3, "empty": 0.3}),
)


def made_up_days(rng: np.random.Generator, days: int) -> dict[str, NDArray[np.float64]]:
    """Signal -> a value a minute."""
    minutes = np.arange(days * DAY)
    daylight = np.cos(2 * np.pi * (minutes / 60 % 24 - 13) / 24)
    noise = {name: _remembering(rng.normal(size=minutes.size), shape.memory) for name, shape in SHAPES.items()}
    level = {name: np.interp(minutes, np.arange(days + 1) * DAY, rng.normal(size=days + 1)) for name in SHAPES}
    for name, shape in SHAPES.items():
        if shape.goes_with:
            for part in (noise, level):
                part[name] = shape.closely * part[shape.goes_with] + np.sqrt(1 - shape.closely**2) * part[name]
    wild = np.zeros((len(SHAPES), minutes.size))
    for at in np.flatnonzero(rng.random(minutes.size) < WILD_PER_DAY / DAY):
        wild[:, at : at + rng.choice([1, 1, 1, 2, 3])] += WILD_SIZE * rng.normal(size=(len(SHAPES), 1))
    return {
        name: shape.level + shape.swing * daylight + shape.days * level[name] + shape.noise * (noise[name] + spike)
        for (name, shape), spike in zip(SHAPES.items(), wild, strict=True)
    }


def _remembering(white: NDArray[np.float64], memory: float) -> NDArray[np.float64]:
    fresh = np.sqrt(1 - memory**2) * white
    before = 0.0
    for at, value in enumerate(fresh):
        fresh[at] = before = memory * before + value
    return fresh


def watch(monitor: DriftMonitor, stream: Mapping[str, NDArray[np.float64]], begin: int, end: int) -> int:
    """How often drift began to be told between two minutes."""
    told = 0
    drifting = False
    for at in range(begin, end):
        monitor.take({name: float(values[at]) for name, values in stream.items()}, at // 60 % 24)
        now = monitor.report().state is DriftState.DRIFTING
        told += now and not drifting
        drifting = now
    return told


def meet(monitor: DriftMonitor, stream: Mapping[str, NDArray[np.float64]], at: int, harm: Harm) -> tuple[int, Cause]:
    """Values from the harm's first minute until drift is told (0: not within WITHIN), and the cause then."""
    watch(monitor, stream, at - BEFORE, at)
    for count in range(1, WITHIN + 1):
        names = harm.adds if harm.alone else stream
        minute = at + count - 1
        monitor.take(
            {name: float(stream[name][minute]) + harm.adds.get(name, 0.0) for name in names}, minute // 60 % 24
        )
        report = monitor.report()
        if report.state is DriftState.DRIFTING:
            return count, report.cause
    return 0, Cause.NONE


def most_likely_below(events: int) -> float:
    """The upper end of a one-sided 95 % interval for the mean of a Poisson count."""
    mean = float(events)
    while True:
        terms = np.cumprod([np.exp(-mean), *(mean / n for n in range(1, events + 1))])
        if terms.sum() <= 0.05:
            return mean
        mean += 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--days", type=int, default=30, help="watched days of each camera")
    parser.add_argument("--tries", type=int, default=5, help="of each harm, for each camera")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began_s = time.perf_counter()
    alarms = 0
    met: dict[str, list[tuple[int, bool]]] = {harm.name: [] for harm in HARMS}
    for camera in range(asked.cameras):
        rng = np.random.default_rng([asked.seed, camera])
        stream = made_up_days(rng, LEARNING_DAYS + asked.days)
        monitor = DriftMonitor("camera")
        watch(monitor, stream, 0, LEARNING_DAYS * DAY)
        for harm in HARMS:
            for _ in range(asked.tries):
                at = LEARNING_DAYS * DAY + BEFORE + int(rng.integers(DAY))
                count, cause = meet(copy.deepcopy(monitor), stream, at, harm)
                met[harm.name].append((count, cause is harm.cause))
        alarms += watch(monitor, stream, LEARNING_DAYS * DAY, (LEARNING_DAYS + asked.days) * DAY)
    _print(alarms, asked.cameras * asked.days, met, time.perf_counter() - began_s, asked.json)


def _print(alarms: int, days: int, met: Mapping[str, list[tuple[int, bool]]], seconds: float, as_json: bool) -> None:
    rows = []
    for name, results in met.items():
        counts = [count for count, _ in results if count]
        rows.append(
            {
                "harm": name,
                "told": len(counts) / len(results),
                "median_values": float(np.median(counts)) if counts else None,
                "cause_right": sum(right for count, right in results if count) / max(1, len(counts)),
            }
        )
    every = [result for results in met.values() for result in results]
    summary = {
        "camera_days": days,
        "signals": len(NAMES),
        "false_alarms": alarms,
        "per_90_days": round(90 * alarms / days, 2),
        "per_90_days_below": round(90 * most_likely_below(alarms) / days, 2),
        "told_within": WITHIN,
        "told": round(sum(count > 0 for count, _ in every) / len(every), 3),
        "harms": rows,
        "seconds": round(seconds, 1),
    }
    if as_json:
        print(json.dumps(summary))
        return
    print(
        f"false alarms: {alarms} in {days} camera-days, {summary['per_90_days']} in 90 days over {len(NAMES)} signals"
    )
    print(f"              below {summary['per_90_days_below']} in 90 days with 95 % confidence; the mark is 1")
    print(f"{'harm':16} {f'told within {WITHIN}':>15} {'values (median)':>16} {'cause right':>12}")
    for row in rows:
        median = "-" if row["median_values"] is None else f"{row['median_values']:.0f}"
        print(f"{row['harm']:16} {row['told']:>15.0%} {median:>16} {row['cause_right']:>12.0%}")
    print(f"all              {summary['told']:>15.1%}; the mark is 95 %    ({seconds:.0f} s)")


if __name__ == "__main__":
    main()
