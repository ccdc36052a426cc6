"""Labelled slot crops, cut by the same normalizer that the device uses; one npz a shelf, so that cutting can go on.

Registration errors, parallax and what the light match leaves behind are thereby part of what a model learns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.camera.still import decode_still
from edge_runtime.errors import BadConfig, EdgeError, Refused, Unavailable
from edge_runtime.layout import read_layout
from edge_runtime.records import CropSpec, Frame, Image, Layout, Unusable, View
from edge_runtime.workshop.field import FramePicture, ShelfPictures
from edge_runtime.workshop.labels import LABELS

Normalize = Callable[[Frame], View | Unusable]
MakeNormalizer = Callable[[Layout, CropSpec], tuple[Image, Normalize]]
"""Reference crops of a layout, and the function that brings frames to it."""


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Crops with their truth; n crops of s slots."""

    references: NDArray[np.uint8]
    """(s, h, w, 3) BGR."""
    current: NDArray[np.uint8]
    """(n, h, w, 3) BGR; all zero where the frame was unusable."""
    slot: NDArray[np.int32]
    """(n,) row of `references`."""
    label: NDArray[np.int8]
    """(n,) index into LABELS."""
    covered: NDArray[np.float32]
    condition: NDArray[np.str_]
    severity: NDArray[np.int8]
    shelf: NDArray[np.str_]
    usable: NDArray[np.bool_]
    """(n,) False where the normalizer gave `Unusable`."""
    inside: NDArray[np.float32]
    density: NDArray[np.float32]
    saturated: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    noise: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    def reference_of(self, rows: NDArray[np.integer] | slice) -> NDArray[np.uint8]:
        """The reference crops that belong to these rows."""
        return np.asarray(self.references[self.slot[rows]])

    def only(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> CropSet:
        """These rows; the references stay whole."""
        part = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "references"}
        return CropSet(references=self.references, **part)

    def save(self, path: Path) -> None:
        """Write one npz (uncompressed); a half-written file never takes the name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".part")
        with fresh.open("wb") as out:
            np.savez(out, **{f.name: getattr(self, f.name) for f in fields(self)})
        fresh.replace(path)


def load_crops(path: Path) -> CropSet:
    """What `CropSet.save` wrote. Raises Unavailable if it is not there, Refused if it is something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return CropSet(**{f.name: arrays[f.name] for f in fields(CropSet)})
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Cut the crops first") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise Refused(f"{path} is not a set of crops: {fault}", "Delete it and cut the crops again") from None


def join_crops(sets: Iterable[CropSet]) -> CropSet:
    """One set of several; rows of `references` are renumbered. Raises Refused if there is none."""
    parts = list(sets)
    if not parts:
        raise Refused("no crops to join", "Render and cut a set first")
    begins = np.cumsum([0, *(len(part.references) for part in parts)])[:-1]
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(CropSet)}
    joined["slot"] = np.concatenate([part.slot + begin for part, begin in zip(parts, begins, strict=True)]).astype(
        np.int32
    )
    return CropSet(**joined)


def frame_of(crops: CropSet) -> NDArray[np.intp]:
    """(n,) number of each crop's frame: crops of one frame lie side by side, in the order of their slots."""
    rows = crops.slot.astype(np.int64)
    begins = rows[1:] <= rows[:-1]
    for column in (crops.shelf, crops.condition, crops.severity):
        begins |= column[1:] != column[:-1]
    return np.concatenate([[0], np.cumsum(begins)]).astype(np.intp) if len(rows) else np.zeros(0, np.intp)


def cut_shelf(shelf: ShelfPictures, spec: CropSpec, make: MakeNormalizer) -> CropSet:
    """Every slot of every frame of one shelf.

    Raises Unavailable if a picture can not be read, BadConfig if the truth names a slot that the layout lacks.
    """
    layout = read_layout(shelf.layout)
    references, normalize = make(layout, spec)
    names = {slot.id: row for row, slot in enumerate(layout.slots)}
    foreign = {truth.slot for picture in shelf.frames for truth in picture.truth} - set(names)
    if foreign or not shelf.frames:
        raise BadConfig(
            f"the truth of {shelf.name} has {len(shelf.frames)} frames and names slots that its layout lacks: "
            f"{', '.join(sorted(foreign)) or 'none'}",
            "Render it again",
        )
    blank = np.zeros((1, spec.size[1], spec.size[0], 3), np.uint8)
    parts = [_cut_frame(picture, normalize, names, number, blank) for number, picture in enumerate(shelf.frames)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["shelf"] = np.full(len(columns["label"]), shelf.name)
    return CropSet(references=references.copy(), **columns)


def read_picture(path: Path, mend: str = "Take it out of the dataset, or make it again") -> Image:
    """A picture file as BGR. Raises Unavailable if it is not there, not a picture, or too large (`camera.still`)."""
    try:
        return decode_still(path)
    except EdgeError as fault:
        why = fault.found.removeprefix(f"{path} ").removeprefix("is not a picture: ")
        raise Unavailable(f"{path} is not a readable picture ({why})", mend) from None


def _cut_frame(
    picture: FramePicture, normalize: Normalize, names: dict[str, int], number: int, blank: Image
) -> dict[str, NDArray[Any]]:
    view = normalize(Frame(picture.path.stem, number, read_picture(picture.path), float(number), float(number)))
    rows = np.array([names[truth.slot] for truth in picture.truth], np.int32)
    count, usable = len(rows), isinstance(view, View)
    columns: dict[str, NDArray[Any]] = {
        "slot": rows,
        "label": np.array([LABELS.index(truth.state) for truth in picture.truth], np.int8),
        "covered": np.array([truth.covered for truth in picture.truth], np.float32),
        "condition": np.full(count, picture.condition),
        "severity": np.full(count, picture.severity, np.int8),
        "usable": np.full(count, usable),
    }
    return columns | (_seen(view, rows) if isinstance(view, View) else _unseen(count, blank))


def _seen(view: View, rows: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    count = len(rows)
    return {
        "current": view.crops[rows].copy(),
        "inside": view.quality.inside[rows].copy(),
        "density": view.quality.density[rows].copy(),
        "saturated": view.quality.saturated[rows].copy(),
        "sharpness": np.full(count, view.sharpness, np.float32),
        "noise": np.full(count, view.noise, np.float32),
    }


def _unseen(count: int, blank: Image) -> dict[str, NDArray[Any]]:
    nothing = np.zeros(count, np.float32)
    names = ("inside", "density", "saturated", "sharpness", "noise")
    return {"current": np.repeat(blank, count, 0)} | {name: nothing.copy() for name in names}
