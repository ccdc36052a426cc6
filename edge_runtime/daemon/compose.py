"""The one place that builds things: which parts stand behind the protocols of `pipeline` and `daemon`.

`load_pipeline` serves `infer` (stateless) and `replay`; `build_daemon` wires the whole device. What only a daemon needs
is imported where it is built, so that `infer` starts without MQTT, SQLite and HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.assets import factory_bundles
from edge_runtime.daemon.deck import ModelDeck
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
    from edge_runtime.daemon.candidacy import Candidacy
    from edge_runtime.daemon.convergence import Convergence
    from edge_runtime.daemon.errand_runner import ErrandRunner
    from edge_runtime.daemon.overlay import Overlay
    from edge_runtime.daemon.roster import Roster
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station
    from edge_runtime.daemon.updates import AutoUpdate
    from edge_runtime.daemon.voice import Voice
    from edge_runtime.web.board import Board

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

    What can not be set up is a reported, degraded state, never an error. `development`: unsigned bundles may run.
    `before`: what ran under the last configuration; if this one keeps the model, so do its models and their trial.
    """
    from edge_runtime.config import read_config, read_environment
    from edge_runtime.daemon.errand import place_of
    from edge_runtime.daemon.notify import Notifier
    from edge_runtime.daemon.roster import Roster
    from edge_runtime.daemon.run import Daemon, DaemonParts

    found, written = environment or read_environment(), config
    overlay = _open_overlay(config, before)
    config, left_out = overlay.over(written)
    deck, candidacy = _open_models(config, development, before)
    errands = _open_errands(config, before)
    board, view_url, view_trouble, close_view = _open_view(config)

    def open_station(camera: CameraConfig, loaded: LoadedModel | None) -> Station:
        return _open_station(config, camera, loaded, board, observers)

    roster = Roster(config.cameras, open_station, deck)
    voice, observers = _build_voice(config, roster, before)
    convergence = _open_convergence(config, voice, overlay, errands, development, before)
    return Daemon(
        DaemonParts(
            config=config,
            roster=roster,
            deck=deck,
            candidacy=candidacy,
            voice=voice,
            notifier=Notifier(found.notify_socket, found.watchdog_s),
            reload=lambda: read_config(config.path, found),
            place=place_of(config, development),
            written=written,
            overlay=overlay,
            errands=errands,
            updates=_open_updates(config, errands, development),
            convergence=convergence,
            view_url=view_url,
            troubles=(*view_trouble, *left_out, *((DEVELOPMENT,) if development else ())),
            closers=close_view,
        )
    )


def _open_overlay(config: DeviceConfig, before: Daemon | None) -> Overlay:
    """What was set from afar; that of the process, unless the state lies elsewhere now."""
    from edge_runtime.daemon.overlay import Overlay

    if before is not None and before.parts.config.storage.state_dir == config.storage.state_dir:
        return before.parts.overlay
    return Overlay(config.storage.state_dir)


def _open_errands(config: DeviceConfig, before: Daemon | None) -> ErrandRunner:
    """What is under way goes on over a reload, unless it was begun for another store or another repository."""
    from edge_runtime.daemon.errand_runner import ErrandRunner

    if before is None:
        return ErrandRunner()
    if (before.parts.config.storage, _trust(before.parts.config)) == (config.storage, _trust(config)):
        return before.parts.errands
    before.parts.errands.stop()
    return ErrandRunner()


def _trust(config: DeviceConfig) -> tuple[object, ...]:
    return config.model.name, config.model.repository, config.model.root


def _open_models(config: DeviceConfig, development: bool, before: Daemon | None) -> tuple[ModelDeck, Candidacy]:
    """The device's store, with the factory bundles of the model that the configuration names, and what watches it."""
    from edge_runtime.daemon.candidacy import Candidacy
    from edge_runtime.daemon.errand import place_of
    from edge_runtime.daemon.sentry import Sentry
    from edge_runtime.daemon.terms import Terms, read_terms
    from edge_runtime.lifecycle.store import ModelStore

    state_dir, usual = config.storage.state_dir, place_of(config).terms

    def open_store() -> ModelStore:
        return ModelStore(state_dir, factory_bundles(config.model.name), allow_unsigned=development)

    def terms_of(sha256: str) -> Terms:
        return read_terms(state_dir, sha256, usual)

    if before is not None and _same_models(before.parts.config, config):
        deck, kept = before.deck, before.parts.candidacy
        return deck, Candidacy(deck, open_store, terms_of, kept.sentry, beside=kept.beside)
    deck = ModelDeck(open_store(), config.model.threads)
    return deck, Candidacy(deck, open_store, terms_of, Sentry())


def _same_models(before: DeviceConfig, now: DeviceConfig) -> bool:
    return (before.storage.state_dir, before.model.name, before.model.threads) == (
        now.storage.state_dir,
        now.model.name,
        now.model.threads,
    )


def _open_updates(config: DeviceConfig, errands: ErrandRunner, development: bool) -> AutoUpdate | None:
    if not config.model.auto_update:
        return None
    from edge_runtime.daemon.errand import Errand, place_of
    from edge_runtime.daemon.updates import AutoUpdate

    errand = Errand(place_of(config, development), "update", why="a newer release")
    return AutoUpdate(errands, errand, config.model.update_interval_s)


def _open_convergence(
    config: DeviceConfig,
    voice: Voice,
    overlay: Overlay,
    errands: ErrandRunner,
    development: bool,
    before: Daemon | None,
) -> Convergence | None:
    """What follows the desired state: that of the line, or where there is no broker one that goes on with what was kept."""
    from edge_runtime.daemon.errand import place_of
    from edge_runtime.daemon.voice import BrokerVoice
    from edge_runtime.daemon.wishes import Reporter, attach, build_convergence
    from edge_runtime.lifecycle.store import ModelStore

    mqtt, line = config.mqtt, voice.line if isinstance(voice, BrokerVoice) else None
    if mqtt is not None and mqtt.commands == "off":
        return None
    kept = before.parts.convergence if before is not None else None
    if kept is not None and line is not None and line.convergence is kept:
        kept.place = place_of(config, development)
        convergence = kept
    else:

        def open_store() -> ModelStore:
            return ModelStore(config.storage.state_dir, factory_bundles(config.model.name), allow_unsigned=development)

        convergence = build_convergence(config, errands, open_store, overlay, development)
        if line is not None:
            attach(convergence, line)
    if isinstance(voice, BrokerVoice):
        voice.reporter = Reporter(voice.line.stamp, voice.line.uplink.retain, lambda: overlay.in_force)
    return convergence


def _open_station(
    config: DeviceConfig,
    camera: CameraConfig,
    loaded: LoadedModel | None,
    board: Board | None,
    observers: Sequence[Observer],
) -> Station:
    from edge_runtime.camera.live import LiveCamera
    from edge_runtime.config import authorized_source
    from edge_runtime.daemon.health import remembered_slots
    from edge_runtime.daemon.memory import restore_drift
    from edge_runtime.daemon.station import Station, StationParts
    from edge_runtime.drift.monitor import DriftMonitor

    layout = read_layout(camera.layout)
    reference = open_reference(layout)
    live = LiveCamera(camera.name, authorized_source(camera), interval_s=camera.interval_s)
    normalizer, model = build_parts(layout, reference, loaded)
    remembered = remembered_slots(config.storage.state_dir, camera.name)
    tracker = ShelfTracker(camera.name, layout, thresholds_of(loaded), remembered=remembered)
    drift = DriftMonitor(camera.name)
    restore_drift(config.storage.state_dir, camera.name, drift, loaded.id.sha256 if loaded else "")
    watching = [drift, *observers]
    if board is not None:
        watching.append(
            board.watch(camera.name, layout, lambda: pipeline.normalizer.reference_crops, camera.interval_s)
        )
    pipeline = Pipeline(normalizer, model, tracker, watching)
    return Station(StationParts(camera, layout, reference, live, pipeline, tracker, drift))


def _open_view(config: DeviceConfig) -> tuple[Board | None, str, tuple[str, ...], tuple[Callable[[], None], ...]]:
    """The local page, listening; or why it does not."""
    if not config.view.enabled:
        return None, "", (), ()
    from edge_runtime import __version__
    from edge_runtime.web.board import Board
    from edge_runtime.web.server import ViewServer

    board = Board(config.id, __version__)
    try:
        server = ViewServer(board, config.view.port, config.view.host)
    except Unavailable as fault:
        return None, "", (f"view: {fault}",), ()
    server.start()
    return board, server.url, (), (server.close,)


def _build_voice(config: DeviceConfig, roster: Roster, before: Daemon | None) -> tuple[Voice, tuple[Observer, ...]]:
    """Who speaks for the device, and the observers that feed it. A line that fits this configuration is gone on with."""
    from edge_runtime.daemon.voice import BrokerVoice, SilentVoice

    line = before.voice.line if before is not None and isinstance(before.voice, BrokerVoice) else None
    if config.mqtt is None:
        if line is not None:
            line.close()
        return SilentVoice(), ()
    from edge_runtime.daemon.broker import build_broker_voice, build_line
    from edge_runtime.daemon.line import purpose_of

    if line is not None and line.purpose != purpose_of(config):
        line.close()
        line = None
    voice = build_broker_voice(config, config.mqtt, roster, line or build_line(config, config.mqtt))
    return voice, (voice.telemetry,)
