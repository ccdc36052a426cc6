"""Is another shelf ever taken for the commissioned one? And is the right one still known with 60 % of its packs swapped?

    python -m benchmarks.normalize.identity sisters --bays N [--seed S]
    python -m benchmarks.normalize.identity dataset DATASET --pairs N [--seed S]
    python -m benchmarks.normalize.identity photographs FOLDER --pairs N [--seed S] [--groups split.csv]

`sisters` renders, for every bay, bays of the same chain: the same fixtures, rails and camera, other price tags and
surroundings, the same products in other places; as commissioned, bumped, from the side, and in the store mix. It also
renders the bay itself with 60 % of its products swapped. `dataset` pairs every shelf's reference with frames of other
shelves, `photographs` pairs pictures of a folder (a grid stands in for the slots; pictures that share a group are not
paired). Accepted wrong pairs are listed.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.layout import read_layout
from edge_runtime.normalize.register import Registrar
from edge_runtime.records import Layout, Slot

Case = tuple[str, str, bool, float]
"""Kind, name, accepted, evidence."""
VIEWS: tuple[dict[str, float], ...] = ({}, {"bumped": 2.0}, {"yaw": 3.0}, {"store": 3.0})


def sisters(bays: int, seed: int) -> Iterator[Case]:
    from edge_runtime.simulator.bay import StockHabits, layout_slots
    from edge_runtime.simulator.planning import random_bay
    from edge_runtime.simulator.plans import commissioning, draw_capture
    from edge_runtime.simulator.render import render
    from edge_runtime.simulator.stocking import commissioned_stock, random_stock

    for number in range(bays):
        rng = np.random.default_rng((seed, number))
        bay = random_bay(rng, "heldout", f"bay{number}")
        set_up = commissioning(rng, bay)
        first = render(bay, commissioned_stock(rng, bay), bay.reference, set_up.light, set_up.sensor, (), rng)
        layout = Layout(Path("layout.json"), Path("reference.jpg"), bay.reference.size, layout_slots(bay))
        registrar = Registrar(layout, cv2.cvtColor(first.image, cv2.COLOR_BGR2GRAY))
        for kind in ("sister", "sister", "swapped"):
            other, swaps = bay, 0.6
            if kind == "sister":
                places = rng.permutation(len(bay.slots))
                moved = tuple(
                    replace(slot, facing=bay.slots[place].facing) for slot, place in zip(bay.slots, places, strict=True)
                )
                other, swaps = replace(bay, seed=int(rng.integers(1 << 30)), slots=moved), 0.05
            for view in VIEWS:
                capture = draw_capture(rng, other, view, set_up)
                stock = random_stock(rng, other, StockHabits(swaps=swaps), "heldout")
                image = render(other, stock, capture.camera, capture.light, capture.sensor, (), rng).image
                fit = registrar.register(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
                yield kind, f"{bay.id} {view or 'as commissioned'}", fit.warp is not None, fit.evidence


def dataset(folder: Path, pairs: int, seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    shelves = sorted(p for p in (folder / "shelves").iterdir() if p.suffix != ".part")
    for shelf in shelves:
        layout = read_layout(shelf / "layout.json")
        registrar = Registrar(layout, cv2.imread(str(layout.reference), cv2.IMREAD_GRAYSCALE))
        for _ in range(-(-pairs // len(shelves))):
            other = shelves[int(rng.integers(len(shelves)))]
            if other == shelf:
                continue
            frames = sorted((other / "frames").glob("*.jpg"))
            path = frames[int(rng.integers(len(frames)))]
            fit = registrar.register(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
            yield "other shelf", f"{shelf.name} {other.name}/{path.name}", fit.warp is not None, fit.evidence


def photographs(folder: Path, pairs: int, seed: int, groups: Path | None) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    files = sorted(folder.rglob("*.jpg"))
    group: dict[str, str] = {}
    if groups:
        with groups.open(newline="") as sheet:
            group = {row["name"]: row["group"] for row in csv.DictReader(sheet)}
    each = 20
    for number in rng.permutation(len(files))[: -(-pairs // each)]:
        grey = cv2.imread(str(files[number]), cv2.IMREAD_GRAYSCALE)
        registrar = Registrar(_gridded(grey), grey)
        for other in rng.choice(len(files), each, replace=False):
            a, b = files[number], files[other]
            if a == b or (group and group.get(a.stem, a.stem) == group.get(b.stem, b.stem)):
                continue
            fit = registrar.register(cv2.imread(str(b), cv2.IMREAD_GRAYSCALE))
            yield "other photograph", f"{a.name} {b.name}", fit.warp is not None, fit.evidence


def _gridded(grey: np.ndarray) -> Layout:
    height, width = grey.shape
    slots = []
    for row in range(4):
        for column in range(6):
            x, y = width * (0.06 + column * 0.147), height * (0.06 + row * 0.22)
            right, bottom = x + width * 0.147, y + height * 0.17
            slots.append(Slot(f"{row}-{column}", "", ((x, y), (right, y), (right, bottom), (x, bottom))))
    return Layout(Path("layout.json"), Path("reference.jpg"), (width, height), tuple(slots))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("sisters", "dataset", "photographs"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--bays", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--groups", type=Path)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    if chosen.kind == "sisters":
        cases = list(sisters(chosen.bays, chosen.seed))
    elif chosen.folder is None:
        parser.error("name the folder")
    elif chosen.kind == "dataset":
        cases = list(dataset(chosen.folder, chosen.pairs, chosen.seed))
    else:
        cases = list(photographs(chosen.folder, chosen.pairs, chosen.seed, chosen.groups))
    for kind in sorted({case[0] for case in cases}):
        part = [case for case in cases if case[0] == kind]
        levels = np.percentile([case[3] for case in part], (1, 50, 99, 100)).round(3)
        print(f"{kind}: {sum(c[2] for c in part)} of {len(part)} accepted; evidence 1/50/99/100 %: {levels}")
        for case in part:
            if case[2] and kind != "swapped":
                print(f"  accepted: {case[1]} ({case[3]:.2f})")


if __name__ == "__main__":
    main()
