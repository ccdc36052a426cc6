"""Real store photographs with boxes of empty facings: does `infer` run on all, and does it tell empty from full?

usage: python -m benchmarks.photographs FOLDER [--split train|val|all] [--limit N] [--model BUNDLE] [--json]

FOLDER holds `images/*.jpg`, `labels/*.txt` (YOLO boxes, class 0 = empty facing) and `split.csv`. A layout is made from
each photograph: every box is a slot, and so are facings of the same row, one box width to the left and to the right,
that touch no other box. The reference is the photograph itself, so a model that looks at what changed sees nothing
change; the figures say what the current crop alone tells it. Labels are incomplete: some facings are unboxed gaps.
Evaluation only; nothing of the photographs is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.cli.main import main as edge_runtime
from edge_runtime.layout import write_layout
from edge_runtime.records import Quad, Slot

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""
MIN_SIDE_PX = 9.0


def overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, width) * max(0.0, height) / max(smaller, 1e-9)


def read_boxes(path: Path, width: int, height: int) -> list[Box]:
    boxes: list[Box] = []
    for line in path.read_text().splitlines():
        _, x, y, w, h = (float(v) for v in line.split()[:5])
        box = (
            max(0.0, (x - w / 2) * width),
            max(0.0, (y - h / 2) * height),
            min(width - 1.0, (x + w / 2) * width),
            min(height - 1.0, (y + h / 2) * height),
        )
        wide_enough = min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE_PX
        if wide_enough and all(overlap(box, other) < 0.1 for other in boxes):
            boxes.append(box)
    return boxes


def facings_of_rows(voids: list[Box], width: int) -> list[Box]:
    """Same-row facings: one box width left and right of each void, clear of every other box."""
    found: list[Box] = []
    for box in voids:
        step = (box[2] - box[0]) * 1.05
        for shift in (-step, step):
            moved = (box[0] + shift, box[1], box[2] + shift, box[3])
            inside = moved[0] >= 0 and moved[2] <= width - 1
            if inside and all(overlap(moved, other) < 0.05 for other in (*voids, *found)):
                found.append(moved)
    return found


def quad(box: Box) -> Quad:
    x0, y0, x1, y1 = box
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def infer(folder: Path, model: str | None) -> dict[str, object]:
    """One line of `edge-runtime infer --json`, through the command line's own entry."""
    words = ["infer", "--layout", str(folder / "layout.json"), str(folder / "reference.jpg"), "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = edge_runtime([*words, "--model", model] if model else words)
    if code not in (0, 1):
        raise SystemExit(f"infer ended with {code}")
    record: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
    return record


def area_under_curve(positive: list[float], negative: list[float]) -> float:
    """Mann-Whitney: the chance that a void scores more `empty` than a facing."""
    both = np.concatenate([positive, negative])
    order = both.argsort(kind="stable")
    ranks = np.empty(len(both))
    ranks[order] = np.arange(1, len(both) + 1)
    for value in np.unique(both):
        ranks[both == value] = ranks[both == value].mean()
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=("train", "val", "all"), default="all")
    parser.add_argument("--limit", type=int, default=10**9)
    parser.add_argument("--model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with (arguments.folder / "split.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if arguments.split in ("all", r["split"])][: arguments.limit]
    scores: dict[bool, list[float]] = {True: [], False: []}
    answers = {"answered": 0, "slots": 0, "voids_called_empty": 0}
    counts = {"photographs": len(rows), "ran": 0, "usable": 0, "without_boxes": 0}
    with tempfile.TemporaryDirectory() as name:
        for row in rows:
            take(arguments.folder, row["name"], Path(name), arguments.model, scores, answers, counts)
    summary = {
        **counts,
        **answers,
        "voids": len(scores[True]),
        "facings": len(scores[False]),
        "auc_empty": round(area_under_curve(scores[True], scores[False]), 4),
    }
    print(json.dumps(summary) if arguments.json else "\n".join(f"{k:>20} {v}" for k, v in summary.items()))
    return 0 if counts["ran"] == counts["photographs"] else 1


def take(
    source: Path,
    name: str,
    folder: Path,
    model: str | None,
    scores: dict[bool, list[float]],
    answers: dict[str, int],
    counts: dict[str, int],
) -> None:
    """One photograph: make its layout, infer, keep its scores."""
    picture = cv2.imread(str(source / "images" / f"{name}.jpg"))
    height, width = picture.shape[:2]
    voids = read_boxes(source / "labels" / f"{name}.txt", width, height)
    facings = facings_of_rows(voids, width)
    if not voids:  # nothing is empty in it: slots in its middle, so that it runs all the same
        counts["without_boxes"] += 1
        facings = [(width * x, height * 0.4, width * (x + 0.15), height * 0.6) for x in (0.1, 0.4, 0.7)]
    shutil.copy(source / "images" / f"{name}.jpg", folder / "reference.jpg")
    slots = [Slot(f"s{k}", "any", quad(box)) for k, box in enumerate((*voids, *facings))]
    write_layout(folder / "layout.json", "reference.jpg", (width, height), tuple(slots))
    record = infer(folder, model)
    counts["ran"] += 1
    counts["usable"] += bool(record["usable"])
    found = record["slots"]
    assert isinstance(found, list)
    for k, slot in enumerate(found):
        void = k < len(voids)
        scores[void].append(slot["scores"]["empty"])
        answers["slots"] += 1
        answers["answered"] += slot["state"] in ("stocked", "low", "empty")
        answers["voids_called_empty"] += void and slot["state"] == "empty"


if __name__ == "__main__":
    sys.exit(main())
