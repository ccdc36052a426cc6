"""What the device says of itself: once a second to the broker and to systemd, to the status file when it matters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from edge_runtime.config import DeviceConfig, shown_url
from edge_runtime.daemon import health as account
from edge_runtime.daemon import status_file as file
from edge_runtime.daemon.candidacy import Candidacy
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.memory import save_drift
from edge_runtime.daemon.model_account import candidate_line, model_health, model_line, taken_back
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.voice import Voice
from edge_runtime.records import State
from edge_runtime.telemetry.builders import CameraHealth, Health

log = logging.getLogger(__name__)

HEALTH_S = 1.0
STATUS_S = 10.0
MEMORY_S = 900.0


class Bulletin:
    """Reads everybody, changes nobody. Owned by the inference loop, which calls `issue` on every turn."""

    def __init__(
        self,
        config: DeviceConfig,
        roster: Roster,
        deck: ModelDeck,
        candidacy: Candidacy,
        voice: Voice,
        notifier: Notifier,
        view_url: str,
        troubles: Callable[[], tuple[str, ...]],
        afar: Callable[[], file.AfarLine | None],
        clock: Callable[[], float],
    ) -> None:
        """`troubles`: what the daemon itself knows to be wrong; empty texts are passed over. `afar`: what may be done
        from afar, and what was."""
        self._config = config
        self._state_dir = config.storage.state_dir
        self._roster = roster
        self._deck = deck
        self._candidacy = candidacy
        self._voice = voice
        self._notifier = notifier
        self._view_url = view_url
        self._troubles = troubles
        self._afar = afar
        self._clock = clock
        self._began_s = self._memory_s = clock()
        self._started_at = time.time()
        self._health_s = self._status_s = float("-inf")
        self._health = Health("starting")
        self._disk_trouble = ""
        self._told_slots: list[tuple[State, ...]] = []
        self._last: file.StatusRecord | None = None

    def health(self) -> Health:
        """How the device is now."""
        cameras = {name: account.camera_health(station) for name, station in self._roster.stations.items()}
        cameras |= {name: CameraHealth("lost", fault) for name, fault in self._roster.broken.items()}
        reasons = [f"camera {name}: {c.reason}" for name, c in cameras.items() if c.state not in ("ok", "starting")]
        reasons += [*self._deck.troubles, self._disk_trouble, *self._troubles(), *self._voice.troubles()]
        told = tuple(reason for reason in reasons if reason)
        starting = any(camera.state == "starting" for camera in cameras.values())
        state = "degraded" if told else "starting" if starting else "ok"
        models = model_health(
            model_line(self._deck, self._candidacy), candidate_line(self._candidacy), taken_back(self._deck)
        )
        return Health(state, told, self._deck.id, cameras, models)

    @property
    def newest(self) -> Health:
        """As told last."""
        return self._health

    def hurry(self) -> None:
        """Something has just changed: the next `issue` does not wait for its second."""
        self._health_s = float("-inf")

    def issue(self) -> None:
        """Once a second look how things are; tell it on. The file follows changes at once, otherwise every STATUS_S."""
        now = self._clock()
        if now - self._health_s < HEALTH_S:
            return
        self._health_s = now
        before, self._health = self._health, self.health()
        changed = _gist(before) != _gist(self._health)
        if (before.state, before.reasons) != (self._health.state, self._health.reasons):
            log.info("%s%s", self._health.state, "".join(f"; {reason}" for reason in self._health.reasons))
            self._notifier.status("; ".join((self._health.state, *self._health.reasons)))
        self._voice.report_health(self._health)
        slots = [station.slot_states for station in self._roster.stations.values()]
        if changed or slots != self._told_slots or now - self._status_s >= STATUS_S:
            self._status_s, self._told_slots = now, slots
            self._write(self._record())
        if now - self._memory_s >= MEMORY_S:
            self._memory_s = now
            self.keep_memory()

    def farewell(self) -> None:
        """The last words, while cameras and broker are still there."""
        self._health = self.health()
        self._last = self._record("stopped")
        self._write(self._last)
        self.keep_memory()
        self._voice.report_health(replace(self._health, state="stopping"))

    def postscript(self) -> None:
        """After the broker has heard the last words: what became of them, in the status file."""
        if self._last is not None:
            self._write(msgspec.structs.replace(self._last, broker=self._voice.broker()))

    def _record(self, state: str = "") -> file.StatusRecord:
        broken = [
            file.CameraLine(name, shown_url(self._roster.config(name).source), "broken", fault)
            for name, fault in self._roster.broken.items()
        ]
        return account.status_record(
            self._config,
            replace(self._health, state=state or self._health.state),
            self._started_at,
            self._clock() - self._began_s,
            self._voice.broker(),
            self._view_url,
            (*(account.camera_line(station) for station in self._roster.stations.values()), *broken),
            model_line(self._deck, self._candidacy),
            candidate_line(self._candidacy),
            self._afar(),
        )

    def _write(self, record: file.StatusRecord) -> None:
        try:
            file.write_status(self._state_dir, record)
            self._disk_trouble = ""
        except OSError as fault:
            self._disk_trouble = f"storage: {self._state_dir} can not be written: {fault.strerror}"

    def keep_memory(self) -> None:
        """What drift has learned, on the disk."""
        model = self._deck.id.sha256 if self._deck.id else ""
        for name, station in self._roster.stations.items():
            try:
                save_drift(self._state_dir, name, station.parts.drift, model)
            except OSError as fault:
                log.warning("what drift learned about camera %s can not be kept: %s", name, fault.strerror)


def _gist(health: Health) -> tuple[object, ...]:
    """What the status file follows at once."""
    models = health.models
    return health.state, health.reasons, health.model, models.phase, models.candidate_version, models.candidate_phase
