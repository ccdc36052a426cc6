"""Calibration material on disk, read a batch at a time: strips of pairs, folders of crops, or arrays.

`Samples` is a list of rows; nothing but the rows that are asked for is decoded, so a folder may be as large as it likes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import InputSpec
from edge_runtime.workshop.crops import read_picture
from edge_runtime.workshop.quantization.arrays import FORMS, CropArrays, GraphArrays, read_crops
from edge_runtime.workshop.quantization.feeding import Feed, feed_of

PICTURES = (".png", ".jpg", ".jpeg")
DIGEST_ROWS = 256


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
        return feed_of(*self.crops(rows), self.spec)

    def crops(self, rows: Sequence[int]) -> tuple[NDArray[np.uint8], None]:
        """These rows as crops; there are no references."""
        return np.stack([_crop(self.paths[row], *self.spec.size) for row in rows]), None


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
        """As `CropArrays.digest` of the same pairs; read twice, and never all at once."""
        digest = hashlib.sha256()
        for which in (0, 1):
            for begin in range(0, len(self), DIGEST_ROWS):
                digest.update(self.crops(range(begin, min(begin + DIGEST_ROWS, len(self))))[which].tobytes())
        return digest.hexdigest()

    def feed(self, rows: Sequence[int]) -> Feed:
        return feed_of(*self.crops(rows), self.spec)

    def crops(self, rows: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """These rows as current and reference crops."""
        strips = {path: _picture(path) for path in dict.fromkeys(self.columns[row][0] for row in rows)}
        side = self.spec.size[0]
        cut = [strips[path][:, left : left + side] for path, left in (self.columns[row] for row in rows)]
        return np.stack([pair[:side] for pair in cut]), np.stack([pair[side:] for pair in cut])


def open_samples(path: Path, spec: InputSpec) -> CropFiles | Strips | CropArrays | GraphArrays:
    """Whatever calibration material lies at `path`: a folder or an npz.

    Sub-folders of a folder are labels. Raises Unavailable if nothing is there, Refused if it does not fit `spec`.
    """
    if path.is_dir():
        return _folder(path, spec)
    if path.suffix == ".npz":
        return read_crops(path, spec)
    raise Unavailable(f"{path} is neither a folder nor an npz file; a calibration set was expected", FORMS)


def _folder(path: Path, spec: InputSpec) -> CropFiles | Strips:
    strips = sorted(path.glob("pairs-*.png"))
    if strips:
        return Strips(tuple(column for strip in strips for column in _columns(strip, spec)), spec)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
    if not files:
        raise Unavailable(f"{path} holds no picture; a calibration set was expected", FORMS)
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
    return read_picture(path, "Take it out of the calibration set, or make it again")


def _crop(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    pixels = _picture(path)
    if pixels.shape[:2] != (height, width):
        raise Refused(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; crops of {width}x{height} were expected",
            "Cut the crops in the size that the model takes: the margin counts, so resizing is not the same",
        )
    return pixels


def crops_at(path: Path, spec: InputSpec, most: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The crops themselves, (n, h, w, 3) BGR, evenly at most `most` of them. Raises as `open_samples`."""
    samples = open_samples(path, spec)
    rows = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)).tolist()
    if isinstance(samples, GraphArrays):
        raise Refused(f"{path} holds arrays that are fed as they are; crops (`current`) were expected", FORMS)
    return samples.crops(rows)
