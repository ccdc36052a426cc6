"""Calibration material on disk, read a batch at a time: strips of pairs, folders of crops, or arrays.

`Samples` is a list of rows; nothing but the rows that are asked for is decoded, so a folder may be as large as it likes.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import InputSpec
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.quantization.feeding import Feed, feed_of

PICTURES = (".png", ".jpg", ".jpeg")
MAX_ARRAY_BYTES = 2 * 1024**3
"""An npz is held in memory; more than this belongs into a folder."""
_FORMS = "Give a folder of pairs-NN.png strips or of PNG and JPG crops, or an npz with `current` (and `reference`)"


class Samples(Protocol):
    """Rows of calibration material."""

    @property
    def digest(self) -> str:
        """sha256 of what the rows hold, wherever they lie."""
        ...

    @property
    def labels(self) -> tuple[str, ...] | None:
        """What each row really is, if that is known."""
        ...

    def __len__(self) -> int: ...

    def feed(self, rows: Sequence[int]) -> Feed:
        """These rows as the graph takes them. Raises Unavailable or Refused for a picture that can not be used."""
        ...


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
        chosen = list(rows)
        return feed_of(self.current[chosen], None if self.reference is None else self.reference[chosen], self.spec)


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


@dataclass(frozen=True, eq=False)
class CropFiles:
    """Picture files, one crop each."""

    paths: tuple[Path, ...]
    spec: InputSpec
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def feed(self, rows: Sequence[int]) -> Feed:
        width, height = self.spec.size
        crops = [_crop(self.paths[row], width, height) for row in rows]
        return feed_of(np.stack(crops), None, self.spec)


@dataclass(frozen=True, eq=False)
class Strips:
    """`pairs-NN.png`: columns of the current crop above its reference crop."""

    columns: tuple[tuple[Path, int], ...]
    spec: InputSpec
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def digest(self) -> str:
        """As `CropArrays.digest` of the same pairs."""
        now, then = self._pairs(range(len(self)))
        return hashlib.sha256(now.tobytes() + then.tobytes()).hexdigest()

    def feed(self, rows: Sequence[int]) -> Feed:
        return feed_of(*self._pairs(rows), self.spec)

    def _pairs(self, rows: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        strips = {path: _picture(path) for path in dict.fromkeys(self.columns[row][0] for row in rows)}
        side = self.spec.size[0]
        cut = [strips[path][:, left : left + side] for path, left in (self.columns[row] for row in rows)]
        return np.stack([pair[:side] for pair in cut]), np.stack([pair[side:] for pair in cut])


def open_samples(path: Path, spec: InputSpec) -> Samples:
    """Whatever calibration material lies at `path`: a folder or an npz.

    Sub-folders of a folder are labels. Raises Unavailable if nothing is there, Refused if it does not fit `spec`.
    """
    if path.is_dir():
        return _folder(path, spec)
    if path.suffix == ".npz":
        return _arrays(path, spec)
    raise Unavailable(f"{path} is neither a folder nor an npz file; a calibration set was expected", _FORMS)


def _folder(path: Path, spec: InputSpec) -> Samples:
    strips = sorted(path.glob("pairs-*.png"))
    if strips:
        return Strips(tuple(column for strip in strips for column in _columns(strip, spec)), spec)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
    if not files:
        raise Unavailable(f"{path} holds no picture; a calibration set was expected", _FORMS)
    if spec.reference is not None:
        feed_of(np.zeros((1, 1, 1, 3), np.uint8), None, spec)
    inside = [file.relative_to(path).parts[:-1] for file in files]
    labels = tuple(parts[0] for parts in inside if parts)
    return CropFiles(tuple(files), spec, labels if len(labels) == len(files) else None)


def _columns(strip: Path, spec: InputSpec) -> list[tuple[Path, int]]:
    height, width = _picture(strip).shape[:2]
    side = spec.size[0]
    if spec.size[0] != spec.size[1] or height != 2 * side or width % side:
        raise Refused(
            f"{strip} is {width}x{height}; columns of two {spec.size[0]}x{spec.size[1]} crops, one above the other, were "
            "expected",
            "Cut the pairs in the size that the model takes",
        )
    return [(strip, left) for left in range(0, width, side)]


def _picture(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise Unavailable(f"{path} is not a readable picture", "Take it out of the calibration set, or make it again")
    return np.asarray(pixels, np.uint8)


def _crop(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    pixels = _picture(path)
    if pixels.shape[:2] != (height, width):
        raise Refused(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; crops of {width}x{height} were expected",
            "Cut the crops in the size that the model takes: the margin counts, so resizing is not the same",
        )
    return pixels


def open_arrays(path: Path) -> Samples:
    """An npz whose arrays are fed as they are, each named after a graph input, beside `label`. Raises as `open_samples`."""
    arrays = _load(path)
    labels = _labels(arrays)
    _require_rows(path, arrays, labels)
    return GraphArrays(arrays, labels)


def _load(path: Path) -> Feed:
    try:
        if path.stat().st_size > MAX_ARRAY_BYTES:
            raise Refused(f"{path} has {path.stat().st_size} bytes, at most {MAX_ARRAY_BYTES} were expected", _FORMS)
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror or fault}", _FORMS) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise Refused(f"{path} is not an npz file of plain arrays: {fault}", _FORMS) from None


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
            _FORMS,
        )


def _arrays(path: Path, spec: InputSpec) -> Samples:
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
