"""A labelled field dataset as a table for scikit-learn: one row a slot and frame, cut as the device cuts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.records import CropSpec
from edge_runtime.workshop.crops import CropSet, cut_shelf
from edge_runtime.workshop.cutting import normalized
from edge_runtime.workshop.features import FeatureSet, check_size, features
from edge_runtime.workshop.field import read_field
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.pack import npz

SAMPLES = 256
"""Crops that are kept beside the table, for `build export --samples` and `build quantize --calibration`."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """What `build features` writes; n rows."""

    chosen: FeatureSet
    features: NDArray[np.float32]
    """(n, width)."""
    state: NDArray[np.str_]
    """(n,) stocked, low, empty or blocked: fit on this, and the classes are the states."""
    shelf: NDArray[np.str_]
    """(n,) rows of one shelf belong on one side of any split."""
    condition: NDArray[np.str_]
    severity: NDArray[np.int8]
    """(n,) 0 is `lab`."""
    current: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    """(at most SAMPLES, h, w, 3) crops of evenly taken rows."""
    label: NDArray[np.str_]
    """(at most SAMPLES,) the state of each of those crops."""

    def npz(self) -> bytes:
        """The rows; the same rows always give the same bytes."""
        names = ("features", "state", "shelf", "condition", "severity")
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in names}
        return npz(arrays | {"names": np.array(self.chosen.names), "feature_set": np.array(self.chosen.name)})

    def crops(self) -> bytes:
        """An npz with `current`, `reference` and `label`, as the other verbs of `build` take it."""
        return npz({"current": self.current, "reference": self.reference, "label": self.label})

    def csv(self) -> bytes:
        """The rows; first line: the names of the columns."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("state", "shelf", "condition", "severity", *self.chosen.names))
        for row in range(len(self.state)):
            head = (self.state[row], self.shelf[row], self.condition[row], int(self.severity[row]))
            table.writerow((*head, *(f"{number:.7g}" for number in self.features[row].tolist())))
        return out.getvalue().encode()


def make_table(
    dataset: Path, chosen: FeatureSet, crop: CropSpec, progress: Callable[[str, int, int], None] | None = None
) -> FeatureTable:
    """Every slot of every usable frame of a field dataset (`field-dataset/1`).

    Frames that the device would refuse are left out: it never asks a model about them. Raises Unavailable or BadConfig
    for a dataset that can not be read, Refused where no frame is usable or the size has no grid.
    """
    check_size(crop.size)
    shelves = read_field(dataset)
    parts = []
    for number, shelf in enumerate(shelves):
        if progress:
            progress(f"cut {shelf.name}", number, len(shelves))
        crops = cut_shelf(shelf, crop, normalized(shelf))
        parts.append(_rows(crops.only(crops.usable), chosen))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(joined["state"]):
        raise Refused(f"no frame of {dataset} can be used", "See why with `edge-runtime infer` on one of its frames")
    kept = _evenly(len(joined["current"]), SAMPLES)
    pairs = {name: joined.pop(name)[kept] for name in ("current", "reference", "label")}
    return FeatureTable(chosen=chosen, **pairs, **joined)


def _evenly(rows: int, count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, max(0, rows - 1), min(rows, count)).astype(np.intp))


def _rows(crops: CropSet, chosen: FeatureSet) -> dict[str, NDArray[Any]]:
    """The columns of one shelf; of its crops only a few, or a large dataset would not fit into memory."""
    reference, kept = crops.reference_of(slice(None)), _evenly(len(crops), SAMPLES // 4)
    return {
        "features": features(crops.current, reference if chosen.pair else None),
        "state": np.array(LABELS)[crops.label],
        "shelf": crops.shelf,
        "condition": crops.condition,
        "severity": crops.severity,
        "label": np.array(LABELS)[crops.label[kept]],
        "current": crops.current[kept],
        "reference": reference[kept],
    }
