"""Is another shelf ever taken for the commissioned one? And is the right one still known with 60 % of its packs swapped?

    python -m benchmarks.normalize.identity campaign [--bays 100] [--seed 5] [--cache DIR] [--results FILE]
    python -m benchmarks.normalize.identity dataset DATASET --pairs N [--seed S]
    python -m benchmarks.normalize.identity photographs FOLDER --pairs N [--seed S] [--groups split.csv]

`campaign` pairs every bay's reference with 100 pictures of other shelves (10,000 pairs for 100 bays): 50 of ten sister
bays of the same chain (the same fixtures, rails and camera, other price tags and surroundings, the same products in
other places), as commissioned, sold down, bumped, from the side and in the store mix; 50 of other bays. Apart from
those stand its twins (a sister with every product in the same place: what only tags and surroundings tell apart) and
the bay itself, half sold and 60 % swapped. Pictures and outcomes are kept under var/tmp; a stopped run goes on.

`dataset` pairs every shelf's reference with frames of other shelves, `photographs` pairs pictures of a folder (a grid
stands in for the slots; pictures that share a group are not paired). Accepted wrong pairs are listed.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.normalize.rendered import (
    CACHE,
    HALF_SOLD,
    Shot,
    kept,
    normalize_digest,
    opened,
    shown,
    simulator_digest,
)
from edge_runtime.layout import read_layout
from edge_runtime.normalize.identity import RAILS
from edge_runtime.normalize.register import Registrar
from edge_runtime.records import Layout, Slot
from edge_runtime.simulator.bay import StockHabits

SISTERS, TWINS, OTHERS = 10, 2, 50
FULL = StockHabits(low=0.05, empty=0.05, swaps=0.0)
VIEWS: tuple[tuple[str, dict[str, float], StockHabits], ...] = (
    ("as commissioned", {}, FULL),
    ("sold down", {"exposure": 1.5, "kelvin": 1.5}, HALF_SOLD),
    ("bumped", {"bumped": 2.0}, FULL),
    ("from the side", {"yaw": 3.0}, FULL),
    ("store mix", {"store": 3.0}, FULL),
)
RIGHT = "the shelf itself"
WRONG = ("sister", "other shelf", "other photograph")


@dataclass(frozen=True, slots=True)
class Case:
    """One reference against one picture."""

    kind: str
    name: str
    accepted: bool
    evidence: float
    detail: str


def shots() -> Iterator[Shot]:
    """All pictures of one bay of the campaign and of its sisters."""
    for number in (0, *range(1, SISTERS + 1), *range(-TWINS, 0)):
        kind = RIGHT if number == 0 else "sister" if number > 0 else "twin"
        for k, (_, parts, habits) in enumerate(VIEWS):
            yield Shot(
                f"{kind.split()[-1]}{abs(number)}-{k}", kind, parts, None, habits if number else HALF_SOLD, number
            )


def campaign(folder: Path, results: Path, seed: int, bays: int) -> Iterator[Case]:
    """Every bay's cases, from `results` where they are there already."""
    results.mkdir(parents=True, exist_ok=True)
    for number in range(bays):
        kept(folder, seed, number, shots())
    for number in range(bays):
        done = results / f"bay{number:05d}.jsonl"
        if not done.exists():
            lines = [json.dumps(asdict(case)) + "\n" for case in _bay(folder, seed, number, bays)]
            part = done.with_suffix(".part")
            part.write_text("".join(lines))
            part.rename(done)
        yield from (Case(**json.loads(line)) for line in done.read_text().splitlines())


def _bay(folder: Path, seed: int, number: int, bays: int) -> Iterator[Case]:
    place = folder / f"bay{number:05d}"
    layout, reference = opened(place)
    registrar = Registrar(layout, reference)
    for picture in shown(place, layout):
        yield _case(registrar, picture.group, f"{place.name} {picture.name}", picture.grey)
    rng = np.random.default_rng((seed, number, 1))
    for _ in range(OTHERS if bays > 1 else 0):
        other = folder / f"bay{(number + int(rng.integers(1, bays))) % bays:05d}"
        pictures = sorted(other.glob("*-?.jpg"))
        path = pictures[int(rng.integers(len(pictures)))]
        grey = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)
        yield _case(registrar, "other shelf", f"{place.name} {other.name}/{path.stem}", np.asarray(grey, np.uint8))


def _case(registrar: Registrar, kind: str, name: str, grey: np.ndarray) -> Case:
    fit = registrar.register(grey)
    return Case(kind, name, fit.warp is not None, fit.evidence, fit.detail)


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
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            yield _case(registrar, "other shelf", f"{shelf.name} {other.name}/{path.name}", grey)


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
            grey_b = cv2.imread(str(b), cv2.IMREAD_GRAYSCALE)
            yield _case(registrar, "other photograph", f"{a.name} {b.name}", grey_b)


def _gridded(grey: np.ndarray) -> Layout:
    height, width = grey.shape
    slots = []
    for row in range(4):
        for column in range(6):
            x, y = width * (0.06 + column * 0.147), height * (0.06 + row * 0.22)
            right, bottom = x + width * 0.147, y + height * 0.17
            slots.append(Slot(f"{row}-{column}", "", ((x, y), (right, y), (right, bottom), (x, bottom))))
    return Layout(Path("layout.json"), Path("reference.jpg"), (width, height), tuple(slots))


def report(cases: list[Case]) -> None:
    wrong = [case for case in cases if case.kind in WRONG]
    if wrong:
        nearest = sorted((case.evidence for case in wrong), reverse=True)[:5]
        print(
            f"{len(wrong)} wrong pairs, {sum(case.accepted for case in wrong)} accepted; "
            f"largest evidence {', '.join(f'{e:.3f}' for e in nearest)} ({RAILS} is needed on rails)"
        )
    for kind in sorted({case.kind for case in cases}):
        part = [case for case in cases if case.kind == kind]
        levels = np.percentile([case.evidence for case in part], (0, 1, 50, 99, 99.9, 100)).round(3)
        print(
            f"{kind}: {sum(c.accepted for c in part)} of {len(part)} accepted; evidence 0/1/50/99/99.9/100 %: {levels}"
        )
        for case in part:
            if case.accepted != (kind == RIGHT) and kind != "twin":
                print(
                    f"  {'accepted' if case.accepted else 'refused'}: {case.name} ({case.evidence:.3f}) {case.detail}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("campaign", "dataset", "photographs"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--bays", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--cache", type=Path, help="where the pictures are kept (default: under var/tmp, by simulator)")
    parser.add_argument("--results", type=Path, help="where outcomes are kept (default: beside the pictures, by code)")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    if chosen.kind == "campaign":
        cache = chosen.cache or CACHE / f"identity-{chosen.seed}-{simulator_digest()}"
        results = chosen.results or cache / f"results-{chosen.bays}-{normalize_digest()}"
        cases = list(campaign(cache, results, chosen.seed, chosen.bays))
    elif chosen.folder is None:
        parser.error("name the folder")
    elif chosen.kind == "dataset":
        cases = list(dataset(chosen.folder, chosen.pairs, chosen.seed))
    else:
        cases = list(photographs(chosen.folder, chosen.pairs, chosen.seed, chosen.groups))
    report(cases)


if __name__ == "__main__":
    main()
