"""The one place that builds things: which normalizer, model and shelf stand behind the protocols of `pipeline`.

`build_camera_pipeline` serves `infer` (stateless), `replay` and the tests; `build_daemon` wires the whole device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.assets import factory_bundles
from edge_runtime.errors import Unavailable
from edge_runtime.inference.classifier import SlotClassifier
from edge_runtime.inference.session import Session, open_session
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.bundle import Bundle, read_bundle
from edge_runtime.manifest import Manifest, Thresholds
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.pipeline import Model, Observer, Pipeline, Shelf
from edge_runtime.pipeline import Normalizer as NormalizerPart
from edge_runtime.records import CropSpec, Image, Layout, SlotStatus
from edge_runtime.shelf.single import SingleFrames
from edge_runtime.shelf.states import ShelfTracker

SAFE_CROP = CropSpec((64, 64), 0.1)
"""What is cut out while no model runs: the local view still shows the slots."""
SAFE_THRESHOLDS = Thresholds(1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A bundle whose model is in memory. One serves all cameras of the device."""

    bundle: Bundle
    session: Session

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest


def default_bundle() -> Path:
    """The newest bundle that ships with the runtime. Raises Unavailable if the installation has none."""
    bundles = factory_bundles()
    if not bundles:
        raise Unavailable("no model bundle is installed with the runtime", "Name one with --model BUNDLE")
    return bundles[-1]


def load_model(bundle: Bundle, threads: int = 1) -> LoadedModel:
    """Raises ModelFault if the model does not load or does not fit its manifest."""
    return LoadedModel(bundle, open_session(bundle.model, bundle.manifest, threads))


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
    bundle = loaded.bundle
    return normalizer, SlotClassifier(loaded.session, bundle.manifest, bundle.sha256, normalizer.reference_crops)


def build_camera_pipeline(
    layout: Layout,
    bundle: Bundle | None,
    observers: Sequence[Observer] = (),
    raw: bool = False,
    stateless: bool = False,
    camera: str = "camera",
    threads: int = 1,
    remembered: Sequence[SlotStatus] = (),
) -> Pipeline:
    """One camera's pipeline.

    `raw`: no normalization, the "before" of every comparison. `stateless`: each frame is a photograph of its own and
    yields readings, but no statuses and no events. Without a bundle every slot is `unknown`.
    Raises what `open_reference` and `load_model` raise.
    """
    loaded = load_model(bundle, threads) if bundle else None
    normalizer, model = build_parts(layout, open_reference(layout), loaded, raw, stateless)
    thresholds = loaded.manifest.thresholds if loaded else SAFE_THRESHOLDS
    shelf: Shelf
    if stateless:
        shelf = SingleFrames(layout, thresholds)
    else:
        shelf = ShelfTracker(camera, layout, thresholds, remembered=remembered)
    return Pipeline(normalizer, model, shelf, observers)


def load_pipeline(
    layout: Path,
    model: Path | None = None,
    observers: Sequence[Observer] = (),
    raw: bool = False,
    stateless: bool = False,
    camera: str = "camera",
) -> tuple[Layout, Bundle, Pipeline]:
    """From paths as a command line gives them; without `model` the newest bundle of the installation."""
    bundle = read_bundle(model or default_bundle())
    read = read_layout(layout)
    return read, bundle, build_camera_pipeline(read, bundle, observers, raw, stateless, camera)
