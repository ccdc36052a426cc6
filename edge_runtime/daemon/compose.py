"""The one place that builds things: which parts stand behind the protocols of `pipeline` and `daemon`.

`load_pipeline` serves `infer` (stateless) and `replay`; `build_daemon` wires the whole device. What only a daemon needs
is imported where it is built, so that `infer` starts without MQTT, SQLite and HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from edge_runtime.config import CameraConfig, DeviceConfig, Environment
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station

__all__ = ["LoadedModel", "build_camera_pipeline", "build_daemon", "default_bundle", "load_model", "load_pipeline"]

DEVELOPMENT = "development mode: models that nobody signed may run on this device"


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


def build_daemon(
    config: DeviceConfig,
    environment: Environment | None = None,
    development: bool = False,
    before: Daemon | None = None,
) -> Daemon:
    """The whole device under one configuration; nothing runs before `Daemon.run`.

    What can not be set up is a reported, degraded state, never an error. `development`: unsigned bundles may run. `before`:
    what ran under the last configuration; what of it fits goes on.
    """
    from edge_runtime.config import read_config, read_environment
    from edge_runtime.daemon import assembly
    from edge_runtime.daemon.errand import place_of
    from edge_runtime.daemon.parts import DaemonParts
    from edge_runtime.daemon.roster import Roster
    from edge_runtime.daemon.run import Daemon

    found, written, overlay = environment or read_environment(), config, assembly.open_overlay(config, before)
    config, left_out = overlay.over(written)
    deck, candidacy = assembly.open_models(config, development, before)
    errands = assembly.open_errands(config, before)
    board, view_url, view_trouble, close_view = assembly.open_view(config)

    def open_station(camera: CameraConfig, loaded: LoadedModel | None) -> Station:
        return assembly.open_station(config, camera, loaded, board, observers)

    roster = Roster(config.cameras, open_station, deck)
    voice, observers = assembly.build_voice(config, roster, before)
    return Daemon(
        DaemonParts(
            config=config,
            roster=roster,
            deck=deck,
            candidacy=candidacy,
            voice=voice,
            notifier=assembly.open_notifier(found),
            reload=lambda: read_config(config.path, found),
            place=place_of(config, development),
            written=written,
            overlay=overlay,
            errands=errands,
            updates=assembly.open_updates(config, errands, development),
            convergence=assembly.open_convergence(config, voice, overlay, errands, development, before),
            meters=assembly.open_meters(board),
            view_url=view_url,
            troubles=(*view_trouble, *left_out, *((DEVELOPMENT,) if development else ())),
            closers=close_view,
        )
    )
