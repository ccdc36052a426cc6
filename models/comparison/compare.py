"""Candidates for the slot model, side by side, from seeds: what decision page 0006 reports.

    python models/comparison/compare.py [--plan comparison.toml] [--var var] [--until STEP] [--skip STEP ...]

Needs edge-runtime[train]. Each step keeps its result under var/ and goes on where it was stopped. Settings are chosen
on validation shelves; the test shelves (other packs) are read for the tables alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from contest import Contest
from material import ROOT
from scoring import Logits, accuracy, calibration, chosen_by, interval
from settings import read_comparison

from edge_runtime.manifest import decode_manifest
from edge_runtime.workshop.run import Graph, latency_ms

STEPS = ("material", "frozen", "scratch", "distilled", "report")
VALIDATION, TEST, RAW = ("validation", "normalized"), ("test", "normalized"), ("test", "raw")
COLUMNS = {
    "lab": "lab",
    "s1": "S1",
    "s3": "S3",
    "s5": "S5",
    "store_s3": "store S3",
    "low_recall": "`low` recall",
    "low_precision": "`low` precision",
    "ece_lab": "ECE lab",
    "ece_s3": "ECE S3",
    "coverage_s3": "coverage S3",
    "answered_s3": "answered S3",
    "s3_interval": "S3, 95 %",
    "s3_difference": "S3 against, 95 %",
}
TURNS = 5
SHIPPED = "shipped (int8)"


class Report:
    """The tables, from candidates that are all made."""

    def __init__(self, contest: Contest) -> None:
        self.contest, self.plan = contest, contest.plan
        self.validation, self.test = contest.views(VALIDATION), contest.views(TEST)
        self.lines: dict[str, dict[str, object]] = {}

    def candidates(self) -> None:
        """Every candidate that is made, on normalized views; against the network from scratch, or else the shipped one."""
        ask = self.contest
        said = {
            "frozen Lite0, current crop": _both(ask.frozen_logits, "current"),
            "frozen Lite0, current, reference, difference": _both(ask.frozen_logits, "triple"),
            **{f"two inputs, {name}": _both(ask.network_logits, name) for name in ask.made()},
            SHIPPED: (ask.shipped_logits(VALIDATION), ask.shipped_logits(TEST)),
        }
        against = said.get("two inputs, scratch", said[SHIPPED])[1]
        for name, (fitted, logits) in said.items():
            self._line("candidates", name, fitted, logits, against)
            calibrated = calibration(self.validation, fitted, self.test, logits)
            self.lines["candidates"][name] |= asdict(calibrated)

    def recentring(self) -> None:
        """Against the same candidate without it: the share chosen on validation, and the whole shift."""
        for of in ("triple", *self.contest.made()[:1]):
            fitted, logits = self.contest.recentred(of, VALIDATION), self.contest.recentred(of, TEST)
            for way, by in fitted.items():
                share = max(self.plan.recentre.shares, key=lambda each, by=by: chosen_by(self.validation, by(each)))
                for each in dict.fromkeys((share, 1.0)):
                    name = f"{of}, {way}, {each:g}{' (chosen)' if each == share else ''}"
                    self._line("recentring", name, by(each), logits[way](each), logits[way](0.0))

    def before_and_after(self) -> None:
        """Neither, preprocessing only, training only, both."""
        ask = self.contest
        raw, view = ask.views(RAW), self.test
        rows = [
            ("triple: neither", ask.frozen_logits("lab", RAW), raw),
            ("triple: preprocessing only", ask.frozen_logits("lab", TEST), view),
            ("triple: training only", ask.frozen_logits("triple", RAW), raw),
            ("triple: both", ask.frozen_logits("triple", TEST), view),
        ]
        for name in ask.made():
            rows.append((f"{name}: training only", ask.network_logits(name, RAW), raw))
            rows.append((f"{name}: both", ask.network_logits(name, TEST), view))
        rows.append((f"{SHIPPED}: training only", ask.shipped_logits(RAW), raw))
        rows.append((f"{SHIPPED}: both", ask.shipped_logits(TEST), view))
        for name, logits, crops in rows:
            self.lines.setdefault("preprocessing", {})[name] = asdict(accuracy(crops, logits))

    def cost(self) -> None:
        """Multiply-adds of a slot, size, and milliseconds for 32 slots on one thread; all graphs in turns."""
        bodies = self._bodies()
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in bodies}
        for _ in range(TURNS):
            for name, (_, size, *both) in bodies.items():
                taken[name].append(latency_ms(tuple(Graph(body) for body in both), size, rounds=8))
        for name, (macs, _, full, small) in bodies.items():
            slow, fast = np.median(taken[name], 0)
            self.lines.setdefault("cost", {})[name] = {
                "million multiply-adds": macs / 1e6,
                "float32 KB": len(full) / 1024,
                "int8 KB": len(small) / 1024,
                "float32 ms": float(slow),
                "int8 ms": float(fast),
            }

    def _bodies(self) -> dict[str, tuple[int, int, bytes, bytes]]:
        """Multiply-adds, side of a crop, float32 and int8 graph of each."""
        ask, crop = self.contest, self.plan.crop
        once = ask.backbone_cost
        files = {"current": (once, crop.backbone), "triple": (2 * once, crop.backbone)}
        files |= {name: (ask.network_cost(name), crop.network) for name in ask.made()}
        bodies = {name: (*of, ask.file(name), ask.file(name, "int8")) for name, of in files.items()}
        manifest = decode_manifest(ask.shipped("manifest.json"))
        macs, side = int(manifest.provenance["multiply_adds"]), manifest.input.size[0]
        return bodies | {SHIPPED: (macs, side, ask.shipped("model.fp32.onnx"), ask.shipped("model.onnx"))}

    def _line(self, table: str, name: str, fitted: Logits, logits: Logits, against: Logits) -> None:
        found: dict[str, object] = asdict(accuracy(self.test, logits))
        ask = (3, self.plan.bootstrap.draws, self.plan.seed)
        found["s3_interval"] = interval(self.test, logits, *ask)
        found["s3_difference"] = interval(self.test, logits, *ask, against=against)
        found["validation"] = chosen_by(self.validation, fitted)
        self.lines.setdefault(table, {})[name] = found

    def print(self) -> None:
        """As tables; `against` is the network from scratch, and for re-centring the same candidate without it."""
        for table, rows in self.lines.items():
            keys = [key for key in next(iter(rows.values())) if table == "cost" or key in COLUMNS]
            print(f"\n| {table} | {' | '.join(COLUMNS.get(key, key) for key in keys)} |\n{'|---' * (len(keys) + 1)}|")
            for name, row in rows.items():
                print(f"| {name} | {' | '.join(_cell(row[key], 1 if table == 'cost' else 100) for key in keys)} |")


def _cell(value: object, scale: float) -> str:
    if isinstance(value, tuple | list):
        return f"{scale * value[0]:+.1f} to {scale * value[1]:+.1f}"
    assert isinstance(value, float)
    return f"{scale * value:.1f}"


def _both(ask: object, kind: str) -> tuple[Logits, Logits]:
    return ask(kind, VALIDATION), ask(kind, TEST)


def run(contest: Contest, until: str = STEPS[-1], skip: Sequence[str] = ()) -> Report | None:
    """All steps up to `until` but the skipped; the report, if that is the last, of what is made."""
    steps = {
        "material": lambda: contest.rounds,
        "frozen": lambda: [contest.frozen(kind) for kind in ("current", "triple", "lab")],
        "scratch": lambda: contest.refitted("scratch"),
        "distilled": lambda: contest.refitted("distilled"),
    }
    for name in STEPS[: STEPS.index(until) + 1]:
        if name in steps and name not in skip:
            print(f"-- {name}", flush=True)
            steps[name]()
    if until != "report":
        return None
    report = Report(contest)
    for table in (report.candidates, report.recentring, report.before_and_after, report.cost):
        table()
        (contest.work / "figures.json").write_text(json.dumps(report.lines, indent=1))
    return report


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--plan", type=Path, default=Path(__file__).with_name("comparison.toml"))
    ask.add_argument("--var", type=Path, default=ROOT / "var")
    ask.add_argument("--until", choices=STEPS, default=STEPS[-1])
    ask.add_argument("--skip", choices=("scratch", "distilled"), nargs="*", default=(), help="report without it")
    given = ask.parse_args()
    report = run(Contest(read_comparison(given.plan), given.var), given.until, given.skip)
    if report:
        report.print()


if __name__ == "__main__":
    main()
