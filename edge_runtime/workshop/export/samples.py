"""Real crops to compare source and export on: the user's, or those that ship with the runtime."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.assets import demo_layout, factory_bundles
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.workshop.crops import read_picture
from edge_runtime.workshop.strips import read_strips

MAX_ROWS = 256
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_FORMS = (
    "Name a folder of pairs-*.png or of pictures, or an npz with `current` and `reference` (`build features` makes one)"
)
_OUT = "Take it out of the samples, or make it again"

Crops = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Crops (n, h, w, 3) uint8 BGR, and the reference crop of each."""

    name: str
    current: Crops
    reference: Crops

    def __len__(self) -> int:
        return len(self.current)

    def resized(self, size: tuple[int, int]) -> Samples:
        """The same crops in (width, height)."""
        return Samples(self.name, _resized(self.current, size), _resized(self.reference, size))


def read_samples(where: Path | None) -> Samples:
    """At most MAX_ROWS crops, evenly taken. Raises Unavailable if there are none, Refused if they can not be used."""
    found = _shipped() if where is None else _given(where)
    rows = np.unique(np.linspace(0, len(found) - 1, min(MAX_ROWS, len(found))).astype(int))
    return Samples(found.name, found.current[rows], found.reference[rows])


def _shipped() -> Samples:
    """The calibration pairs of a checkout; in a wheel the golden crops of the shipped bundle."""
    folders = sorted(demo_layout().parents[1].glob("quantization/*px"))
    if folders:
        current, reference = read_strips(folders[-1])
        return Samples(f"calibration/quantization/{folders[-1].name}", current, reference)
    bundles = factory_bundles()
    if not bundles:
        raise Unavailable("no samples ship with this installation", f"Give --samples. {_FORMS}")
    arrays = read_bundle(bundles[-1]).golden_arrays()
    return Samples(f"golden crops of {bundles[-1].stem}", arrays["current"], arrays["reference"])


def _given(where: Path) -> Samples:
    if where.is_dir():
        if any(where.glob("pairs-*.png")):
            return Samples(where.name, *read_strips(where))
        return _pictures(where)
    try:
        with np.load(where, allow_pickle=False) as arrays:
            return _table(where, {name: arrays[name] for name in arrays.files if name in _TABLE})
    except OSError as fault:
        raise Unavailable(f"{where} can not be read: {fault.strerror}", _FORMS) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
        raise Refused(f"{where} is not an npz of crops", _FORMS) from None


_TABLE = ("current", "reference", "references", "slot")


def _table(where: Path, arrays: dict[str, NDArray[np.generic]]) -> Samples:
    """`current` and `reference`, or a cut shelf, whose crops name the row of their reference."""
    current = arrays.get("current")
    reference = arrays.get("reference")
    if "references" in arrays and "slot" in arrays:
        slots = arrays["slot"].astype(np.int64)
        if slots.size and not 0 <= slots.min() <= slots.max() < len(np.atleast_1d(arrays["references"])):
            raise Refused(f"{where}: `slot` names rows that `references` lacks", "Cut the shelf again")
        reference = arrays["references"][slots]
    reference = current if reference is None else reference
    if current is None or reference is None or current.dtype != np.uint8 or reference.dtype != np.uint8:
        raise Refused(f"{where} holds no uint8 array `current`", _FORMS)
    if current.ndim != 4 or current.shape[3] != 3 or current.shape != reference.shape or not current.size:
        raise Refused(
            f"{where} holds crops of {current.shape} and references of {reference.shape}; two (n, h, w, 3) were expected,"
            " none of their sides zero",
            _FORMS,
        )
    return Samples(where.name, current.astype(np.uint8), reference.astype(np.uint8))


def _pictures(folder: Path) -> Samples:
    """Pictures without a reference: each is compared with the one before it, so that the difference is not nothing."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not paths:
        raise Unavailable(f"{folder} holds no crop", _FORMS)
    first = read_picture(paths[0], _OUT)
    size = (first.shape[1], first.shape[0])
    crops = np.concatenate([_resized(read_picture(path, _OUT)[None], size) for path in paths[:MAX_ROWS]])
    return Samples(folder.name, crops, np.roll(crops, 1, axis=0))


def _resized(crops: Crops, size: tuple[int, int]) -> Crops:
    if crops.shape[1:3] == (size[1], size[0]):
        return crops
    return np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops]).astype(np.uint8)
