"""The inference loop: newest frame of each camera, one step, and between two frames whatever wants to act.

Nothing here raises for a camera, a model, a broker or a disk: each is a reported, degraded state in which everything
else goes on. The watchdog is fed by what the loop concludes, so that a hanging step is noticed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

import cv2

from edge_runtime.config import DeviceConfig
from edge_runtime.daemon.bulletin import Bulletin
from edge_runtime.daemon.line_account import afar_line
from edge_runtime.daemon.overlay import Ticket
from edge_runtime.daemon.parts import DaemonParts, Orders
from edge_runtime.daemon.settings_trial import SettingsTrial
from edge_runtime.daemon.station import Station
from edge_runtime.daemon.status_file import AfarLine
from edge_runtime.errors import BadConfig, EdgeError, ModelFault
from edge_runtime.records import Event, Outcome
from edge_runtime.telemetry.builders import Health
from edge_runtime.telemetry.messages import Scalar

log = logging.getLogger(__name__)

WAIT_S = 0.05
PATIENCE_S = 20.0
"""On top of what a camera may be silent: a station that concluded nothing for longer is not fed to the watchdog."""


class Daemon:
    """One run of the device under one configuration."""

    def __init__(self, parts: DaemonParts, clock: Callable[[], float] = time.monotonic) -> None:
        self.parts = parts
        self.roster = parts.roster
        self.deck = parts.deck
        self.voice = parts.voice
        self._clock = clock
        self._began_s = clock()
        self._answered = False
        self._settings = SettingsTrial(parts.overlay, clock)
        self._config_trouble = ""
        self._rebuild = False
        self.restarting = False
        """Somebody wants another process in the place of this one."""
        self._bulletin = Bulletin(
            parts.config,
            parts.roster,
            parts.deck,
            parts.candidacy,
            parts.voice,
            parts.notifier,
            parts.view_url,
            self._troubles,
            self._afar,
            clock,
        )

    def run(self, orders: Orders) -> DeviceConfig | None:
        """Until told to stop (None) or to go on under another configuration (device.toml as it is then is returned)."""
        self.open()
        config: DeviceConfig | None = None
        try:
            while config is None and not orders.stopping.is_set():
                if orders.reloading.is_set():
                    orders.reloading.clear()
                    config = self._reread()
                elif self._settings.stale or self._rebuild:
                    config = self.written
                elif self.restarting:
                    break
                elif not self.turn():
                    orders.stopping.wait(WAIT_S)
            return config
        finally:
            self.close(going_on=config is not None)

    def ask_rebuild(self) -> None:
        """Something that a daemon is built from has changed: another one takes over after this turn."""
        self._rebuild = True

    def ask_restart(self, why: str) -> None:
        """End the process in order, and begin anew (`service.serve`)."""
        log.warning("restart: %s", why)
        self.restarting = True

    @property
    def uptime_s(self) -> float:
        """Of this daemon; a reload begins another."""
        return self._clock() - self._began_s

    @property
    def pid(self) -> int:
        return os.getpid()

    def keep_memory(self) -> None:
        """What drift knows is written down now."""
        self._bulletin.keep_memory()

    @property
    def written(self) -> DeviceConfig:
        """device.toml, without what was set from afar."""
        return self.parts.written or self.parts.config

    def turn(self) -> bool:
        """Once around: act on what waits, visit each camera, tell how it goes. True if there was a frame."""
        self.voice.attend(self)
        self._attend_models()
        self.roster.mend()
        stations = tuple(self.roster.stations.values())
        worked = [self._visit(station, WAIT_S if len(stations) == 1 else 0.0) for station in stations]
        self._bulletin.issue()
        if self.parts.meters is not None:
            self.parts.meters.attend(self)
        self._settings.attend(self.health)
        if all(station.idle_s < station.lost_s + PATIENCE_S for station in stations):
            self.parts.notifier.progress()
        return any(worked)

    def _attend_models(self) -> None:
        self.parts.errands.look()
        wished = self.parts.convergence
        if wished is not None:
            wished.attend(self)
        if self.parts.updates is not None and not (wished is not None and wished.names_model):
            self.parts.updates.attend()
        self.parts.candidacy.attend(tuple(self.roster.stations.values()), self.report)

    def change_model(self, change: Callable[[Sequence[Station]], object], reason: str) -> None:
        """Run `change` (a method of the deck that takes a model out) between two frames and tell what came of it."""
        candidate, before = self.deck.store.candidate, self.deck.id
        change(tuple(self.roster.stations.values()))
        now, out = self.deck.id, before
        detail: dict[str, str | float] = {"reason": reason, "name": now.name if now else "none", "phase": "rolled_back"}
        if candidate is not None and self.deck.store.candidate is None:
            out = candidate.id
            detail["candidate"] = candidate.version
        if out is not None:
            detail["sha256"] = out.sha256[:12]
        self.report("model", before.version if before else "none", now.version if now else "none", detail)
        self.parts.candidacy.fell_back()

    def change_settings(self, changes: Mapping[str, Scalar], why: str) -> Ticket:
        """Put settings on trial; the daemon is built anew under them after this turn. Raises what `Overlay.propose` does."""
        return self.parts.overlay.propose(changes, self.written, why, self.health().reasons)

    def report(self, kind: str, was: str, now: str, detail: dict[str, str | float], camera: str = "") -> None:
        """Tell an event of the device itself."""
        log.info("%s: %s -> %s (%s)", kind, was or "-", now, ", ".join(f"{key} {detail[key]}" for key in detail))
        at = time.time()
        text = "\x1f".join((kind, camera, f"{at:.6f}", was, now))
        name = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        self.voice.report_event(Event(name, kind, camera, at, "", was, now, 1.0, detail))

    def open(self) -> None:
        cv2.setNumThreads(1)
        self.deck.open()
        self.parts.candidacy.meet()
        if self.deck.trouble:
            self.report("model", "", self.deck.id.version if self.deck.id else "none", {"reason": self.deck.trouble})
        self.roster.mend()
        self.voice.start()
        self.parts.notifier.ready("starting")
        self._bulletin.issue()

    def health(self) -> Health:
        """How the device is now."""
        return self._bulletin.health()

    @property
    def newest_health(self) -> Health:
        """As told last, at most a second ago."""
        return self._bulletin.newest

    def _troubles(self) -> tuple[str, ...]:
        updates = self.parts.updates.trouble if self.parts.updates is not None else ""
        desired = self.parts.convergence.trouble if self.parts.convergence is not None else ""
        return (self._config_trouble, *self.parts.troubles, self.parts.overlay.trouble, updates, desired)

    def _afar(self) -> AfarLine | None:
        parts = self.parts
        account = parts.convergence.account() if parts.convergence is not None else None
        return afar_line(parts.config.mqtt, parts.overlay, account)

    def _visit(self, station: Station, timeout_s: float) -> bool:
        try:
            outcome = station.visit(timeout_s)
        except ModelFault as fault:
            self._give_up(fault.found)
            return True
        except (EdgeError, cv2.error) as fault:
            if not station.fault:
                log.warning("camera %s: frames are left out: %s", station.name, fault)
            outcome = station.leave_out(fault)
            if outcome is not None:
                self._note(station, outcome)
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
        verdict = self.parts.candidacy.observe(station, outcome)
        if verdict.fall_back:
            self._give_up(verdict.reason)
        if not self._answered:
            self._answered = True
            log.info("first result %.2f s after the start of this run", self._clock() - self._began_s)
            self._bulletin.hurry()

    def _give_up(self, reason: str) -> None:
        """The model that runs is at fault: another one, between this frame and the next."""
        self.change_model(lambda stations: self.deck.fall_back(reason, stations), reason)

    def _reread(self) -> DeviceConfig | None:
        self.parts.notifier.reloading()
        try:
            return self.parts.reload()
        except BadConfig as fault:
            self._config_trouble = f"configuration not taken over: {'; '.join(fault.faults)}"
            log.warning("the old configuration stays: %s", fault)
            self.parts.notifier.ready("the old configuration stays")
            self._bulletin.hurry()
            return None

    def close(self, going_on: bool = False) -> None:
        """Within a bounded time: cameras, then the last words, then what carries them.

        `going_on`: another daemon of this process takes over, which inherits the errand that runs and the line to the
        broker, or ends them (`compose.build_daemon`).
        """
        self._bulletin.farewell()
        if not going_on:
            self.parts.errands.stop()
        self.roster.close()
        for close in self.parts.closers:
            close()
        self.deck.close()
        self.voice.close(going_on)
        self._bulletin.postscript()
