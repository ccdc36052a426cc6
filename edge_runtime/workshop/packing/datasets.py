"""Where the crops of a bundle's evidence come from: labelled datasets, cut as a device would, or loose samples."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime import normalize
from edge_runtime.manifest import InputSpec
from edge_runtime.records import CropSpec
from edge_runtime.workshop import cutting
from edge_runtime.workshop.crops import CropSet, join_crops
from edge_runtime.workshop.cutting import cut_dataset, load_dataset
from edge_runtime.workshop.field import dataset_digest
from edge_runtime.workshop.quantization.samples import crops_at

MAX_SAMPLES = 512
"""Samples beyond this say nothing new about golden cases and histograms."""


def labelled_crops(datasets: tuple[Path, ...], spec: CropSpec, cache: Path | None = None) -> CropSet:
    """Every slot of every frame of the datasets. `cache` keeps them, by what the dataset holds and how it is cut."""
    with tempfile.TemporaryDirectory() as passing:
        parts = []
        for number, dataset in enumerate(datasets):
            folder = Path(passing) / str(number) if cache is None else cache / _key(dataset, spec)
            cut_dataset(dataset, folder, spec)
            parts.append(load_dataset(folder))
        return join_crops(parts)


def sample_crops(path: Path, spec: InputSpec) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(current, reference) crops of a calibration set, evenly at most MAX_SAMPLES of them."""
    return crops_at(path, spec, MAX_SAMPLES)


def _key(dataset: Path, spec: CropSpec) -> str:
    """What was cut, how, and by which code: crops of another normalizer are other crops."""
    width, height = spec.size
    cut_by = hashlib.sha256()
    for path in (*sorted(Path(normalize.__file__).parent.glob("*.py")), Path(cutting.__file__)):
        cut_by.update(path.read_bytes())
    held = f"{dataset_digest((dataset,))[:12]}-{cut_by.hexdigest()[:8]}"
    return f"{dataset.resolve().name}-{held}-{width}x{height}-{spec.margin:g}"
