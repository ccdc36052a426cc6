"""The verbs about the device itself: its settings, its cameras, its reports, its process.

What they may change is bounded: settings by the short list of `config.overrides`, a camera's reference by what the old
one recognises, reports and logs by an end that comes by itself, the process by a rate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from edge_runtime.config.overrides import LOG_LEVELS
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.arguments import camera, choice, flag, number, only, why
from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.command_queue import Handler, Later
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Diagnostics, Scalar, encode
from edge_runtime.telemetry.publisher import Delivery, Publisher

LONGEST_RATE_S = 3_600.0
LONGEST_LOG_S = 86_400.0
MOST_CHANGES = 16


class SettingsDesk(Protocol):
    """The device's settings, as far as they can be set from afar."""

    def change_settings(self, changes: Mapping[str, Scalar], why: str) -> Later:
        """Put them in force, on trial; None takes a key back to what device.toml says. Raises errors.Refused for what
        may not be set, errors.TryAgain while others are on trial."""
        ...

    def settings(self) -> Mapping[str, Scalar]:
        """What is set from afar now."""
        ...


class CameraDesk(Protocol):
    """What can be done for a mounted camera from afar."""

    def recommission(self, name: str, undo: bool, why: str) -> Later:
        """Take a new reference picture, or go back to the one before. Raises errors.Refused for a camera that is not
        there."""
        ...

    def rebaseline(self, name: str) -> None:
        """Drift learns anew. Raises errors.Refused for a camera that is not there."""
        ...


class Instruments(Protocol):
    """How the device reports, and its process."""

    def report_faster(self, interval_s: float, for_s: float) -> None: ...
    def log_finer(self, level: str, for_s: float) -> None: ...
    def essentials(self) -> Mapping[str, Scalar]:
        """Say the status again, to everybody; the most important of it."""
        ...

    def diagnose(self) -> tuple[Mapping[str, Mapping[str, Scalar]], tuple[str, ...]]:
        """Sections of findings, and the last warnings of the log."""
        ...

    def restart(self, command: Command) -> Later:
        """End this process in order; the next one says that it is up. Raises errors.Refused if that was asked for too
        often."""
        ...


def device_handlers(
    stamp: Stamp, publisher: Publisher, settings: SettingsDesk, cameras: CameraDesk, instruments: Instruments
) -> dict[str, Handler]:
    """Verb -> handler."""
    return {
        "status": _status(instruments),
        "config.set": _config_set(settings),
        "config.reset": _config_reset(settings),
        "camera.recommission": _recommission(cameras),
        "drift.rebaseline": _rebaseline(cameras),
        "telemetry.rate": _rate(instruments),
        "log.level": _log_level(instruments),
        "diagnostics": _diagnostics(stamp, publisher, instruments),
        "restart": _restart(instruments),
    }


def _status(instruments: Instruments) -> Handler:
    """No args. The retained status is said again; the result has what matters most of it."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ())
        return instruments.essentials()

    return answer


def _config_set(settings: SettingsDesk) -> Handler:
    """args: `key` and `value`, or any number of dotted keys and their values."""

    def answer(command: Command) -> Later:
        args = dict(command.args)
        if "key" in args or "value" in args:
            only(command, ("key", "value"))
            key = args.get("key")
            if not isinstance(key, str) or "value" not in args:
                raise Refused("args must be key and value, or dotted keys with their values")
            args = {key: args["value"]}
        if not 1 <= len(args) <= MOST_CHANGES:
            raise Refused(f"args has {len(args)} settings, 1 to {MOST_CHANGES} were expected")
        if none := [key for key, value in args.items() if value is None]:
            raise Refused(f"{none[0]!r:.80} has no value", "config.reset takes a setting back")
        return settings.change_settings(args, f"command {command.id}")

    return answer


def _config_reset(settings: SettingsDesk) -> Handler:
    """args: `key`, optional: which setting goes back to what device.toml says; without it all do."""

    def answer(command: Command) -> Later | Mapping[str, Scalar]:
        only(command, ("key",))
        now = settings.settings()
        key = command.args.get("key")
        if key is not None and key not in now:
            known = ", ".join(sorted(now)) or "nothing"
            raise Refused(f"args.key is {key!r:.80}, which is not set from afar; {known} is")
        if not now:
            return {}
        changes: dict[str, Scalar] = dict.fromkeys((str(key),) if key is not None else now)
        return settings.change_settings(changes, f"command {command.id}")

    return answer


def _recommission(cameras: CameraDesk) -> Handler:
    """args: `camera`; `undo` (true: back to the reference before), `why`, optional."""

    def answer(command: Command) -> Later:
        only(command, ("camera", "undo", "why"))
        return cameras.recommission(camera(command), flag(command, "undo"), why(command))

    return answer


def _rebaseline(cameras: CameraDesk) -> Handler:
    """args: `camera`."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("camera",))
        name = camera(command)
        cameras.rebaseline(name)
        return {"camera": name}

    return answer


def _rate(instruments: Instruments) -> Handler:
    """args: `interval_s` (1 to 3600) and `for_s` (at most an hour; 0 ends it now)."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("interval_s", "for_s"))
        interval_s = number(command, "interval_s", 1.0, 3_600.0)
        for_s = number(command, "for_s", 0.0, LONGEST_RATE_S)
        instruments.report_faster(interval_s, for_s)
        return {"interval_s": interval_s, "for_s": for_s}

    return answer


def _log_level(instruments: Instruments) -> Handler:
    """args: `level` (debug, info, warning, error) and `for_s` (at most a day; 0 ends it now)."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("level", "for_s"))
        level = choice(command, "level", LOG_LEVELS)
        for_s = number(command, "for_s", 0.0, LONGEST_LOG_S)
        instruments.log_finer(level, for_s)
        return {"level": level, "for_s": for_s}

    return answer


def _diagnostics(stamp: Stamp, publisher: Publisher, instruments: Instruments) -> Handler:
    """No args. The findings go to the topic `diagnostics`; the result names it."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ())
        sections, warnings = instruments.diagnose()
        message = Diagnostics(
            **stamp.head(time.time()),
            id=command.id,
            sections={name: dict(found) for name, found in sections.items()},
            warnings=warnings,
        )
        raw, topic = encode(message), stamp.topics.diagnostics
        if publisher.publish(topic, raw, 1, False).delivery() in (Delivery.FAILED, Delivery.REFUSED):
            raise TryAgain("the findings could not be sent", "Ask again when the device is online")
        return {"topic": topic, "bytes": len(raw)}

    return answer


def _restart(instruments: Instruments) -> Handler:
    """args: `why`, optional. The device says `running`, and the next process `succeeded`."""

    def answer(command: Command) -> Later:
        only(command, ("why",))
        why(command)
        return instruments.restart(command)

    return answer
