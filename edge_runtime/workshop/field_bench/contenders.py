"""The ways of preparing a frame that a bench compares; all of them feed the same model file.

A contender is one frozen record and a function that makes its normalizer. The enhancers work as their users apply them:
on the raw polygons, on the frame and on the commissioned picture alike, without asking whether they help.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_runtime.normalize.raw import RawNormalizer
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer as ShelfNormalizer
from edge_runtime.pipeline import Normalizer
from edge_runtime.records import CropSpec, Frame, Image, Layout, Unusable, View
from edge_runtime.workshop.field_bench import enhancers

Enhance = Callable[[Image, Image], Image]
MakeNormalizer = Callable[[Layout, Image, CropSpec], Normalizer]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of preparing frames."""

    name: str
    title: str
    note: str
    make: MakeNormalizer


class EnhancedRaw:
    """Raw polygons of an enhanced picture. Implements `pipeline.Normalizer`."""

    def __init__(self, layout: Layout, reference: Image, crop: CropSpec, enhance: Enhance) -> None:
        self._reference, self._enhance = reference, enhance
        self._raw = RawNormalizer(layout, enhance(reference, reference), crop)

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots of the enhanced reference."""
        return self._raw.reference_crops

    def normalize(self, frame: Frame) -> View | Unusable:
        """Enhance, then cut the scaled polygons; always a View."""
        return self._raw.normalize(replace(frame, pixels=self._enhance(frame.pixels, self._reference)))


def _enhanced(name: str, title: str, enhance: Enhance) -> Contender:
    source = (enhance.__doc__ or "").strip()
    return Contender(name, title, source, lambda layout, reference, crop: EnhancedRaw(layout, reference, crop, enhance))


def _settled(settings: NormalizeSettings) -> MakeNormalizer:
    return lambda layout, reference, crop: ShelfNormalizer(layout, reference, crop, settings)


RAW = Contender(
    "none",
    "none (augmentation only)",
    "The raw polygons. The model is trained with augmentation, so this row is what training alone achieves.",
    RawNormalizer,
)
OURS = Contender(
    "ours",
    "edge-runtime",
    "Registration, gated light and the model's training together: what the command infer does.",
    _settled(NormalizeSettings(stateless=True)),
)
BASELINES = (
    _enhanced("grey-world", "grey-world", enhancers.grey_world),
    _enhanced("clahe", "CLAHE", enhancers.clahe),
    _enhanced("histogram", "histogram match", enhancers.match_histogram),
    _enhanced("retinex", "Retinex, one scale", enhancers.retinex),
    _enhanced("multi-retinex", "Retinex, three scales", enhancers.multi_retinex),
    Contender(
        "light",
        "light only",
        "The runtime without registration: its gated light match on the raw polygons.",
        _settled(NormalizeSettings(stateless=True, register=False)),
    ),
    Contender(
        "registration",
        "registration only",
        "The runtime without its light match.",
        _settled(NormalizeSettings(stateless=True, light=False)),
    ),
)
