"""Where commands are carried out: between two frames, on the loop. What takes longer is an errand, or another thread's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.daemon.instruments import Instruments, Sections, diagnose, essentials
from edge_runtime.daemon.labels import RecentEvents, state_of
from edge_runtime.daemon.overlay import Ticket
from edge_runtime.daemon.photographer import Photographer, Shot
from edge_runtime.daemon.recommission import Recommission, Undo
from edge_runtime.daemon.restarts import RestartLimit
from edge_runtime.daemon.voice import BrokerVoice
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.command_queue import CommandCounts, CommandQueue, Handler, Later
from edge_runtime.records import ANSWERS, State
from edge_runtime.telemetry.messages import Scalar

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station
    from edge_runtime.lifecycle.guard import Verdict


class Desk:
    """What the handlers of `fleet` ask of this device, and the queue that calls them.

    It serves one daemon after the other: what it needs of the configuration it asks of the one that attends.
    """

    def __init__(
        self,
        make_queue: Callable[[Desk], CommandQueue],
        state_dir: Path,
        photographer: Photographer | None = None,
    ) -> None:
        self._daemon: Daemon | None = None
        self._restarts = RestartLimit(state_dir)
        self._photographer = photographer or Photographer()
        self._instruments = Instruments()
        self._mounting: Recommission | None = None
        self.events = RecentEvents()
        self.queue = make_queue(self)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what is kept of commands."""
        return self.queue.problems

    def attend(self, daemon: Daemon) -> None:
        """Carry out what waits."""
        self._daemon = daemon
        if isinstance(daemon.voice, BrokerVoice):
            self._instruments.attend(daemon.voice.telemetry, daemon.parts.config.log_level)
        if self._mounting is not None and self._mounting.attend(daemon):
            self._mounting = None
        self.queue.drain()

    def counts(self) -> CommandCounts:
        """What became of the commands that arrived."""
        return self.queue.counts()

    def close(self) -> None:
        """The device ends or is set up anew: whoever waits is told."""
        self.queue.abandon("the device stopped or was reconfigured; ask again")

    def running(self) -> Daemon:
        """The daemon that there is. Raises TryAgain while there is none."""
        if self._daemon is None:
            raise TryAgain("the device is starting", "Ask again in a moment")
        return self._daemon

    # fleet.handlers

    def snapshot(self, camera: str) -> Shot:
        """What device.toml allows of the newest picture of a camera."""
        mqtt = self.running().parts.config.mqtt
        return self._photographer.shoot(self._station(camera), mqtt.snapshots if mqtt is not None else "off")

    def feedback(self, camera: str, slot: str, state: State) -> State:
        """A label for the guard. Raises Refused for a slot that is not there, or that the model does not answer now."""
        daemon, station = self.running(), self._station(camera)
        outcome = station.outcome if station.age_s <= station.lost_s else None
        reading = next((r for r in outcome.readings if r.slot == slot), None) if outcome is not None else None
        if outcome is None or reading is None or reading.state not in ANSWERS:
            raise Refused(
                f"camera {camera!r}, slot {slot!r} has no answer now", "Ask for one that is not unknown or blocked"
            )
        self._heed(daemon.parts.candidacy.feedback(camera, slot, reading.state, state))
        return reading.state

    def label(self, event: str, right: bool) -> Mapping[str, Scalar]:
        """Whether an event of the last ones was right, for telemetry, and for the guard if the model still runs."""
        daemon = self.running()
        found, first = self.events.label(event, right)
        counted = first and found.model == daemon.deck.id
        if counted:
            self._heed(daemon.parts.candidacy.label(found.event.camera, found.event.slot, right))
        said = state_of(found.event)
        place: dict[str, Scalar] = {"camera": found.event.camera, "slot": found.event.slot, "said": said.value}
        return place | {"right": right, "counted": counted}

    def _heed(self, verdict: Verdict) -> None:
        if verdict.fall_back:
            daemon, reason = self.running(), verdict.reason
            daemon.change_model(lambda stations: daemon.deck.fall_back(reason, stations), reason)

    # fleet.device_handlers

    def change_settings(self, changes: Mapping[str, Scalar], why: str) -> Ticket:
        """Settings on trial; see `overlay`."""
        return self.running().change_settings(changes, why)

    def settings(self) -> Mapping[str, Scalar]:
        return self.running().parts.overlay.in_force

    def recommission(self, name: str, undo: bool, why: str) -> Later:
        """A new reference picture, or the one before. Raises TryAgain while another camera's is taken."""
        daemon, station = self.running(), self._station(name)
        if undo:
            return Undo(daemon, station, why)
        if self._mounting is not None:
            raise TryAgain("another reference picture is being taken", "Ask again in a minute")
        self._mounting = Recommission(daemon.parts.config.storage.state_dir, station, why)
        return self._mounting

    def rebaseline(self, name: str) -> None:
        """Drift of a camera learns anew, from the next frame on."""
        station = self._station(name)
        station.parts.drift.reset()
        self.running().keep_memory()

    def report_faster(self, interval_s: float, for_s: float) -> None:
        self._instruments.report_faster(interval_s, for_s)

    def log_finer(self, level: str, for_s: float) -> None:
        self._instruments.log_finer(level, for_s)

    def essentials(self) -> Mapping[str, Scalar]:
        """The status once more to everybody, and the most important of it."""
        daemon = self.running()
        if isinstance(daemon.voice, BrokerVoice):
            daemon.voice.telemetry.repeat_status()
        return essentials(daemon)

    def diagnose(self) -> tuple[Sections, tuple[str, ...]]:
        daemon = self.running()
        sections, warnings = diagnose(daemon, self._instruments.in_force())
        counts = self.queue.counts()
        sections["commands"] = {
            "taken": counts.taken,
            "repeated": counts.repeated,
            "limited": counts.limited,
            **{f"refused_{reason}": number for reason, number in counts.refused.items()},
        }
        return sections, warnings

    def restart(self, command: Command) -> Later:
        """This process ends in order, the next one answers (`conclusions`)."""
        daemon = self.running()
        self._restarts.pass_one()
        daemon.ask_restart(f"command {command.id}")
        return _NextProcess()

    def conclusions(self) -> dict[str, Handler]:
        """Verbs that are answered by the next process, each with what it says."""

        def settings(command: Command) -> Mapping[str, Scalar] | Later:
            return self.running().parts.overlay.conclude(f"command {command.id}")

        def restarted(command: Command) -> Mapping[str, Scalar]:
            return {"pid": self.running().pid, "uptime_s": round(self.running().uptime_s, 1)}

        return {"config.set": settings, "config.reset": settings, "restart": restarted}

    def _station(self, camera: str) -> Station:
        stations = self.running().roster.stations
        if camera not in stations:
            raise Refused(f"there is no camera {camera!r}; {', '.join(stations) or 'none'} would be")
        return stations[camera]


class _NextProcess:
    """What this process does not live to see."""

    def outcome(self) -> Mapping[str, Scalar] | None:
        return None
