"""Rendered bays with exact geometry, kept in a folder: the material of the registration and identity campaigns.

A folder holds the bays of one seed and one state of the simulator; a stopped run goes on where it was. Everything is
decided by (seed, number of the bay), so that two folders of one simulator hold the same pictures.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime import normalize, simulator
from edge_runtime.layout import read_layout, write_layout
from edge_runtime.records import Layout
from edge_runtime.simulator.bay import Bay, StockHabits, layout_slots
from edge_runtime.simulator.conditions import Conditions
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.plans import Capture, commissioning, draw_capture, moved
from edge_runtime.simulator.render import render
from edge_runtime.simulator.sensor import jpeg
from edge_runtime.simulator.stocking import commissioned_stock, random_stock

CACHE = Path(__file__).resolve().parents[2] / "var" / "tmp"
HALF_SOLD = StockHabits(low=0.1, empty=0.5, whole_row=0.0, swaps=0.6)
"""Half of the slots empty, 60 % of the packs in the others are another product."""
PACKS = "heldout"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to take of a bay."""

    name: str
    group: str
    parts: Mapping[str, float] = field(default_factory=dict)
    """Condition -> severity."""
    yaw_deg: float | None = None
    """Instead of the camera of `parts`: walked by this yaw, a third of it in pitch, a fifth in roll."""
    habits: StockHabits = HALF_SOLD
    sister: int = 0
    """0 is the bay itself; k > 0 its k-th sister: same fixtures, other tags and surroundings, the products moved about;
    k < 0 its k-th twin: a sister with every product in the same place."""


def source_digest(*packages: object) -> str:
    """Of all Python files of these packages: what was measured with other code is not mixed in."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):  # type: ignore[attr-defined]
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def simulator_digest() -> str:
    return source_digest(simulator)


def normalize_digest() -> str:
    return source_digest(normalize)


def kept(folder: Path, seed: int, number: int, shots: Iterable[Shot]) -> Path:
    """The folder of one bay with these pictures; rendered if it is not there."""
    place = folder / f"bay{number:05d}"
    if not place.is_dir():
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _render(part, seed, number, shots)
        part.rename(place)
    return place


def _render(place: Path, seed: int, number: int, shots: Iterable[Shot]) -> None:
    rng = np.random.default_rng((seed, number))
    bay = random_bay(rng, PACKS, f"bay{number}")
    set_up = commissioning(rng, bay)
    first = render(bay, commissioned_stock(rng, bay), bay.reference, set_up.light, set_up.sensor, (), rng)
    write_layout(place / "layout.json", "reference.jpg", bay.reference.size, layout_slots(bay))
    (place / "reference.jpg").write_bytes(jpeg(first.image, set_up.sensor.jpeg))
    sisters = {0: bay}
    truth = {}
    for index, shot in enumerate(shots):
        own = np.random.default_rng((seed, number, index))
        seen = sisters.setdefault(shot.sister, sister(bay, shot.sister))
        capture = _captured(own, seen, shot, set_up)
        stock = random_stock(own, seen, shot.habits, PACKS)
        frame = render(seen, stock, capture.camera, capture.light, capture.sensor, (), own)
        (place / f"{shot.name}.jpg").write_bytes(jpeg(frame.image, capture.sensor.jpeg))
        truth[shot.name] = {
            "group": shot.group,
            "yaw_deg": shot.yaw_deg,
            "homography": frame.homography.tolist(),
            "k1": capture.camera.k1,
        }
    (place / "geometry.json").write_text(json.dumps(truth) + "\n")


def _captured(rng: np.random.Generator, bay: Bay, shot: Shot, set_up: Capture) -> Capture:
    capture = draw_capture(rng, bay, shot.parts, set_up)
    if shot.yaw_deg is None:
        return capture
    yaw = shot.yaw_deg
    walked = Conditions(yaw_deg=yaw, pitch_deg=yaw / 3, roll_deg=yaw / 5)
    return replace(capture, camera=moved(rng, bay, walked, set_up.camera))


def sister(bay: Bay, number: int) -> Bay:
    """Another bay of the same chain: the same fixtures and rails, the same products, in other places or (< 0) not."""
    rng = np.random.default_rng((bay.seed, number % 2**32))
    places = rng.permutation(len(bay.slots)) if number > 0 else np.arange(len(bay.slots))
    slots = tuple(replace(slot, facing=bay.slots[place].facing) for slot, place in zip(bay.slots, places, strict=True))
    return replace(bay, seed=int(rng.integers(1 << 30)), slots=slots)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture of a kept bay and where its slots' corners really are."""

    name: str
    group: str
    yaw_deg: float | None
    grey: NDArray[np.uint8]
    corners: NDArray[np.float64]
    """(n, 2) frame pixels."""
    inside: NDArray[np.bool_]
    """(n,) corners that the picture shows."""


def opened(place: Path) -> tuple[Layout, NDArray[np.uint8]]:
    """Layout and grey reference of a kept bay."""
    layout = read_layout(place / "layout.json")
    return layout, _grey(layout.reference)


def shown(place: Path, layout: Layout) -> Iterator[Shown]:
    """Every picture of a kept bay."""
    corners = np.array([slot.polygon for slot in layout.slots], np.float64).reshape(-1, 2)
    for name, truth in json.loads((place / "geometry.json").read_text()).items():
        grey = _grey(place / f"{name}.jpg")
        size = (grey.shape[1], grey.shape[0])
        right, exact = true_corners(corners, np.array(truth["homography"]), float(truth["k1"]), size)
        inside = exact & (right > 0).all(1) & (right < np.array(size) - 1).all(1)
        yield Shown(name, truth["group"], truth["yaw_deg"], grey, right, inside)


def _grey(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def true_corners(
    corners: NDArray[np.float64], homography: NDArray[np.float64], k1: float, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where reference points really are, lens included (`simulator.geometry.lens_maps` inverted), and where that exists."""
    xyw = corners @ homography[:, :2].T + homography[:, 2]
    pinhole = xyw[:, :2] / xyw[:, 2:]
    if not k1:
        return pinhole, xyw[:, 2] > 0
    centre, reach = (np.array(size) - 1) / 2, float(np.hypot(*size)) / 2
    start = (pinhole - centre) / reach
    bent = start.copy()
    for _ in range(100):
        bent = start * (1 + max(k1, 0.0)) / np.maximum(1 + k1 * (bent**2).sum(1, keepdims=True), 0.4)
    back = bent * (1 + k1 * (bent**2).sum(1, keepdims=True)) / (1 + max(k1, 0.0))
    return bent * reach + centre, (xyw[:, 2] > 0) & (np.hypot(*(back - start).T) * reach < 0.01)
