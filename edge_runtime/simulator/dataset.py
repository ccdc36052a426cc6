"""Labelled field datasets (`field-dataset/1`): the same seed gives the same files, byte for byte, on the same OpenCV.

dataset.json  provenance.json
shelves/<id>/layout.json reference.jpg truth.csv geometry.json frames/<name>.jpg
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import Refused
from edge_runtime.layout import write_layout
from edge_runtime.simulator.bay import Bay, Stock, StockHabits, layout_slots
from edge_runtime.simulator.catalogue import PackSet
from edge_runtime.simulator.conditions import TABLE, mixed
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.plans import (
    BENCH_SEVERITIES,
    Capture,
    FramePlan,
    PlanName,
    bench_frames,
    commissioning,
    draw_capture,
    train_frames,
)
from edge_runtime.simulator.render import Rendering, covered_share, render, truth
from edge_runtime.simulator.sensor import jpeg
from edge_runtime.simulator.shoppers import Occluder, draw_occluder, paint_occluder
from edge_runtime.simulator.stocking import commissioned_stock, random_stock

STATES = ("stocked", "low", "empty", "blocked")
Progress = Callable[[int, int], None]
"""Called with (shelves done, shelves in all)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a dataset's contents."""

    seed: int
    plan: PlanName = "train"
    packs: PackSet = "train"
    frames: int = 24
    """train: frames per shelf; bench: frames per condition and severity."""
    size: tuple[int, int] = (960, 720)
    swaps: float = 0.0
    """Chance per stocked slot that another product than the reference's stands there."""
    severities: tuple[int, ...] = BENCH_SEVERITIES
    conditions: tuple[str, ...] = tuple(TABLE)
    lab_frames: int = 4
    left_out: tuple[str, ...] = ()
    """train: whole families of conditions that no frame shows, to prove what a model makes of the unseen."""


def render_dataset(
    folder: Path, recipe: Recipe, shelves: int, workers: int = 1, progress: Progress | None = None
) -> None:
    """Render `shelves` shelves into `folder`; shelves that are already there are kept, so a stopped run goes on.

    Raises OSError when the folder can not be written, Refused when it holds shelves of another recipe.
    """
    (folder / "shelves").mkdir(parents=True, exist_ok=True)
    _sign(folder, recipe)
    _write_json(
        folder / "dataset.json", {"format": "field-dataset/1", "states": list(STATES), "size": list(recipe.size)}
    )
    missing = [n for n in range(shelves) if not _place(folder, n).is_dir()]
    done = shelves - len(missing)
    for _ in _rendered(folder, recipe, missing, workers):
        done += 1
        if progress:
            progress(done, shelves)


def _sign(folder: Path, recipe: Recipe) -> None:
    """Say in provenance.json what the shelves are made from; shelves that were made from something else stay alone."""
    path = folder / "provenance.json"
    own = json.dumps(asdict(recipe)) + "\n"
    if path.exists() and path.read_text() != own and any((folder / "shelves").iterdir()):
        raise Refused(
            f"{folder} holds shelves of another recipe: {path.read_text().strip()}", "Name another folder, or delete it"
        )
    path.write_text(own)


def _rendered(folder: Path, recipe: Recipe, numbers: Sequence[int], workers: int) -> Iterator[None]:
    if workers <= 1:
        for number in numbers:
            render_shelf(folder, recipe, number)
            yield
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        for job in as_completed([pool.submit(render_shelf, folder, recipe, n) for n in numbers]):
            job.result()
            yield


def render_shelf(folder: Path, recipe: Recipe, number: int) -> None:
    """Render one shelf of a dataset, under a temporary name until it is whole."""
    place = _place(folder, number)
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "frames").mkdir(parents=True)
    rng = np.random.default_rng((recipe.seed, number))
    bay = random_bay(rng, recipe.packs, place.name, recipe.size, faced_up=False)
    commissioned = commissioning(rng, bay)
    write_layout(part / "layout.json", "reference.jpg", recipe.size, layout_slots(bay))
    first = render(bay, commissioned_stock(rng, bay), bay.reference, commissioned.light, commissioned.sensor, (), rng)
    (part / "reference.jpg").write_bytes(jpeg(first.image, commissioned.sensor.jpeg))
    geometry = {}
    with (part / "truth.csv").open("w", newline="") as sheet:
        rows = csv.writer(sheet, lineterminator="\n")
        rows.writerow(["frame", "condition", "severity", "slot", "state", "covered"])
        for index, plan in enumerate(_frames(recipe, rng)):
            own = np.random.default_rng((recipe.seed, number, index))
            stock, capture, frame = _frame(own, recipe, bay, plan, commissioned)
            (part / "frames" / f"{plan.name}.jpg").write_bytes(jpeg(frame.image, capture.sensor.jpeg))
            geometry[plan.name] = {"homography": frame.homography.round(9).tolist(), "k1": capture.camera.k1}
            for slot, share in frame.covered.items():
                rows.writerow(
                    [plan.name, plan.condition, plan.severity, slot, truth(stock, slot, share), round(share, 2)]
                )
    _write_json(part / "geometry.json", geometry)
    part.rename(place)


def _frames(recipe: Recipe, rng: np.random.Generator) -> tuple[FramePlan, ...]:
    if recipe.plan == "train":
        return train_frames(rng, recipe.frames, recipe.left_out)
    return bench_frames(recipe.frames, recipe.lab_frames, recipe.severities, recipe.conditions)


def _frame(
    rng: np.random.Generator, recipe: Recipe, bay: Bay, plan: FramePlan, commissioned: Capture
) -> tuple[Stock, Capture, Rendering]:
    stock = random_stock(rng, bay, StockHabits(swaps=recipe.swaps), recipe.packs)
    capture = draw_capture(rng, bay, plan.parts, commissioned)
    things = crowd(rng, bay, capture, mixed(plan.parts).occlusion)
    return stock, capture, render(bay, stock, capture.camera, capture.light, capture.sensor, things, rng)


def crowd(rng: np.random.Generator, bay: Bay, capture: Capture, share: float) -> tuple[Occluder, ...]:
    """Shoppers who cover about `share` of the slots' area; none for 0."""
    things: list[Occluder] = []
    width, height = capture.camera.size
    small = (max(64, width // 4), max(48, height // 4))
    canvas, cover = np.zeros((small[1], small[0], 3), np.uint8), np.zeros((small[1], small[0]), np.uint8)
    for _ in range(12):
        if share <= 0 or _mean_cover(bay, capture, cover) >= 0.85 * share:
            break
        thing = draw_occluder(rng)
        trial = cover.copy()
        paint_occluder(canvas, trial, thing)
        if _mean_cover(bay, capture, trial) <= 1.6 * share + 0.02:
            things.append(thing)
            cover = trial
    return tuple(things)


def _mean_cover(bay: Bay, capture: Capture, cover: np.ndarray) -> float:
    full = cv2.resize(cover, capture.camera.size, interpolation=cv2.INTER_NEAREST)
    return float(np.mean([covered_share(bay, slot, capture.camera, full) for slot in bay.slots]))


def _place(folder: Path, number: int) -> Path:
    return folder / "shelves" / f"shelf{number:05d}"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value) + "\n")
