"""The one place that builds things: which parts stand behind the protocols of `pipeline` and `daemon`.

`load_pipeline` serves `infer` (stateless) and `replay`; `build_daemon` wires the whole device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.assets import factory_bundles
from edge_runtime.daemon.models import LoadedModel, build_parts, load_model, thresholds_of
from edge_runtime.errors import Unavailable
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.bundle import Bundle, read_bundle
from edge_runtime.normalize.reference import open_reference
from edge_runtime.pipeline import Observer, Pipeline, Shelf
from edge_runtime.records import Layout, SlotStatus
from edge_runtime.shelf.single import SingleFrames
from edge_runtime.shelf.states import ShelfTracker

__all__ = ["LoadedModel", "build_camera_pipeline", "default_bundle", "load_model", "load_pipeline"]


def default_bundle() -> Path:
    """The newest bundle that ships with the runtime. Raises Unavailable if the installation has none."""
    bundles = factory_bundles()
    if not bundles:
        raise Unavailable("no model bundle is installed with the runtime", "Name one with --model BUNDLE")
    return bundles[-1]


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
    shelf: Shelf
    if stateless:
        shelf = SingleFrames(layout, thresholds_of(loaded))
    else:
        shelf = ShelfTracker(camera, layout, thresholds_of(loaded), remembered=remembered)
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
