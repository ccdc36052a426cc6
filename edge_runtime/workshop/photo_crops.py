"""Crops of voids and facings, cut out of photographs as a device would, and kept as one npz."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.records import CropSpec, Image, Layout, Slot
from edge_runtime.workshop.crops import read_picture
from edge_runtime.workshop.photographs import Box, Photograph, quad, shaken, slots_of


@dataclass(frozen=True, slots=True, eq=False)
class PhotoCrops:
    """n crops with what they are and the photograph that they come from."""

    crops: NDArray[np.uint8]
    """(n, h, w, 3) BGR."""
    void: NDArray[np.bool_]
    photograph: NDArray[np.str_]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.void)

    def only(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> PhotoCrops:
        """These rows."""
        return PhotoCrops(self.crops[rows], self.void[rows], self.photograph[rows], self.group[rows])

    def save(self, path: Path) -> None:
        """Write one npz (uncompressed); a half-written file never takes the name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".part")
        with fresh.open("wb") as out:
            np.savez(out, crops=self.crops, void=self.void, photograph=self.photograph, group=self.group)
        fresh.replace(path)


def load_photo_crops(path: Path) -> PhotoCrops:
    """What `PhotoCrops.save` wrote. Raises Unavailable if it is not there, Refused if it is something else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return PhotoCrops(arrays["crops"], arrays["void"], arrays["photograph"], arrays["group"])
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Cut the photographs first") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise Refused(f"{path} is not a set of crops: {fault}", "Delete it and cut the photographs again") from None


def cut_boxes(picture: Image, boxes: Sequence[Box], crop: CropSpec) -> Image:
    """(n, height, width, 3) uint8 BGR: every box with the crop's margin, through the sampler of the device."""
    height, width = picture.shape[:2]
    if not boxes:
        return np.zeros((0, crop.size[1], crop.size[0], 3), np.uint8)
    slots = tuple(Slot(f"s{k}", "", quad(box)) for k, box in enumerate(boxes))
    sampler = SlotSampler(Layout(Path("photograph"), Path("photograph"), (width, height), slots), crop)
    return sampler.sample(picture, None)[0].copy()


def cut_photographs(photographs: Sequence[Photograph], crop: CropSpec, shake: float = 0.0) -> PhotoCrops:
    """Every void and every same-row facing, each box moved and scaled by normal shares `shake` of its sides.

    Raises Unavailable if a picture can not be read, Refused if none has a void."""
    parts = [(each, *_cut(each, crop, shake)) for each in photographs]
    if not any(void.any() for _, _, void in parts):
        raise Refused(f"none of {len(photographs)} photographs has a box of an empty facing", "Check labels/*.txt")
    counts = [len(void) for _, _, void in parts]
    return PhotoCrops(
        np.concatenate([crops for _, crops, _ in parts]),
        np.concatenate([void for _, _, void in parts]),
        np.repeat([each.name for each, _, _ in parts], counts),
        np.repeat([each.group for each, _, _ in parts], counts),
    )


def held_out(groups: NDArray[np.str_], share: float, seed: int) -> NDArray[np.bool_]:
    """(n,) True for the rows of a drawn share of the groups, which stay whole."""
    names = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    return np.asarray(np.isin(groups, drawn))


def _cut(photograph: Photograph, crop: CropSpec, shake: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    picture = read_picture(photograph.picture)
    slots = slots_of(photograph, picture.shape[1], picture.shape[0])
    void = np.arange(len(slots.boxes)) < len(slots.voids)
    return cut_boxes(picture, shaken(photograph, slots.boxes, shake), crop), void
