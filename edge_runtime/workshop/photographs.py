"""Photographs of shelves with YOLO boxes of empty facings: where voids and facings are, and how well they are told apart.

A folder holds `images/`, `labels/NAME.txt` (YOLO: class, centre, size, as shares of the picture) and perhaps `split.csv`
(columns name, split, group; photographs of one group show one shelf and stay together). A facing is what stands one box
width to the left or right of a void in the same row, clear of every other box. Labels of this kind are incomplete: some
of those facings are gaps that nobody boxed.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.records import Quad

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the photograph."""
TRAIN, VALIDATION = "train", "val"
SUFFIXES = (".jpg", ".jpeg", ".png")
MIN_SIDE_PX = 9.0
"""Smaller boxes hold too few pixels to be a slot."""
STEP = 1.05
"""Box widths from a void to its neighbour."""
SAME_VOID, SAME_PLACE = 0.1, 0.05
"""Share of the smaller box from which two voids are one, and from which a facing touches another box."""
VALIDATION_SHARE = 0.2
"""Of the groups, where no split.csv says otherwise."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One picture, its boxes, and the part of the set that it belongs to."""

    name: str
    split: str
    group: str
    picture: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class Slots:
    """What is in one photograph: voids as labelled, facings as found beside them."""

    voids: tuple[Box, ...]
    facings: tuple[Box, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        return (*self.voids, *self.facings)


def read_photographs(folder: Path, split: str | None = None) -> tuple[Photograph, ...]:
    """The photographs of a folder, those of one split or all, in the order of split.csv or of their names.

    Raises Unavailable if the folder holds no pictures or split.csv names one that is not there, BadConfig if split.csv
    lacks a column or if a group stands in both splits.
    """
    pictures = {path.stem: path for path in _pictures(folder)}
    rows = _split_rows(folder / "split.csv") if (folder / "split.csv").exists() else _drawn(sorted(pictures))
    missing = [name for name, _, _ in rows if name not in pictures]
    if missing or not rows:
        raise Unavailable(
            f"{folder} has {len(pictures)} pictures under images/; {len(missing)} that split.csv names are missing"
            f"{': ' + missing[0] if missing else ''}",
            "Name a folder with images/, labels/ and perhaps split.csv",
        )
    found = [
        Photograph(name, part, group, pictures[name], folder / "labels" / f"{name}.txt") for name, part, group in rows
    ]
    return tuple(each for each in found if split in (None, each.split))


def read_voids(path: Path, width: int, height: int, empty_class: int = 0) -> tuple[Box, ...]:
    """Boxes of empty facings in pixels, held inside the picture; no file means no void.

    Boxes of other classes, below MIN_SIDE_PX, and those that repeat an earlier one are left out. Raises Refused for a
    line that is not a YOLO box.
    """
    boxes: list[Box] = []
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        kind, box = _box(line, width, height, f"{path}:{number}")
        wide_enough = min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE_PX
        if kind == empty_class and wide_enough and all(overlap(box, other) < SAME_VOID for other in boxes):
            boxes.append(box)
    return tuple(boxes)


def facings_of_rows(voids: Sequence[Box], width: int) -> tuple[Box, ...]:
    """Same-row facings: one box width left and right of each void, inside the picture, clear of every other box."""
    found: list[Box] = []
    for box in voids:
        step = (box[2] - box[0]) * STEP
        for shift in (-step, step):
            moved = (box[0] + shift, box[1], box[2] + shift, box[3])
            inside = moved[0] >= 0 and moved[2] <= width - 1
            if inside and all(overlap(moved, other) < SAME_PLACE for other in (*voids, *found)):
                found.append(moved)
    return tuple(found)


def slots_of(photograph: Photograph, width: int, height: int) -> Slots:
    """Voids and facings of one photograph."""
    voids = read_voids(photograph.labels, width, height)
    return Slots(voids, facings_of_rows(voids, width))


def photographs_digest(photographs: Iterable[Photograph]) -> str:
    """sha256 over names, pictures and labels."""
    digest = hashlib.sha256()
    for each in photographs:
        labels = each.labels.read_bytes() if each.labels.exists() else b""
        digest.update(f"{each.name} {each.split} {each.group}\n".encode() + each.picture.read_bytes() + labels)
    return digest.hexdigest()


def overlap(a: Box, b: Box) -> float:
    """Shared area as a share of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / max(min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])), 1e-9)


def jittered(boxes: Iterable[Box], rng: np.random.Generator, shift: float, scale: float) -> tuple[Box, ...]:
    """The boxes as other hands would have drawn them: centres moved and sides scaled by normal shares of their size."""
    return tuple(_jittered(box, rng, shift, scale) for box in boxes)


def shaken(photograph: Photograph, boxes: Sequence[Box], share: float) -> tuple[Box, ...]:
    """`jittered`, the same each time for the same photograph; as they are where `share` is 0."""
    if not share:
        return tuple(boxes)
    seed = int.from_bytes(hashlib.sha256(photograph.name.encode()).digest()[:8], "big")
    return jittered(boxes, np.random.default_rng(seed), share, share)


def quad(box: Box) -> Quad:
    """Corners clockwise from the top left."""
    x0, y0, x1, y1 = box
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def area_under_curve(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Mann-Whitney: the chance that a positive scores above a negative, ties counting half; nan if either is empty."""
    n, m = len(positive), len(negative)
    if not n or not m:
        return math.nan
    _, inverse, counts = np.unique(np.concatenate([positive, negative]), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse[:n]].sum() - n * (n + 1) / 2) / (n * m))


def best_threshold(scores: NDArray[np.floating], void: NDArray[np.bool_]) -> float:
    """Where most slots are told right: the middle of the thresholds that are as good as the best, to one in a thousand."""
    grid = np.unique(np.quantile(scores, np.linspace(0.02, 0.98, 193)))
    right = np.array([np.mean((scores > at) == void) for at in grid])
    return float(np.median(grid[right >= right.max() - 0.001]))


def _pictures(folder: Path) -> list[Path]:
    inside = (folder / "images").iterdir() if (folder / "images").is_dir() else iter(())
    return sorted(path for path in inside if path.suffix.lower() in SUFFIXES)


def _split_rows(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        lacking = {"name", "split", "group"} - set(table.fieldnames or ())
        if lacking:
            raise BadConfig(f"{path} lacks the columns {', '.join(sorted(lacking))}", "Give name, split and group")
        rows = [(row["name"], row["split"], row["group"]) for row in table]
    splits: dict[str, str] = {}
    for name, split, group in rows:
        if splits.setdefault(group, split) != split:
            raise BadConfig(
                f"{path}: group {group} stands in {splits[group]} and, by {name}, in {split}",
                "Keep photographs of one shelf in one split: the figures would be too good",
            )
    return rows


def _drawn(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Without a split.csv each photograph is its own group, and a digest of its name says where it goes."""
    limit = VALIDATION_SHARE * 2**32
    digests = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") for name in names]
    return [(n, VALIDATION if digest < limit else TRAIN, n) for n, digest in zip(names, digests, strict=True)]


def _box(line: str, width: int, height: int, place: str) -> tuple[int, Box]:
    try:
        kind, x, y, w, h = (float(word) for word in line.split()[:5])
    except ValueError:
        raise Refused(
            f"{place} is {line[:60]!r}, `class x y width height` was expected", "Export the labels as YOLO boxes"
        ) from None
    if not all(math.isfinite(v) for v in (kind, x, y, w, h)) or max(abs(v) for v in (x, y, w, h)) > 2:
        raise Refused(
            f"{place} is {line[:60]!r}, shares of the picture were expected", "Export the labels as YOLO boxes"
        )
    return int(kind), (
        max(0.0, (x - w / 2) * width),
        max(0.0, (y - h / 2) * height),
        min(width - 1.0, (x + w / 2) * width),
        min(height - 1.0, (y + h / 2) * height),
    )


def _jittered(box: Box, rng: np.random.Generator, shift: float, scale: float) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    dx, dy = rng.normal(0.0, shift, 2)
    sx, sy = np.exp(rng.normal(0.0, scale, 2)) / 2
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    return (float(x - sx * width), float(y - sy * height), float(x + sx * width), float(y + sy * height))
