"""Candidates for the slot model, side by side, from seeds: what decision page 0006 reports.

    python models/comparison/compare.py [--plan comparison.toml] [--var var] [--until STEP]

Needs edge-runtime[train]. Each step keeps its result under var/ and goes on where it was stopped. Settings are chosen
on validation shelves; the test shelves (other packs) are read for the tables alone.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from contest import Contest
from material import ROOT
from scoring import Logits, chosen_by, interval, score
from settings import read_comparison

from edge_runtime.manifest import decode_manifest
from edge_runtime.workshop.run import Graph, latency_ms

STEPS = ("material", "frozen", "scratch", "distilled", "report")
VALIDATION, TEST, RAW = ("validation", "normalized"), ("test", "normalized"), ("test", "raw")
COLUMNS = ("lab", "s1", "s3", "s5", "store_s3", "low_recall", "low_precision", "ece_lab", "ece_s3")
HEADS = ("lab", "S1", "S3", "S5", "store S3", "`low` recall", "`low` precision", "ECE lab", "ECE S3")
TURNS = 5


class Report:
    """The tables, from candidates that are all made."""

    def __init__(self, contest: Contest) -> None:
        self.contest, self.plan = contest, contest.plan
        self.validation, self.test = contest.views(VALIDATION), contest.views(TEST)
        self.lines: dict[str, dict[str, object]] = {}

    def main(self) -> None:
        """Every candidate, normalized views."""
        said = self._candidates()
        against = said["two inputs, from scratch"][1]
        for name, (fitted, logits) in said.items():
            self._line("candidates", name, fitted, logits, against)
        for of, label in (("triple", "frozen triple"), ("scratch", "two inputs")):
            fitted, logits = self.contest.recentred(of, VALIDATION), self.contest.recentred(of, TEST)
            for way, by in fitted.items():
                share = max(self.plan.recentre.shares, key=lambda each, by=by: chosen_by(self.validation, by(each)))
                for each in dict.fromkeys((share, 1.0)):
                    name = f"{label}, {way}, {each:g}{' (chosen)' if each == share else ''}"
                    self._line("recentring", name, by(each), logits[way](each), logits[way](0.0))

    def _candidates(self) -> dict[str, tuple[Logits, Logits]]:
        contest = self.contest
        return {
            "frozen Lite0, current crop": _both(contest.frozen_logits, "current"),
            "frozen Lite0, current, reference, difference": _both(contest.frozen_logits, "triple"),
            "two inputs, from scratch": _both(contest.network_logits, "scratch"),
            "two inputs, distilled": _both(contest.network_logits, "distilled"),
            "shipped 1.0.0 (int8)": (contest.shipped_logits(VALIDATION), contest.shipped_logits(TEST)),
        }

    def before_and_after(self) -> None:
        """Neither, preprocessing only, training only, both."""
        contest = self.contest
        raw, view = contest.views(RAW), self.test
        rows = [
            ("frozen triple: neither", contest.frozen_logits("lab", RAW), raw),
            ("frozen triple: preprocessing only", contest.frozen_logits("lab", TEST), view),
            ("frozen triple: training only", contest.frozen_logits("triple", RAW), raw),
            ("frozen triple: both", contest.frozen_logits("triple", TEST), view),
            ("two inputs: training only", contest.network_logits("scratch", RAW), raw),
            ("two inputs: both", contest.network_logits("scratch", TEST), view),
            ("shipped 1.0.0: training only", contest.shipped_logits(RAW), raw),
            ("shipped 1.0.0: both", contest.shipped_logits(TEST), view),
        ]
        for name, logits, crops in rows:
            found = asdict(score(crops, logits, crops, logits))
            kept = ("lab", "s1", "s3", "s5", "store_s3", "low_recall", "low_precision")
            self.lines.setdefault("preprocessing", {})[name] = {key: found[key] for key in kept}

    def cost(self) -> None:
        """Multiply-adds of a slot, bytes, and milliseconds for 32 slots on one thread; all graphs in turns."""
        contest, crop = self.contest, self.plan.crop
        once = contest.backbone_cost
        files = {
            "frozen Lite0, current crop": (once, crop.backbone, "current"),
            "frozen Lite0, triple": (2 * once, crop.backbone, "triple"),
            "two inputs, from scratch": (contest.network_cost("scratch"), crop.network, "scratch"),
        }
        bodies = {
            name: (macs, size, contest.file(file), contest.file(file, "int8"))
            for name, (macs, size, file) in files.items()
        }
        shipped = decode_manifest(contest.shipped("manifest.json"))
        full, small = contest.shipped("model.fp32.onnx"), contest.shipped("model.onnx")
        macs = int(shipped.provenance["multiply_adds"])
        bodies[f"shipped {shipped.version}"] = (macs, shipped.input.size[0], full, small)
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in bodies}
        for _ in range(TURNS):
            for name, (_, size, *both) in bodies.items():
                taken[name].append(latency_ms(tuple(Graph(body) for body in both), size, rounds=8))
        for name, (macs, _, full, small) in bodies.items():
            slow, fast = np.median(taken[name], 0)
            self.lines.setdefault("cost", {})[name] = {
                "million_multiply_adds": macs / 1e6,
                "float32_kb": len(full) / 1024,
                "int8_kb": len(small) / 1024,
                "float32_ms": float(slow),
                "int8_ms": float(fast),
            }

    def _line(self, table: str, name: str, fitted: Logits, logits: Logits, against: Logits) -> None:
        found = asdict(score(self.validation, fitted, self.test, logits))
        ask = (3, self.plan.bootstrap.draws, self.plan.seed)
        found["s3_interval"] = interval(self.test, logits, *ask)
        found["s3_difference"] = interval(self.test, logits, *ask, against=against)
        found["validation"] = chosen_by(self.validation, fitted)
        self.lines.setdefault(table, {})[name] = found

    def print(self) -> None:
        """As tables of a decision page; the interval is of S3, its difference to the network from scratch (or to no re-centring)."""
        for table in ("candidates", "recentring"):
            print(f"\n| {table} | {' | '.join(HEADS)} | S3 interval | S3 difference |\n{'|---' * (len(HEADS) + 3)}|")
            for name, row in self.lines[table].items():
                cells = [f"{100 * row[key]:.1f}" for key in COLUMNS]
                cells += [_span(row["s3_interval"]), _span(row["s3_difference"], "+")]
                print(f"| {name} | {' | '.join(cells)} |")
        for table in ("preprocessing", "cost"):
            rows = self.lines[table]
            keys = list(next(iter(rows.values())))
            print(f"\n| {table} | {' | '.join(keys)} |\n{'|---' * (len(keys) + 1)}|")
            for name, row in rows.items():
                scale = 100 if table == "preprocessing" else 1
                print(f"| {name} | {' | '.join(f'{scale * row[key]:.1f}' for key in keys)} |")


def _both(ask: object, kind: str) -> tuple[Logits, Logits]:
    return ask(kind, VALIDATION), ask(kind, TEST)


def _span(ends: tuple[float, float], sign: str = "") -> str:
    return f"{100 * ends[0]:{sign}.1f} to {100 * ends[1]:{sign}.1f}"


def run(contest: Contest, until: str = STEPS[-1]) -> Report | None:
    """All steps up to `until`; the report, if that is the last."""
    steps = {
        "material": lambda: contest.rounds,
        "frozen": lambda: [contest.frozen(kind) for kind in ("current", "triple", "lab")],
        "scratch": lambda: contest.refitted("scratch"),
        "distilled": lambda: contest.refitted("distilled"),
    }
    for name in STEPS[: STEPS.index(until) + 1]:
        print(f"-- {name}", flush=True)
        if name in steps:
            steps[name]()
    if until != "report":
        return None
    report = Report(contest)
    report.main()
    report.before_and_after()
    report.cost()
    (contest.work / "figures.json").write_text(json.dumps(report.lines, indent=1))
    return report


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--plan", type=Path, default=Path(__file__).with_name("comparison.toml"))
    ask.add_argument("--var", type=Path, default=ROOT / "var")
    ask.add_argument("--until", choices=STEPS, default=STEPS[-1])
    given = ask.parse_args()
    report = run(Contest(read_comparison(given.plan), given.var), given.until)
    if report:
        report.print()


if __name__ == "__main__":
    main()
