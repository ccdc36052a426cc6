"""Cutting a whole rendered dataset with the runtime's own normalizer, one resumable npz a shelf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.normalize.slots import SlotSampler
from edge_runtime.normalize.view import Normalizer, RawNormalizer, saturated_share
from edge_runtime.records import (
    CropSpec,
    Frame,
    Image,
    Layout,
    Light,
    Registration,
    RegistrationStatus,
    SlotQuality,
    Unusable,
    View,
)
from edge_runtime.workshop.crops import (
    CropSet,
    MakeNormalizer,
    Normalize,
    cut_shelf,
    join_crops,
    load_crops,
    read_picture,
)
from edge_runtime.workshop.field import ShelfPictures, read_field

WayOfCutting = Callable[[ShelfPictures], MakeNormalizer]
PLACED_EVERY = 3
"""Every third frame whose place is known is cut there; the others go through the normalizer, as on a device."""


class _Place(msgspec.Struct, frozen=True):
    homography: tuple[tuple[float, float, float], ...]
    k1: float = 0.0


def normalized(_: ShelfPictures) -> MakeNormalizer:
    """Each frame on its own, as a photograph: registered, relit, resampled."""
    return _normalized


def raw(_: ShelfPictures) -> MakeNormalizer:
    """The "before" of the field bench: polygons scaled to the frame, nothing else."""

    def make(layout: Layout, spec: CropSpec) -> tuple[Image, Normalize]:
        normalizer = RawNormalizer(layout, read_picture(layout.reference), spec)
        return normalizer.reference_crops, normalizer.normalize

    return make


def partly_placed(shelf: ShelfPictures) -> MakeNormalizer:
    """For training: every PLACED_EVERY-th frame is cut where the renderer says that the shelf's front is.

    Those keep the light of the frame and the parallax of its packs, as where a device can tell neither; all others, and
    those of a distorting lens, are normalized as on a device.
    """
    places = _places(shelf)

    def make(layout: Layout, spec: CropSpec) -> tuple[Image, Normalize]:
        references, register = _normalized(layout, spec)
        sampler = SlotSampler(layout, spec)

        def normalize(frame: Frame) -> View | Unusable:
            place = places[frame.camera]
            if place.k1 or frame.sequence % PLACED_EVERY:
                return register(frame)
            return _cut_at(frame, sampler, np.array(place.homography), spec.margin)

        return references, normalize

    return make


def cut_dataset(
    dataset: Path, folder: Path, spec: CropSpec, way: WayOfCutting = normalized, part: tuple[int, int] = (0, 1)
) -> None:
    """Cut every shelf of `dataset` that `folder` does not hold yet; `part` = (k, n) takes each n-th shelf from k on."""
    for shelf in read_field(dataset)[part[0] :: part[1]]:
        path = folder / f"{shelf.name}.npz"
        if not path.exists():
            cut_shelf(shelf, spec, way(shelf)).save(path)


def load_dataset(folder: Path) -> CropSet:
    """All shelves cut into `folder`, in the order of their names."""
    return join_crops(load_crops(path) for path in sorted(folder.glob("*.npz")))


def _normalized(layout: Layout, spec: CropSpec) -> tuple[Image, Normalize]:
    normalizer = Normalizer(layout, read_picture(layout.reference), spec)
    return normalizer.reference_crops, normalizer.single


def _places(shelf: ShelfPictures) -> dict[str, _Place]:
    path = shelf.layout.with_name("geometry.json")
    try:
        places = msgspec.json.decode(path.read_bytes(), type=dict[str, _Place])
    except OSError as fault:
        raise Unavailable(
            f"{path} can not be read: {fault.strerror}", "Render the dataset with the simulator"
        ) from None
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise BadConfig(f"{path} is not readable: {fault}", "Render the dataset again") from None
    missing = sorted({picture.path.stem for picture in shelf.frames} - set(places))
    if missing:
        raise BadConfig(f"{path} lacks the place of {', '.join(missing[:5])}", "Render the dataset again")
    return places


def _cut_at(frame: Frame, sampler: SlotSampler, homography: np.ndarray, margin: float) -> View:
    crops, inside, density = sampler.sample(frame.pixels, homography)
    registration = Registration(RegistrationStatus.OK, homography)
    quality = SlotQuality(inside.copy(), saturated_share(crops, margin), density.copy())
    return View(frame, registration, Light(False), crops, quality, 1.0, 0.0, {})
