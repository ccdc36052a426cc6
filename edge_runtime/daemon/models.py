"""The model that all cameras share: loaded once, and bound to each camera."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import ModelFault, Refused
from edge_runtime.inference.classifier import SlotClassifier
from edge_runtime.inference.probe import require_golden
from edge_runtime.inference.session import Session, open_session
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.manifest import Manifest, Thresholds
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.pipeline import Model
from edge_runtime.pipeline import Normalizer as NormalizerPart
from edge_runtime.records import CropSpec, Image, Layout, ModelId

SAFE_CROP = CropSpec((64, 64), 0.1)
"""What is cut out while no model runs: the local view still shows the slots."""
SAFE_THRESHOLDS = Thresholds(1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model in memory; the bundle's bytes are let go. One session serves all cameras of the device."""

    manifest: Manifest
    id: ModelId
    session: Session


def load_model(bundle: Bundle, threads: int = 1) -> LoadedModel:
    """Raises ModelFault if the model does not load or does not fit its manifest."""
    return LoadedModel(bundle.manifest, bundle.id, open_session(bundle.model, bundle.manifest, threads))


def load_proven(bundle: Bundle, threads: int = 1) -> LoadedModel:
    """As `load_model`, and ModelFault too if the model does not give its golden answers on this device."""
    loaded = load_model(bundle, threads)
    try:
        require_golden(loaded.session, bundle.manifest, bundle.golden_arrays())
    except Refused as fault:
        raise ModelFault(fault.found, fault.mend) from None
    return loaded


def build_parts(
    layout: Layout, reference: Image, loaded: LoadedModel | None, raw: bool = False, stateless: bool = False
) -> tuple[NormalizerPart, Model | None]:
    """The two parts of a pipeline that change together with the model."""
    crop = loaded.manifest.crop if loaded else SAFE_CROP
    normalizer: NormalizerPart
    if raw:
        normalizer = RawNormalizer(layout, reference, crop)
    else:
        normalizer = Normalizer(layout, reference, crop, NormalizeSettings(stateless=stateless))
    if loaded is None:
        return normalizer, None
    return normalizer, SlotClassifier(loaded.session, loaded.manifest, loaded.id.sha256, normalizer.reference_crops)


def thresholds_of(loaded: LoadedModel | None) -> Thresholds:
    return loaded.manifest.thresholds if loaded else SAFE_THRESHOLDS
