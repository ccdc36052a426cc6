"""Is the shelf found, and how exactly? Against exact geometry.

    python -m benchmarks.normalize.registration campaign [--bays 60] [--seed 7] [--cache DIR] [--json]
    python -m benchmarks.normalize.registration dataset DATASET [--json]

`campaign` renders bays and registers pictures of them: the mark of BENCH.md (yaw 0 to 25 degrees, a third of it in pitch
and a fifth in roll, half of the slots empty, 60 % of the other packs swapped, other light than at commissioning; 20
pictures a bay), then strong yaw, lens, bumped camera and store mix by severity, on shelves that are as much sold. The
pictures are kept under var/tmp for the simulator as it is; a stopped run goes on.

`dataset` registers a field dataset (`edge-runtime` simulator or any other). Where a shelf has a geometry.json with the
exact homography and lens of every frame, errors are known; elsewhere only the registration's own residual is shown.

The error of a picture is the distance of the slots' corners (those in the picture) from the truth in reference pixels:
their mean, and the largest. A picture is right if its error is below 1.5 px; `wrong` are accepted ones that are not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.normalize.rendered import CACHE, Shot, kept, opened, shown, simulator_digest, true_corners
from edge_runtime.layout import read_layout
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.register import Fit, Registrar
from edge_runtime.records import Layout

RIGHT_PX = 1.5
MARK = 20
"""Pictures a bay for the mark, spread evenly over the angles."""
WORST_YAW_DEG = 25.0
OTHERS = (("yaw", 5), *((name, severity) for name in ("lens", "bumped", "store") for severity in (1, 2, 3, 4, 5)))
EACH = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One picture's outcome."""

    bay: str
    frame: str
    group: str
    found: bool
    mean_px: float | None
    """Error over the slots' corners; None when refused or where the truth is not known."""
    max_px: float | None
    residual_px: float | None
    share: float
    rail_share: float
    inliers: int
    lens: tuple[float, float] | None
    corner_sigma_px: float | None
    detail: str
    ms: float

    @property
    def error(self) -> float:
        for known in (self.mean_px, self.residual_px):
            if known is not None:
                return known
        return float("nan")


def shots(seed: int, number: int) -> Iterator[Shot]:
    """All pictures of one bay of the campaign."""
    rng = np.random.default_rng((seed, number, 1))
    for k in range(MARK):
        yaw = WORST_YAW_DEG * (k + rng.random()) / MARK
        light = {name: float(rng.uniform(0, 3)) for name in ("exposure", "kelvin", "gradient")}
        if rng.random() < 0.3:
            light["shadow"] = float(rng.uniform(0, 3))
        yield Shot(f"mark-{k:02d}", f"mark {5 * int(yaw // 5):2d}-{5 * int(yaw // 5) + 5} deg", light, yaw)
    for condition, severity in OTHERS:
        for k in range(EACH):
            yield Shot(f"{condition}-s{severity}-{k}", f"{condition} S{severity}", {condition: float(severity)})


def campaign(folder: Path, seed: int, bays: int) -> Iterator[Row]:
    """Render what is not there yet and register it."""
    for number in range(bays):
        place = kept(folder, seed, number, shots(seed, number))
        layout, reference = opened(place)
        registrar = Registrar(layout, reference)
        corners = _corners(layout)
        for picture in shown(place, layout):
            fit, ms = _timed(registrar, picture.grey)
            unit = picture.grey.shape[1] / layout.image_size[0]
            off = None
            if fit.warp is not None and picture.inside.any():
                off = np.hypot(*(fit.warp.points(corners) - picture.corners).T)[picture.inside] / unit
            yield _row(place.name, picture.name, picture.group, fit, off, ms)


def dataset(folder: Path) -> Iterator[Row]:
    """Every frame of a field dataset."""
    for shelf in sorted(p for p in (folder / "shelves").iterdir() if p.suffix != ".part"):
        layout = read_layout(shelf / "layout.json")
        registrar = Registrar(layout, cv2.cvtColor(open_reference(layout), cv2.COLOR_BGR2GRAY))
        corners = _corners(layout)
        known = shelf / "geometry.json"
        geometry = json.loads(known.read_text()) if known.exists() else {}
        for path in sorted((shelf / "frames").glob("*.jpg")):
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            size = (grey.shape[1], grey.shape[0])
            fit, ms = _timed(registrar, np.asarray(grey, np.uint8))
            truth, off = geometry.get(path.stem), None
            if truth is not None and fit.warp is not None:
                right, exact = true_corners(corners, np.array(truth["homography"]), float(truth["k1"]), size)
                inside = exact & ((right > 0) & (right < np.array(size) - 1)).all(1)
                off = np.hypot(*(fit.warp.points(corners) - right).T)[inside] / (size[0] / layout.image_size[0])
            named = re.match(r"(\w+)-s(\d)", path.stem)
            group = f"{named[1]} S{named[2]}" if named else path.stem.split("-")[0]
            yield _row(shelf.name, path.stem, group, fit, off, ms)


def _corners(layout: Layout) -> np.ndarray:
    return np.array([slot.polygon for slot in layout.slots], np.float64).reshape(-1, 2)


def _timed(registrar: Registrar, grey: np.ndarray) -> tuple[Fit, float]:
    began = time.perf_counter()
    fit = registrar.register(grey)
    return fit, 1e3 * (time.perf_counter() - began)


def _row(bay: str, frame: str, group: str, fit: Fit, off: np.ndarray | None, ms: float) -> Row:
    known = off is not None and len(off) > 0
    return Row(
        bay,
        frame,
        group,
        fit.warp is not None,
        float(np.nan_to_num(off, nan=1e3).mean()) if known else None,
        float(np.nan_to_num(off, nan=1e3).max()) if known else None,
        fit.residual_px,
        fit.share,
        fit.rail_share,
        fit.inliers,
        fit.warp.lens if fit.warp else None,
        None if fit.corner_sigma_px is None else float(fit.corner_sigma_px.max()),
        fit.detail,
        ms,
    )


def table(rows: list[Row]) -> None:
    """By group, then the mark in one line, then what failed it."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    print(
        "group             n   found   right  wrong  median    p95    max px | by the worst corner: right   max px |   ms"
    )
    for group, part in groups.items():
        _line(group, part)
    mark = [row for row in rows if row.group.startswith("mark")]
    if mark:
        _line("the mark", mark)
        print("\nfailed the mark:" if any(not _right(row) for row in mark) else "\nnone failed the mark")
    wrong = [row for row in rows if row.found and row.error >= RIGHT_PX and row not in mark]
    for row in [*(row for row in mark if not _right(row)), *wrong]:
        print(f"  {row.bay} {row.frame} ({row.group}): ", end="")
        print(f"accepted, mean {row.error:.2f}, worst {row.max_px or np.nan:.2f} px" if row.found else row.detail)


def _line(name: str, part: list[Row]) -> None:
    found = [row for row in part if row.found]
    mean = np.array([row.error for row in found] or [np.nan])
    worst = np.array([np.nan if row.max_px is None else row.max_px for row in found] or [np.nan])
    right, worst_right = (mean < RIGHT_PX).sum(), (worst < RIGHT_PX).sum()
    print(
        f"{name:14s} {len(part):5d}  {len(found) / len(part):6.4f}  {right / len(part):6.4f} {len(found) - right:5d}"
        f"  {np.median(mean):6.2f} {np.percentile(mean, 95):6.2f} {mean.max():9.2f}"
        f" |                      {worst_right / len(part):6.4f} {worst.max():8.2f} | {np.median([r.ms for r in part]):5.1f}"
    )


def _right(row: Row) -> bool:
    return row.found and row.error < RIGHT_PX


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("campaign", "dataset"))
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--bays", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cache", type=Path, help="where the pictures are kept (default: under var/tmp, by simulator)")
    parser.add_argument("--json", action="store_true", help="one line a picture instead of the table")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    began, rows = time.monotonic(), []
    if chosen.what == "dataset" and chosen.dataset is None:
        parser.error("name the dataset")
    cache = chosen.cache or CACHE / f"registration-{chosen.seed}-{simulator_digest()}"
    for row in dataset(chosen.dataset) if chosen.what == "dataset" else campaign(cache, chosen.seed, chosen.bays):
        rows.append(row)
        if chosen.json:
            print(json.dumps(asdict(row)), flush=True)
    if not chosen.json:
        table(rows)
    print(f"{len(rows)} pictures, {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
