"""The `model.*` verbs, on a small protocol that the daemon fills in.

None of them lets a broker bring a model in: `model.install` names a release of the repository that the device itself
trusts, and `model.activate` a bundle that is on the device already. Whoever commands can at worst choose among those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.errors import Refused
from edge_runtime.fleet.arguments import number, only, why
from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.command_queue import Handler, Later
from edge_runtime.records import ModelId
from edge_runtime.telemetry.messages import Scalar

LONGEST_S = 2_592_000.0
"""A shadow run or a trial of more than 30 days is a slip of the pen."""
SHADOW_S, SHORTEST_SHADOW_S = 86_400.0, 60.0
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}")
_DIGEST = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A bundle on the device: by digest (or its first 12 digits and more), or by name and version."""

    sha256: str = ""
    name: str = ""
    version: str = ""


class ModelSwitch(Protocol):
    """What the daemon does with its models. What takes longer than a frame comes back as `Later`."""

    def rollback(self, why: str) -> ModelId | None:
        """Go back to the previous model now; the model that runs then (None: safe mode). Raises errors.Refused when
        there is nothing to go back to."""
        ...

    def install(self, name: str, version: str) -> Later:
        """Fetch a release from the device's repository; empty: its own model, the newest. Raises errors.TryAgain while
        another such job runs, errors.Refused on a device without a repository."""
        ...

    def activate(self, model: ModelChoice, shadow_s: float | None, trial_s: float | None, why: str) -> Later:
        """Prove a bundle here, then run it beside the current one or try it in its place; None: as configured."""
        ...

    def commit(self, why: str) -> Later:
        """End the trial now and keep the model."""
        ...

    def release(self, sha256: str) -> Later:
        """Lift a quarantine."""
        ...


def model_handlers(switch: ModelSwitch) -> dict[str, Handler]:
    """Verb -> handler."""
    return {
        "model.rollback": _rollback(switch),
        "model.install": _install(switch),
        "model.activate": _activate(switch),
        "model.shadow": _shadow(switch),
        "model.commit": _commit(switch),
        "model.release": _release(switch),
    }


def _rollback(switch: ModelSwitch) -> Handler:
    """args: `why`, optional. The result names the model that runs now."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("why",))
        model = switch.rollback(why(command))
        if model is None:
            return {"name": "", "version": "", "sha256": ""}
        return {"name": model.name, "version": model.version, "sha256": model.sha256}

    return answer


def _install(switch: ModelSwitch) -> Handler:
    """args: `name` (default: the device's own model) and `version` (default: the newest), both optional."""

    def answer(command: Command) -> Later:
        only(command, ("name", "version"))
        return switch.install(_text(command, "name", _NAME), _text(command, "version", _VERSION))

    return answer


def _activate(switch: ModelSwitch) -> Handler:
    """args: `sha256`, or `name` and `version`; `shadow_s`, `trial_s`, `why`, optional."""

    def answer(command: Command) -> Later:
        only(command, ("sha256", "name", "version", "shadow_s", "trial_s", "why"))
        choice = _choice(command)
        return switch.activate(choice, _seconds(command, "shadow_s"), _seconds(command, "trial_s"), why(command))

    return answer


def _shadow(switch: ModelSwitch) -> Handler:
    """args: `sha256`, or `name` and `version`; `for_s` (default: a day), `why`, optional. The model answers beside the
    current one for so long, which is compared; then it goes into its trial as any other."""

    def answer(command: Command) -> Later:
        only(command, ("sha256", "name", "version", "for_s", "why"))
        for_s = number(command, "for_s", SHORTEST_SHADOW_S, LONGEST_S, SHADOW_S)
        return switch.activate(_choice(command), for_s, None, why(command))

    return answer


def _commit(switch: ModelSwitch) -> Handler:
    """args: `why`, optional."""

    def answer(command: Command) -> Later:
        only(command, ("why",))
        return switch.commit(why(command))

    return answer


def _release(switch: ModelSwitch) -> Handler:
    """args: `sha256`."""

    def answer(command: Command) -> Later:
        only(command, ("sha256",))
        sha256 = _text(command, "sha256", _DIGEST)
        if not sha256:
            raise Refused("args.sha256 is missing", "`edge-runtime model list` shows what is quarantined")
        return switch.release(sha256)

    return answer


def _choice(command: Command) -> ModelChoice:
    sha256 = _text(command, "sha256", _DIGEST)
    name, version = _text(command, "name", _NAME), _text(command, "version", _VERSION)
    if bool(sha256) == bool(name or version) or bool(name) != bool(version):
        raise Refused("args names no one bundle", "Give sha256, or name and version")
    return ModelChoice(sha256, name, version)


def _text(command: Command, key: str, form: re.Pattern[str]) -> str:
    value = command.args.get(key, "")
    if value == "" or (isinstance(value, str) and form.fullmatch(value)):
        return str(value)
    raise Refused(f"args.{key} is {value!r:.80}; {form.pattern} was expected")


def _seconds(command: Command, key: str) -> float | None:
    value = command.args.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_S:
        return float(value)
    raise Refused(f"args.{key} is {value!r:.80}; a number of seconds from 0 to {LONGEST_S:.0f} was expected")
