"""The inference loop: newest frame of each camera, one step, and between two frames whatever wants to act.

Nothing here raises for a camera, a model, a broker or a disk: each is a reported, degraded state in which everything
else goes on. The watchdog is fed by what the loop concludes, so that a hanging step is noticed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import msgspec

from edge_runtime.config import DeviceConfig, shown_url
from edge_runtime.daemon import health as account
from edge_runtime.daemon.memory import save_drift
from edge_runtime.daemon.models import ModelDeck
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.station import Station
from edge_runtime.errors import BadConfig, EdgeError, ModelFault
from edge_runtime.records import Event, Outcome, State
from edge_runtime.telemetry.builders import CameraHealth, Health

log = logging.getLogger(__name__)

HEALTH_S = 1.0
STATUS_S = 10.0
MEMORY_S = 900.0
WAIT_S = 0.05
PATIENCE_S = 20.0
"""On top of what a camera may be silent: a station that concluded nothing for longer is not fed to the watchdog."""


class Orders:
    """What people and signals want of the loop. Setting one is safe from any thread and any signal handler."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.reloading = threading.Event()

    def stop(self) -> None:
        self.stopping.set()

    def reload(self) -> None:
        self.reloading.set()


class Voice(Protocol):
    """Who speaks for the device (`fleet` and `telemetry` behind it, or nobody)."""

    def start(self) -> None: ...
    def attend(self, daemon: Daemon) -> None:
        """Between two frames: carry out commands that wait."""
        ...

    def report_health(self, health: Health) -> None: ...
    def report_event(self, event: Event) -> None: ...
    def broker(self) -> account.BrokerLine: ...
    def troubles(self) -> tuple[str, ...]: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class DaemonParts:
    """What a daemon is made of; `compose.build_daemon` makes it."""

    config: DeviceConfig
    roster: Roster
    deck: ModelDeck
    voice: Voice
    notifier: Notifier
    reload: Callable[[], DeviceConfig]
    """Reads the configuration again. Raises BadConfig."""
    view_url: str = ""
    troubles: tuple[str, ...] = ()
    """What could not be set up (a busy port), for as long as this daemon runs."""
    closers: Sequence[Callable[[], None]] = field(default_factory=tuple)


class Daemon:
    """One run of the device under one configuration."""

    def __init__(self, parts: DaemonParts, clock: Callable[[], float] = time.monotonic) -> None:
        self.parts = parts
        self.roster = parts.roster
        self.deck = parts.deck
        self.voice = parts.voice
        self._clock = clock
        self._began_s = clock()
        self._started_at = time.time()
        self._health_s = self._status_s = float("-inf")
        self._memory_s = clock()
        self._health = Health("starting")
        self._config_trouble = self._disk_trouble = ""
        self._told_slots: list[tuple[State, ...]] = []
        self._answered = False

    def run(self, orders: Orders) -> DeviceConfig | None:
        """Until told to stop (None) or to go on under another configuration (which is returned)."""
        self.open()
        try:
            while not orders.stopping.is_set():
                if orders.reloading.is_set():
                    orders.reloading.clear()
                    config = self._reread()
                    if config is not None:
                        return config
                if not self.turn():
                    orders.stopping.wait(WAIT_S)
            return None
        finally:
            self.close()

    def turn(self) -> bool:
        """Once around: act on what waits, visit each camera, tell how it goes. True if there was a frame."""
        self.voice.attend(self)
        self.roster.mend()
        stations = tuple(self.roster.stations.values())
        worked = [self._visit(station, WAIT_S if len(stations) == 1 else 0.0) for station in stations]
        self._account()
        if all(station.idle_s < station.lost_s + PATIENCE_S for station in stations):
            self.parts.notifier.progress()
        return any(worked)

    def change_model(self, change: Callable[[Sequence[Station]], object], reason: str) -> None:
        """Run `change` (a method of the deck) between two frames and tell what came of it."""
        was = str(self.deck.id.version) if self.deck.id else "none"
        change(tuple(self.roster.stations.values()))
        now = str(self.deck.id.version) if self.deck.id else "none"
        self.report("model", was, now, {"reason": reason, "name": self.deck.id.name if self.deck.id else "none"})

    def report(self, kind: str, was: str, now: str, detail: dict[str, str | float], camera: str = "") -> None:
        """Tell an event of the device itself."""
        at = time.time()
        text = "\x1f".join((kind, camera, f"{at:.6f}", was, now))
        name = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        self.voice.report_event(Event(name, kind, camera, at, "", was, now, 1.0, detail))

    def health(self) -> Health:
        """How the device is now."""
        cameras = {name: account.camera_health(station) for name, station in self.roster.stations.items()}
        cameras |= {name: CameraHealth("lost", fault) for name, fault in self.roster.broken.items()}
        reasons = [f"camera {name}: {c.reason}" for name, c in cameras.items() if c.state not in ("ok", "starting")]
        reasons += [*self.deck.troubles, self._config_trouble, self._disk_trouble]
        reasons += [*self.parts.troubles, *self.voice.troubles()]
        told = tuple(reason for reason in reasons if reason)
        starting = any(camera.state == "starting" for camera in cameras.values())
        return Health("degraded" if told else "starting" if starting else "ok", told, self.deck.id, cameras)

    def open(self) -> None:
        cv2.setNumThreads(1)
        self.deck.open()
        if self.deck.trouble:
            self.report("model", "", self.deck.id.version if self.deck.id else "none", {"reason": self.deck.trouble})
        self.roster.mend()
        self.voice.start()
        self.parts.notifier.ready("starting")
        self._account()

    def _visit(self, station: Station, timeout_s: float) -> bool:
        try:
            outcome = station.visit(timeout_s)
        except ModelFault as fault:
            found = fault.found
            self.change_model(lambda stations: self.deck.fall_back(found, stations), found)
            return True
        except (EdgeError, cv2.error) as fault:
            log.warning("camera %s: a frame was left out: %s", station.name, fault)
            return True
        if outcome is not None:
            self._note(station, outcome)
        return outcome is not None

    def _note(self, station: Station, outcome: Outcome) -> None:
        drifted = station.parts.drift.changed()
        if drifted is not None:
            self.voice.report_event(drifted.event())
        if outcome.scores is not None:
            self.deck.note_good_frame()
        if not self._answered:
            self._answered = True
            log.info("first result %.2f s after the start of this run", self._clock() - self._began_s)
            self._health_s = float("-inf")

    def _account(self) -> None:
        """Once a second look how things are; tell it on. The file follows changes at once, otherwise every STATUS_S."""
        now = self._clock()
        if now - self._health_s < HEALTH_S:
            return
        self._health_s = now
        before, self._health = self._health, self.health()
        changed = (before.state, before.reasons) != (self._health.state, self._health.reasons)
        if changed:
            log.info("%s%s", self._health.state, "".join(f"; {reason}" for reason in self._health.reasons))
            self.parts.notifier.status("; ".join((self._health.state, *self._health.reasons)))
        self.voice.report_health(self._health)
        slots = [station.slot_states for station in self.roster.stations.values()]
        if changed or slots != self._told_slots or now - self._status_s >= STATUS_S:
            self._status_s, self._told_slots = now, slots
            self._write_status(self.status())
        if now - self._memory_s >= MEMORY_S:
            self._memory_s = now
            self._keep_memory()

    def _keep_memory(self) -> None:
        model = self.deck.id.sha256 if self.deck.id else ""
        for name, station in self.roster.stations.items():
            try:
                save_drift(self.parts.config.storage.state_dir, name, station.parts.drift, model)
            except OSError as fault:
                log.warning("what drift learned about camera %s can not be kept: %s", name, fault.strerror)

    def _write_status(self, record: account.StatusRecord) -> None:
        try:
            account.write_status(self.parts.config.storage.state_dir, record)
            self._disk_trouble = ""
        except OSError as fault:
            self._disk_trouble = f"storage: {self.parts.config.storage.state_dir} can not be written: {fault.strerror}"

    def status(self, state: str = "") -> account.StatusRecord:
        """The whole account, as it is written to the status file."""
        broken = [
            account.CameraLine(name, shown_url(self.roster.config(name).source), "broken", fault)
            for name, fault in self.roster.broken.items()
        ]
        return account.status_record(
            self.parts.config,
            replace(self._health, state=state or self._health.state),
            self._started_at,
            self._clock() - self._began_s,
            self.voice.broker(),
            self.parts.view_url,
            (*(account.camera_line(station) for station in self.roster.stations.values()), *broken),
        )

    def _reread(self) -> DeviceConfig | None:
        self.parts.notifier.reloading()
        try:
            return self.parts.reload()
        except BadConfig as fault:
            self._config_trouble = f"configuration not taken over: {'; '.join(fault.faults)}"
            log.warning("the old configuration stays: %s", fault)
            self.parts.notifier.ready("the old configuration stays")
            self._health_s = float("-inf")
            return None

    def close(self) -> None:
        """Within a bounded time: cameras, then the last words, then what carries them."""
        self._health = self.health()
        last = self.status("stopped")
        self._write_status(last)
        self._keep_memory()
        self.voice.report_health(Health("stopping", self._health.reasons, self.deck.id, self._health.cameras))
        self.roster.close()
        for close in self.parts.closers:
            close()
        self.deck.close()
        self.voice.close()
        self._write_status(msgspec.structs.replace(last, broker=self.voice.broker()))
