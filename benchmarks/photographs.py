"""Real store photographs with boxes of empty facings: does `infer` run on all, and does it tell empty from full?

    python -m benchmarks.photographs FOLDER [--model BUNDLE ...] [--split train|val|all] [--shake S] [--limit N] [--json]

FOLDER holds `images/`, `labels/*.txt` (YOLO boxes, class 0 = empty facing) and `split.csv`. A layout is made from each
photograph: every box is a slot, and so are facings of the same row, one box width to the left and to the right, that
touch no other box. The reference is the photograph itself: nobody commissioned these shelves, so a model that looks at
what changed sees nothing change, and the figures say what the current crop alone tells it.

The shipped model is always told, and each `--model` beside it, by the same rule: the area under the curve of the `empty`
score, void against facing, and accuracy at a threshold chosen on photographs of the train split. Where a bundle was
fitted on that split, its provenance names those that it was not fitted on (`held_out_photographs`), and the threshold of
every model comes from them. Intervals are 95 % bootstraps over groups of linked photographs.

`--shake S` moves every box, voids and facings alike, by normal shares of its sides and scales them likewise: where a box
lies against the packs beside it then says less. Labels are incomplete: some facings are gaps that nobody boxed.
Evaluation only; nothing of the photographs is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.cli.main import main as edge_runtime
from edge_runtime.layout import write_layout
from edge_runtime.lifecycle.bundle import read_manifest
from edge_runtime.records import Slot
from edge_runtime.workshop.crops import read_picture
from edge_runtime.workshop.photographs import (
    TRAIN,
    Photograph,
    area_under_curve,
    best_threshold,
    quad,
    read_photographs,
    shaken,
    slots_of,
)

SHIPPED = "shipped"
ROUNDS = 1000


@dataclass
class Tally:
    """What one model said of one part of the photographs."""

    scores: list[float] = field(default_factory=list)
    void: list[bool] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("photographs", "ran", "usable", "without_boxes", "slots", "answered", "voids_called_empty"), 0
        )
    )

    def add(self, photograph: Photograph, record: dict[str, object], voids: int) -> None:
        """One line of `infer`; the first `voids` slots are voids, and without one nothing is scored."""
        found = record["slots"]
        assert isinstance(found, list)
        self.counts["photographs"] += 1
        self.counts["ran"] += 1
        self.counts["usable"] += bool(record["usable"])
        self.counts["without_boxes"] += voids == 0
        for k, slot in enumerate(found if voids else ()):
            self.scores.append(slot["scores"]["empty"])
            self.void.append(k < voids)
            self.group.append(photograph.group)
            self.counts["slots"] += 1
            self.counts["answered"] += slot["state"] in ("stocked", "low", "empty")
            self.counts["voids_called_empty"] += k < voids and slot["state"] == "empty"

    def figures(self, threshold: float) -> dict[str, object]:
        """Area under the curve and accuracy, each with its interval."""
        scores, void = np.array(self.scores), np.array(self.void, bool)
        right = (scores > threshold) == void
        names, member = np.unique(self.group, return_inverse=True)
        rows = [np.flatnonzero(member == k) for k in range(len(names))]
        rng, areas, shares = np.random.default_rng(0), [], []
        for _ in range(ROUNDS):
            drawn = np.concatenate([rows[k] for k in rng.integers(0, len(names), len(names))])
            areas.append(area_under_curve(scores[drawn][void[drawn]], scores[drawn][~void[drawn]]))
            shares.append(right[drawn].mean())
        return {
            **self.counts,
            "voids": int(void.sum()),
            "facings": int((~void).sum()),
            "auc_empty": round(area_under_curve(scores[void], scores[~void]), 4),
            "auc_interval": _interval(areas),
            "accuracy": round(float(right.mean()), 4),
            "accuracy_interval": _interval(shares),
            "threshold": round(threshold, 4),
            "facings_right": round(float(right[~void].mean()), 4),
            "voids_right": round(float(right[void].mean()), 4),
        }


def infer(folder: Path, model: str) -> dict[str, object]:
    """One line of `edge-runtime infer --json`, through the command line's own entry."""
    words = ["infer", "--layout", str(folder / "layout.json"), str(folder / "reference.jpg"), "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = edge_runtime(words if model == SHIPPED else [*words, "--model", model])
    if code not in (0, 1):
        raise SystemExit(f"infer ended with {code}")
    record: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
    return record


def take(photograph: Photograph, folder: Path, shake: float, tallies: dict[str, Tally]) -> None:
    """One photograph: make its layout, ask every model, keep the scores."""
    picture = read_picture(photograph.picture)
    height, width = picture.shape[:2]
    slots = slots_of(photograph, width, height)
    boxes = slots.boxes
    if not slots.voids:  # nothing is empty in it: slots in its middle, so that it runs all the same
        boxes = tuple((width * x, height * 0.4, width * (x + 0.15), height * 0.6) for x in (0.1, 0.4, 0.7))
    boxes = shaken(photograph, boxes, shake)
    shutil.copy(photograph.picture, folder / "reference.jpg")
    layout = tuple(Slot(f"s{k}", "any", quad(box)) for k, box in enumerate(boxes))
    write_layout(folder / "layout.json", "reference.jpg", (width, height), layout)
    for model, tally in tallies.items():
        tally.add(photograph, infer(folder, model), len(slots.voids))


def asked(photographs: list[Photograph], models: list[str], shake: float) -> dict[str, Tally]:
    """All models over these photographs."""
    tallies = {model: Tally() for model in models}
    with tempfile.TemporaryDirectory() as name:
        for photograph in photographs:
            take(photograph, Path(name), shake, tallies)
    return tallies


def threshold_photographs(folder: Path, models: list[str]) -> list[Photograph]:
    """Those of the train split that no model was fitted on."""
    chosen = list(read_photographs(folder, TRAIN))
    for model in models:
        named = {} if model == SHIPPED else read_manifest(Path(model)).provenance
        if "held_out_photographs" in named:
            held = set(str(named["held_out_photographs"]).split())
            chosen = [each for each in chosen if each.name in held]
    return chosen


def report(folder: Path, split: str, models: list[str], shake: float, limit: int) -> dict[str, dict[str, object]]:
    """Figures by model."""
    chosen = list(read_photographs(folder, None if split == "all" else split))[:limit]
    first = asked(threshold_photographs(folder, models)[:limit], models, shake)
    said = asked(chosen, models, shake)
    return {
        model: said[model].figures(best_threshold(np.array(first[model].scores), np.array(first[model].void, bool)))
        for model in models
    }


def _interval(values: list[float]) -> list[float]:
    return [round(float(v), 4) for v in np.nanpercentile(values, [2.5, 97.5])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", default=[], metavar="BUNDLE", help="told beside the shipped one")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument("--shake", type=float, default=0.0, metavar="S")
    parser.add_argument("--limit", type=int, default=10**9, help="photographs, of each part")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found = report(given.folder, given.split, [SHIPPED, *given.model], given.shake, given.limit)
    if given.json:
        print(json.dumps(found))
    else:
        for model, figures in found.items():
            print(model, *(f"{name:>20} {value}" for name, value in figures.items()), sep="\n")
    return 0 if all(f["ran"] == f["photographs"] for f in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
