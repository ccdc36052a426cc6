"""The light gate by condition: how often it acts, what remains, and whether it ever makes a crop worse.

    python -m benchmarks.normalize.light DATASET [--shelves N]

For slots whose truth is stocked, `before` and `after` are mean absolute differences (grey levels) between the crop and
its reference crop, without and with the light match, over the same registered frames. `harmed` is the share of these
crops that the match made worse by more than two levels. On lab frames the light is the commissioned one: `applied`
must be 0 there.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.layout import read_layout
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import CropSpec, Frame, View

Key = tuple[str, int]
SPEC = CropSpec((64, 64), 0.1)


def stocked(shelf: Path) -> dict[str, set[str]]:
    """Frame -> slots that are stocked and not covered."""
    found: dict[str, set[str]] = defaultdict(set)
    with (shelf / "truth.csv").open(newline="") as sheet:
        for row in csv.DictReader(sheet):
            if row["state"] == "stocked" and float(row["covered"]) < 0.05:
                found[row["frame"]].add(row["slot"])
    return found


def measure(shelf: Path, into: dict[Key, list[tuple[bool, float, float, np.ndarray, np.ndarray]]]) -> None:
    layout = read_layout(shelf / "layout.json")
    reference, truth = open_reference(layout), stocked(shelf)
    lit = Normalizer(layout, reference, SPEC, NormalizeSettings(stateless=True))
    plain = Normalizer(layout, reference, SPEC, NormalizeSettings(stateless=True, light=False))
    for path in sorted((shelf / "frames").glob("*.jpg")):
        frame = Frame("bench", 0, cv2.imread(str(path)), 0.0, 0.0)
        one, two = plain.normalize(frame), lit.normalize(frame)
        if not isinstance(one, View) or not isinstance(two, View):
            continue
        chosen = [k for k, slot in enumerate(layout.slots) if slot.id in truth[path.stem]]
        off = [
            np.abs(view.crops[chosen].astype(float) - lit.reference_crops[chosen]).mean((1, 2, 3))
            for view in (one, two)
        ]
        named = re.match(r"(\w+)-s(\d)", path.stem)
        key = (named[1], int(named[2])) if named else (path.stem.split("-")[0], 0)
        into[key].append((two.light.applied, two.light.residual_before, two.light.residual_after, *off))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--shelves", type=int, default=10_000)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    cases: dict[Key, list[tuple[bool, float, float, np.ndarray, np.ndarray]]] = defaultdict(list)
    shelves = sorted(p for p in (chosen.dataset / "shelves").iterdir() if p.suffix != ".part")
    for shelf in shelves[: chosen.shelves]:
        measure(shelf, cases)
    print("condition    s    n  applied  residual -> after   before  after  harmed")
    for (condition, severity), part in sorted(cases.items()):
        before, after = np.concatenate([c[3] for c in part]), np.concatenate([c[4] for c in part])
        print(
            f"{condition:12s} {severity} {len(part):4d}   {np.mean([c[0] for c in part]):6.2f}"
            f"   {np.mean([c[1] for c in part]):6.3f} -> {np.mean([c[2] for c in part]):6.3f}"
            f"  {before.mean():6.1f} {after.mean():6.1f}  {(after > before + 2).mean():6.3f}"
        )


if __name__ == "__main__":
    main()
