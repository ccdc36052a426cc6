"""Cutting a whole rendered dataset with the runtime's own normalizer, one resumable npz a shelf."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.records import CropSpec, Image, Layout
from edge_runtime.workshop.crops import CropSet, Normalize, cut_shelf, join_crops, load_crops, read_picture
from edge_runtime.workshop.field import read_field


def normalized(layout: Layout, spec: CropSpec) -> tuple[Image, Normalize]:
    """Each frame on its own, as a photograph: registered, relit, resampled."""
    normalizer = Normalizer(layout, read_picture(layout.reference), spec)
    return normalizer.reference_crops, normalizer.single


def raw(layout: Layout, spec: CropSpec) -> tuple[Image, Normalize]:
    """The "before" of the field bench: polygons scaled to the frame, nothing else."""
    normalizer = RawNormalizer(layout, read_picture(layout.reference), spec)
    return normalizer.reference_crops, normalizer.normalize


def cut_dataset(
    dataset: Path, folder: Path, spec: CropSpec, *, before: bool = False, part: tuple[int, int] = (0, 1)
) -> None:
    """Cut every shelf of `dataset` that `folder` does not hold yet; `part` = (k, n) takes each n-th shelf from k on."""
    make = raw if before else normalized
    for shelf in read_field(dataset)[part[0] :: part[1]]:
        path = folder / f"{shelf.name}.npz"
        if not path.exists():
            cut_shelf(shelf, spec, make).save(path)


def load_dataset(folder: Path) -> CropSet:
    """All shelves cut into `folder`, in the order of their names."""
    return join_crops(load_crops(path) for path in sorted(folder.glob("*.npz")))
