"""The model that all cameras share: loaded once, and bound to each camera."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import ModelFault, Refused
from edge_runtime.inference.classifier import SlotClassifier
from edge_runtime.inference.probe import require_golden
from edge_runtime.inference.session import Session, open_session
from edge_runtime.lifecycle.bundle import Bundle, Variant
from edge_runtime.manifest import Manifest, Thresholds
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.pipeline import Model
from edge_runtime.pipeline import Normalizer as NormalizerPart
from edge_runtime.records import CropSpec, Image, Layout, ModelId

SAFE_CROP = CropSpec((64, 64), 0.1)
"""What is cut out while no model runs: the local view still shows the slots."""
SAFE_THRESHOLDS = Thresholds(1.0, 1.0)


Parts = tuple[NormalizerPart, Model | None]
"""What changes together in a camera's pipeline."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model in memory; the bundle's bytes are let go. One session serves all cameras of the device."""

    manifest: Manifest
    id: ModelId
    session: Session

    variant: Variant = Variant.PACKED
    """Which file of the bundle this is."""


def load_model(bundle: Bundle, threads: int = 1, variant: Variant = Variant.PACKED) -> LoadedModel:
    """Raises ModelFault if the model does not load or does not fit its manifest."""
    try:
        model = bundle.bytes_of(variant)
    except Refused as fault:
        raise ModelFault(fault.found, fault.mend) from None
    return LoadedModel(bundle.manifest, bundle.id, open_session(model, bundle.manifest, threads), variant)


def load_proven(bundle: Bundle, threads: int = 1, variant: Variant = Variant.PACKED) -> LoadedModel:
    """As `load_model`, and ModelFault too if the model does not give its golden answers on this device."""
    loaded = load_model(bundle, threads, variant)
    floating = variant is Variant.FLOAT
    try:
        require_golden(loaded.session, bundle.manifest, bundle.golden_arrays(), floating)
    except Refused as fault:
        raise ModelFault(fault.found, fault.mend) from None
    return loaded


def build_parts(
    layout: Layout, reference: Image, loaded: LoadedModel | None, raw: bool = False, stateless: bool = False
) -> Parts:
    """The two parts of a pipeline that change together with the model."""
    crop = loaded.manifest.crop if loaded else SAFE_CROP
    normalizer: NormalizerPart
    if raw:
        normalizer = RawNormalizer(layout, reference, crop)
    else:
        normalizer = Normalizer(layout, reference, crop, NormalizeSettings(stateless=stateless))
    return normalizer, bind_model(loaded, layout, normalizer.reference_crops) if loaded else None


def rebuild_parts(layout: Layout, reference: Image, loaded: LoadedModel | None, held: NormalizerPart) -> Parts:
    """As `build_parts` for another model, on what a camera's normalizer knows already: no registration is lost.

    May be called in another thread while `held` works. Raises ModelFault if the model does not fit.
    """
    if not isinstance(held, Normalizer):
        return build_parts(layout, reference, loaded)
    crop = loaded.manifest.crop if loaded else SAFE_CROP
    normalizer = held if held.crop == crop else held.recut(crop)
    return normalizer, bind_model(loaded, layout, normalizer.reference_crops) if loaded else None


def bind_model(loaded: LoadedModel, layout: Layout, reference_crops: Image) -> Model:
    """A loaded model of either task bound to one camera; its normalizer cuts what `loaded.manifest.crop` says."""
    if loaded.manifest.task == "classify-slots":
        return SlotClassifier(loaded.session, loaded.manifest, loaded.id.sha256, reference_crops)
    from edge_runtime.inference.detect.detector import Detector
    from edge_runtime.inference.detect.session import DetectSession

    assert isinstance(loaded.session, DetectSession), "open_session opens what the manifest's task says"
    return Detector(loaded.session, loaded.manifest, loaded.id.sha256, layout)


def thresholds_of(loaded: LoadedModel | None) -> Thresholds:
    return loaded.manifest.thresholds if loaded else SAFE_THRESHOLDS
