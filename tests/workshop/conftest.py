"""What the workshop's tests share: a field dataset that can be drawn in a second, crops of it, a small network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.cutting import cut_dataset, load_dataset
from edge_runtime.workshop.graph import Backbone, Block, Conv, backbone_graph
from edge_runtime.workshop.head import fit_head, head_graph, merge
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.run import Graph

SIZE = (480, 360)
COLUMNS, ROWS = 5, 3
WIDTH, HEIGHT = 80, 90


def write_dataset(folder: Path, shelves: int, frames: int, seed: int) -> Path:
    """`folder` as field-dataset/1: odd frames are `exposure` at severity 2, the others `lab`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"format": "field-dataset/1", "states": list(LABELS)}))
    for number in range(shelves):
        _write_shelf(folder / "shelves" / f"shelf{number:02}", frames, rng)
    return folder


def _write_shelf(folder: Path, frames: int, rng: np.random.Generator) -> None:
    (folder / "frames").mkdir(parents=True)
    wall = cv2.resize(rng.integers(60, 120, (60, 80, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)
    packs = rng.integers(0, 256, (COLUMNS * ROWS, 10, 8, 3), dtype=np.uint8)
    boxes = [(40 + 80 * (k % COLUMNS), 25 + 105 * (k // COLUMNS)) for k in range(COLUMNS * ROWS)]
    stocked = ["stocked"] * len(boxes)
    cv2.imwrite(str(folder / "reference.jpg"), _picture(wall, packs, boxes, stocked))
    slots = [
        {"id": f"s{k}", "sku": f"p{k}", "polygon": [[x, y], [x + WIDTH, y], [x + WIDTH, y + HEIGHT], [x, y + HEIGHT]]}
        for k, (x, y) in enumerate(boxes)
    ]
    layout = {"format": "shelf-layout/1", "reference": "reference.jpg", "image_size": SIZE, "slots": slots}
    (folder / "layout.json").write_text(json.dumps(layout))
    with (folder / "truth.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["frame", "condition", "severity", "slot", "state", "covered"])
        for number in range(frames):
            condition, severity = ("exposure", 2) if number % 2 else ("lab", 0)
            states = rng.choice(LABELS, len(boxes), p=(0.4, 0.25, 0.25, 0.1)).tolist()
            picture = _picture(wall, packs, boxes, states)
            dimmed = cv2.convertScaleAbs(picture, alpha=0.8 if severity else 1.0)
            cv2.imwrite(str(folder / "frames" / f"{condition}-{number}.jpg"), dimmed)
            for k, state in enumerate(states):
                table.writerow(
                    [f"{condition}-{number}", condition, severity, f"s{k}", state, float(state == "blocked")]
                )


def _picture(
    wall: NDArray[np.uint8], packs: NDArray[np.uint8], boxes: list[tuple[int, int]], states: list[str]
) -> NDArray[np.uint8]:
    picture = wall.copy()
    for pack, (x, y), state in zip(packs, boxes, states, strict=True):
        large = cv2.resize(pack, (WIDTH - 8, HEIGHT - 6), interpolation=cv2.INTER_NEAREST)
        if state == "stocked":
            picture[y + 6 : y + HEIGHT, x + 4 : x + WIDTH - 4] = large
        elif state == "low":
            small = cv2.convertScaleAbs(cv2.resize(large, (52, 56)), alpha=0.7)
            picture[y + 14 : y + 70, x + 14 : x + 66] = small
        elif state == "blocked":
            picture[y - 4 : y + HEIGHT + 4, x - 4 : x + WIDTH + 4] = pack[0, 0]
    return picture


SPEC = CropSpec((64, 64), 0.12)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("field") / "set", shelves=2, frames=4, seed=5)


@pytest.fixture(scope="session")
def crops(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> CropSet:
    """Normalized crops of `dataset`, cut by the runtime's own normalizer."""
    folder = tmp_path_factory.mktemp("crops")
    cut_dataset(dataset, folder, SPEC)
    return load_dataset(folder)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """A small untrained network: random weights of a sensible scale."""
    rng = np.random.default_rng(3)

    def conv(wide: int, out: int, side: int, stride: int = 1, groups: int = 1, relu6: bool = True) -> Conv:
        shape = (out, wide // groups, side, side)
        weight = rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        padding = 1 if side == 3 else 0
        return Conv(weight, rng.normal(0, 0.1, out).astype(np.float32), stride, groups, padding, relu6)

    stem = (Block((conv(3, 8, 3, 2),)), Block((conv(8, 8, 3, 2, 8), conv(8, 12, 1))))
    body = (
        Block((conv(36, 24, 1),)),
        Block((conv(24, 24, 3, 1, 24), conv(24, 24, 1, relu6=False)), residual=True),
        Block((conv(24, 24, 3, 2, 24), conv(24, 32, 1))),
        Block((conv(32, 32, 8, 1, 32, relu6=False), conv(32, 24, 1))),
    )
    return Backbone(stem, body, 64)


@pytest.fixture(scope="session")
def head(backbone: Backbone, crops: CropSet) -> LogisticRegression:
    return fit_head(Graph(backbone_graph(backbone)).over(crops), crops.label)


@pytest.fixture(scope="session")
def merged(backbone: Backbone, head: LogisticRegression) -> onnx.ModelProto:
    return merge(backbone_graph(backbone), head_graph(head))
