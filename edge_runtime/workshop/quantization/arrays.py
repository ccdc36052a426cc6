"""Calibration material as arrays: an npz of crops, of a cut shelf, or of whatever the inputs of a graph are called."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import InputSpec
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.quantization.feeding import Feed, feed_of

MAX_ARRAY_BYTES = 2 * 1024**3
"""An npz is held in memory; more than this belongs into a folder."""
FORMS = "Give a folder of pairs-NN.png strips or of PNG and JPG crops, or an npz with `current` (and `reference`)"


@dataclass(frozen=True, eq=False)
class CropArrays:
    """Crops in memory, as the house's own recipes have them."""

    current: NDArray[np.uint8]
    reference: NDArray[np.uint8] | None
    spec: InputSpec
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.current)

    @property
    def digest(self) -> str:
        parts = [self.current.tobytes(), b"" if self.reference is None else self.reference.tobytes()]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def feed(self, rows: Sequence[int]) -> Feed:
        return feed_of(*self.crops(rows), self.spec)

    def crops(self, rows: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """These rows as current and reference crops."""
        chosen = list(rows)
        return self.current[chosen], None if self.reference is None else self.reference[chosen]


@dataclass(frozen=True, eq=False)
class GraphArrays:
    """Arrays that are fed as they are, each named after a graph input."""

    arrays: Feed
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return min(len(array) for array in self.arrays.values())

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(name.encode() + b"\0" + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def feed(self, rows: Sequence[int]) -> Feed:
        return {name: array[list(rows)] for name, array in self.arrays.items()}


def open_arrays(path: Path) -> GraphArrays:
    """An npz whose arrays are fed as they are, each named after a graph input, beside `label`. Raises Unavailable or Refused."""
    arrays = _load(path)
    labels = _labels(arrays)
    _require_rows(path, arrays, labels)
    return GraphArrays(arrays, labels)


def _load(path: Path) -> Feed:
    try:
        if path.stat().st_size > MAX_ARRAY_BYTES:
            raise Refused(f"{path} has {path.stat().st_size} bytes, at most {MAX_ARRAY_BYTES} were expected", FORMS)
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror or fault}", FORMS) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise Refused(f"{path} is not an npz file of plain arrays: {fault}", FORMS) from None


def _labels(arrays: Feed) -> tuple[str, ...] | None:
    """Text, or numbers of the house's own labels."""
    label = arrays.pop("label", None)
    if label is None:
        return None
    numbers = label.dtype.kind in "iu"
    return tuple(LABELS[name] if numbers and 0 <= name < len(LABELS) else str(name) for name in np.atleast_1d(label))


def _require_rows(path: Path, arrays: Feed, labels: tuple[str, ...] | None) -> None:
    lengths = {name: len(np.atleast_1d(array)) for name, array in arrays.items()}
    if labels is not None:
        lengths["label"] = len(labels)
    if not arrays or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise Refused(
            f"{path} holds arrays of {lengths or 'no'} rows; one row at least, and as many in each, were expected",
            FORMS,
        )


def read_crops(path: Path, spec: InputSpec) -> CropArrays | GraphArrays:
    """An npz of crops that fit `spec`, else of graph inputs. Raises Unavailable or Refused."""
    arrays = _load(path)
    labels = _labels(arrays)
    if {"current", "references", "slot"} <= set(arrays):
        arrays = _of_cut_shelf(path, arrays)
    _require_rows(path, arrays, labels)
    if "current" not in arrays or set(arrays) - {"current", "reference"} or arrays["current"].dtype != np.uint8:
        return GraphArrays(arrays, labels)
    width, height = spec.size
    for name, array in arrays.items():
        if array.dtype != np.uint8 or array.shape[1:] != (height, width, 3):
            raise Refused(
                f"{path}: {name} is {array.dtype} {array.shape}; crops of uint8 (n, {height}, {width}, 3) were expected",
                "Cut the crops in the size that the model takes",
            )
    reference = arrays.get("reference") if spec.reference else None
    pairs = None if reference is None else reference.astype(np.uint8)
    return CropArrays(arrays["current"].astype(np.uint8), pairs, spec, labels)


def _of_cut_shelf(path: Path, arrays: Feed) -> Feed:
    """`crops.CropSet`, whose crops name the row of their reference; unusable ones are black and would widen no range."""
    slots = arrays["slot"].astype(np.int64)
    if len(slots) and not 0 <= slots.min() <= slots.max() < len(arrays["references"]):
        raise Refused(f"{path}: `slot` names rows that `references` lacks", "Cut the shelf again")
    return {"current": arrays["current"], "reference": arrays["references"][slots]}
