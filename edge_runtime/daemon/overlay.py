"""What was set from afar, over device.toml: `<state>/overrides.json`, with a mark while it is on trial.

New settings are written with the mark before they are applied. They lose it once the daemon is healthy under them
(`settings_trial`); a process that finds the mark at its start knows that the last one ended under them, for whatever
reason, and takes them back before it applies anything. Nothing that is set from afar can so keep a device down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.config import DeviceConfig, apply_overrides
from edge_runtime.config.overrides import fitting
from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.telemetry.durable import replace_durably
from edge_runtime.telemetry.messages import Scalar

log = logging.getLogger(__name__)

FILE = "overrides.json"
MAX_BYTES = 65_536


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New settings that must prove themselves."""

    overrides: dict[str, Scalar]
    """All that are in force during the trial, not only the new ones."""
    why: str
    """Who wanted them."""
    reasons: tuple[str, ...] = ()
    """What was wrong with the device before."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["edge-overrides/1"]
    overrides: dict[str, Scalar]
    trial: Trial | None = None
    proved: str = ""
    """Who wanted the last settings that proved themselves."""


class Ticket:
    """What becomes of one proposal (`fleet.command_queue.Later`); it outlives a reload."""

    def __init__(self) -> None:
        self._result: dict[str, Scalar] | None = None
        self._fault: EdgeError | None = None

    def outcome(self) -> Mapping[str, Scalar] | None:
        """None during the trial, then what is in force. Raises TryAgain if the settings were taken back."""
        if self._fault is not None:
            raise self._fault
        return self._result

    def settle(self, result: dict[str, Scalar]) -> None:
        self._result = result

    def fail(self, fault: EdgeError) -> None:
        self._fault = fault


class Overlay:
    """Owned by the inference loop; one for the life of a process, however often it is reconfigured."""

    def __init__(self, state_dir: Path | None = None) -> None:
        """Without a folder it lasts as long as the process."""
        self._path = state_dir / FILE if state_dir is not None else None
        record, self.trouble = _read(self._path) if self._path is not None else (None, "")
        """`trouble`: why something that was set is not in force."""
        self._proven: dict[str, Scalar] = dict(record.overrides) if record is not None else {}
        self.trial: Trial | None = None
        self.generation = 0
        """Counts the changes of what is in force: a daemon built under another number is to be built anew."""
        self._ticket = Ticket()
        self._proved = record.proved if record is not None else ""
        if record is not None and record.trial is not None:
            self._found_unproven(record.trial)

    @property
    def in_force(self) -> Mapping[str, Scalar]:
        """Dotted key -> value."""
        return self.trial.overrides if self.trial is not None else self._proven

    def over(self, written: DeviceConfig) -> tuple[DeviceConfig, tuple[str, ...]]:
        """device.toml with these settings over it, and why some are left out (the file was edited)."""
        config, troubles = fitting(written, self.in_force)
        return config, tuple(f"settings: {trouble}; it is left out" for trouble in troubles)

    def propose(
        self, changes: Mapping[str, Scalar], written: DeviceConfig, why: str, reasons: tuple[str, ...] = ()
    ) -> Ticket:
        """Put changes on trial (None takes a key back to what device.toml says); they are on the disk when this returns.

        Raises Refused for what may not be set, TryAgain while others are on trial or if the disk fails.
        """
        if self.trial is not None:
            raise TryAgain("other settings are on trial", "Ask again in a minute")
        if not changes:
            raise Refused("no setting is named", "Name at least one key and its value")
        wanted = {**self._proven, **changes}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        apply_overrides(written, wanted)
        ticket = Ticket()
        if wanted == self._proven:
            ticket.settle(dict(wanted))
            return ticket
        trial = Trial(wanted, why, reasons)
        try:
            self._write(trial)
        except OSError as fault:
            raise TryAgain(f"the settings can not be kept: {fault.strerror}", "Free the disk of the device") from None
        self.trial, self._ticket, self.trouble = trial, ticket, ""
        self.generation += 1
        log.info("settings on trial (%s): %s", why, ", ".join(f"{key} = {value}" for key, value in changes.items()))
        return ticket

    def conclude(self, why: str) -> dict[str, Scalar] | Ticket:
        """What became of a proposal of before. Raises TryAgain if its settings are not in force."""
        if self.trial is not None and self.trial.why == why:
            return self._ticket
        if self._proved != why:
            raise TryAgain(self.trouble or "the device stopped before the settings had proved themselves", "Ask again")
        return dict(self._proven)

    def prove(self) -> None:
        """The device is well under the new settings: they stay."""
        if self.trial is None:
            return
        trial, before = self.trial, (self._proven, self._proved)
        self._proven, self._proved = dict(trial.overrides), trial.why
        try:
            self._write(None)
        except OSError as fault:
            self._proven, self._proved = before
            self.take_back(f"they can not be kept: {fault.strerror}")
            return
        self.trial = None
        log.info("settings proved themselves (%s)", trial.why)
        self._ticket.settle(dict(self._proven))

    def take_back(self, reason: str) -> None:
        """The settings before them hold again, from the next reload on, which `generation` asks for."""
        if self.trial is None:
            return
        self.trial = None
        self.generation += 1
        log.warning("settings taken back: %s", reason)
        self._ticket.fail(TryAgain(f"the settings were taken back: {reason}"))
        try:
            self._write(None)
        except OSError as fault:  # the mark stays on the disk: the next start takes them back once more
            self.trouble = f"settings: {self._path} can not be written: {fault.strerror}"

    def _found_unproven(self, trial: Trial) -> None:
        new = {key: value for key, value in trial.overrides.items() if self._proven.get(key) != value}
        names = ", ".join(f"{key} = {value}" for key, value in new.items()) or "some taken away"
        self.trouble = f"settings ({names}) were taken back: the daemon ended while they were on trial"
        log.warning("%s", self.trouble)
        try:
            self._write(None)
        except OSError as fault:
            log.warning("%s can not be written: %s", self._path, fault.strerror)

    def _write(self, trial: Trial | None) -> None:
        if self._path is not None:
            replace_durably(
                self._path, msgspec.json.encode(_Record("edge-overrides/1", self._proven, trial, self._proved))
            )


def _read(path: Path) -> tuple[_Record | None, str]:
    """What was set, and why that is not known: then device.toml alone holds, which may show more of a store, and say so."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_BYTES), type=_Record), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        log.warning("%s can not be read (%s); device.toml alone holds", path, fault)
        return None, f"settings: {path} can not be read, device.toml alone holds; set them again (config.set)"
