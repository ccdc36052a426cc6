"""The parts of a daemon, each with everything real behind it. `compose.build_daemon` puts them together.

What ran before a reload is gone on with where it still fits: the line to the broker, an errand, the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.assets import factory_bundles
from edge_runtime.camera.live import LiveCamera
from edge_runtime.config import CameraConfig, DeviceConfig, Environment, authorized_source
from edge_runtime.daemon.candidacy import Candidacy
from edge_runtime.daemon.convergence import Convergence
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.errand import Errand, place_of
from edge_runtime.daemon.errand_runner import ErrandRunner
from edge_runtime.daemon.memory import restore_drift
from edge_runtime.daemon.meters import Meters
from edge_runtime.daemon.models import LoadedModel, build_parts, thresholds_of
from edge_runtime.daemon.mountings import Mounting
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.overlay import Overlay
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.sentry import Sentry
from edge_runtime.daemon.station import Station, StationParts
from edge_runtime.daemon.status_file import remembered_slots
from edge_runtime.daemon.terms import Terms, read_terms
from edge_runtime.daemon.updates import AutoUpdate
from edge_runtime.daemon.voice import BrokerVoice, SilentVoice, Voice
from edge_runtime.daemon.wishes import Reporter, attach, build_convergence
from edge_runtime.drift.monitor import DriftMonitor
from edge_runtime.errors import Unavailable
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.normalize.reference import open_reference
from edge_runtime.pipeline import Observer, Pipeline
from edge_runtime.shelf.states import ShelfTracker

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.web.board import Board


def open_overlay(config: DeviceConfig, before: Daemon | None) -> Overlay:
    """What was set from afar; that of the process, unless the state lies elsewhere now."""
    if before is not None and before.parts.config.storage.state_dir == config.storage.state_dir:
        return before.parts.overlay
    return Overlay(config.storage.state_dir)


def open_errands(config: DeviceConfig, before: Daemon | None) -> ErrandRunner:
    """What is under way goes on over a reload, unless it was begun for another store or another repository."""
    if before is None:
        return ErrandRunner()
    if (before.parts.config.storage, _trust(before.parts.config)) == (config.storage, _trust(config)):
        return before.parts.errands
    before.parts.errands.stop()
    return ErrandRunner()


def _trust(config: DeviceConfig) -> tuple[object, ...]:
    return config.model.name, config.model.repository, config.model.root


def open_models(config: DeviceConfig, development: bool, before: Daemon | None) -> tuple[ModelDeck, Candidacy]:
    """The device's store, with the factory bundles of the model that the configuration names, and what watches it."""
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


def open_updates(config: DeviceConfig, errands: ErrandRunner, development: bool) -> AutoUpdate | None:
    """What looks for newer releases, where device.toml asks for that."""
    if not config.model.auto_update:
        return None
    errand = Errand(place_of(config, development), "update", why="a newer release")
    return AutoUpdate(errands, errand, config.model.update_interval_s)


def open_convergence(
    config: DeviceConfig,
    voice: Voice,
    overlay: Overlay,
    errands: ErrandRunner,
    development: bool,
    before: Daemon | None,
) -> Convergence | None:
    """What follows the desired state: that of the line, or where there is no broker one that goes on with what was kept."""
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


def open_station(
    config: DeviceConfig,
    camera: CameraConfig,
    loaded: LoadedModel | None,
    board: Board | None,
    observers: Sequence[Observer],
) -> Station:
    """One camera with all that stands behind it. Raises what its layout and its reference raise."""
    layout = read_layout(Mounting(config.storage.state_dir, camera.name, camera.layout).in_force())
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


def open_view(config: DeviceConfig) -> tuple[Board | None, str, tuple[str, ...], tuple[Callable[[], None], ...]]:
    """The local page, listening; or why it does not."""
    if not config.view.enabled:
        return None, "", (), ()
    from edge_runtime.web.board import Board
    from edge_runtime.web.server import ViewServer

    board = Board(config.id, __version__)
    try:
        server = ViewServer(board, config.view.port, config.view.host)
    except Unavailable as fault:
        return None, "", (f"view: {fault}",), ()
    server.start()
    return board, server.url, (), (server.close,)


def open_meters(board: Board | None) -> Meters | None:
    """Who reads the figures for the page's `/metrics`; nobody without the page."""
    return Meters(board) if board is not None else None


def open_notifier(environment: Environment) -> Notifier:
    """The way to the service manager, silent without one."""
    return Notifier(environment.notify_socket, environment.watchdog_s)


def build_voice(config: DeviceConfig, roster: Roster, before: Daemon | None) -> tuple[Voice, tuple[Observer, ...]]:
    """Who speaks for the device, and the observers that feed it. A line that fits this configuration is gone on with."""
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
    events = voice.line.events
    return voice, (voice.telemetry, events) if events is not None else (voice.telemetry,)
