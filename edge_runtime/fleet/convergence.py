"""The reconciler: what is wished, what is, and the one next step between them. Pure; `daemon.convergence` takes the steps.

It looks at the device as it is and not at what it did last, so that a restart, a week of sleep or a person who went ahead
by hand need no case of their own. It never works against anybody: what the guard or a person took out is not brought back
under the same `seq`. The store's own history is the memory of what was begun: a step and its record are one write there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.telemetry.messages import Scalar

WHY = "desired"
"""Begins the reason of every step that the reconciler asks the store for."""
MAX_CONFIG_TRIES = 2
"""A power cut may undo the first; settings that are gone after the second were taken back for a reason."""
_WORDS = 200


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the wish `seq` has come, as it must be known after a power cut."""

    seq: int = 0
    state: Literal["none", "converging", "converged", "failed"] = "none"
    reason: str = ""
    """One word that programs read."""
    detail: str = ""
    entered: bool = False
    """The model was seen as candidate or as current under this wish."""
    configured: bool = False
    """The settings were seen in force under this wish."""
    config_tries: int = 0
    """How often they were put in force, counted before each."""


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle of the device (`lifecycle.entries.Entry`)."""

    name: str
    version: str
    sha256: str
    status: str
    """`current`, `trial`, `shadow`, `previous`, `factory`, `staged`, `damaged` or `quarantined`."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """A step that a bundle took (`lifecycle.state_file.Step`)."""

    sha256: str
    phase: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The device as it is now."""

    bundles: tuple[Held, ...] = ()
    history: tuple[Past, ...] = ()
    """Oldest first."""
    config: Mapping[str, Scalar] = field(default_factory=dict)
    """What is set from afar."""
    config_on_trial: bool = False
    """New settings are in force and have not proved themselves yet."""

    def of(self, status: str) -> Held | None:
        return next((held for held in self.bundles if held.status == status), None)

    @property
    def candidate(self) -> Held | None:
        return self.of("trial") or self.of("shadow")


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do: there is no wish, or it has ended, as `Progress` says."""


@dataclass(frozen=True, slots=True)
class Converged:
    """The device is what was wished."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The wish ends here; only one with a higher `seq` begins anew."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something goes on by itself."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SetConfig:
    values: Mapping[str, Scalar]
    """A value of None takes a key back to what device.toml says."""


@dataclass(frozen=True, slots=True)
class Install:
    model: DesiredModel


@dataclass(frozen=True, slots=True)
class Activate:
    sha256: str
    model: DesiredModel


@dataclass(frozen=True, slots=True)
class TakeOut:
    """The candidate leaves, or what is current gives way to the model before it; without a quarantine."""

    sha256: str
    detail: str


Step = Rest | Converged | Failed | Waiting | SetConfig | Install | Activate | TakeOut


_DOING: Mapping[type[object], str] = {
    SetConfig: "configuring",
    Install: "installing",
    Activate: "activating",
    TakeOut: "taking_out",
}


def why(desired: Desired) -> str:
    """The reason that the store is given."""
    return f"{WHY} {desired.seq}" + (f" ({desired.rollout})" if desired.rollout else "")


def decide(desired: Desired | None, seen: Seen, so_far: Progress) -> Step:
    """The next step. `so_far` is the progress of this very wish."""
    if desired is None or so_far.state == "failed":
        return Rest()
    return _config_step(desired, seen, so_far) or _model_step(desired, seen, so_far)


def noted(desired: Desired, seen: Seen, so_far: Progress) -> Progress:
    """`so_far`, with what is seen for the first time under this wish."""
    model = desired.model
    on_its_way = [held for held in (seen.of("current"), seen.candidate) if held is not None]
    entered = model is not None and any(_fits(model, held) for held in on_its_way)
    configured = not _missing(desired, seen) and not seen.config_on_trial
    return msgspec.structs.replace(
        so_far, entered=so_far.entered or entered, configured=so_far.configured or configured
    )


def told(so_far: Progress, step: Step) -> Progress:
    """The progress that a step stands for."""
    if isinstance(step, Rest):
        return so_far
    if isinstance(step, Converged):
        return msgspec.structs.replace(so_far, state="converged", reason="", detail="")
    if isinstance(step, Failed):
        return msgspec.structs.replace(so_far, state="failed", reason=step.reason, detail=step.detail[:_WORDS])
    reason, detail = _DOING.get(type(step), ""), ""
    if isinstance(step, Waiting):
        reason, detail = step.reason, step.detail[:_WORDS]
    tried = so_far.config_tries + isinstance(step, SetConfig)
    return msgspec.structs.replace(so_far, state="converging", reason=reason, detail=detail, config_tries=tried)


def _config_step(desired: Desired, seen: Seen, so_far: Progress) -> Step | None:
    """None once every setting is in force."""
    missing = _missing(desired, seen)
    if seen.config_on_trial:
        return Waiting("config_trial", "the new settings must prove themselves first")
    if not missing:
        return None
    if so_far.configured:
        return Failed("diverged", f"set otherwise on the device: {', '.join(sorted(missing))}"[:_WORDS])
    if so_far.config_tries >= MAX_CONFIG_TRIES:
        return Failed("config_taken_back", f"the device was not well with {', '.join(sorted(missing))}"[:_WORDS])
    return SetConfig(missing)


def _missing(desired: Desired, seen: Seen) -> dict[str, Scalar]:
    return {key: value for key, value in desired.config.items() if seen.config.get(key) != value}


def _model_step(desired: Desired, seen: Seen, so_far: Progress) -> Step:
    model, candidate, current = desired.model, seen.candidate, seen.of("current")
    if model is None:
        return Converged()
    if candidate is not None and _fits(model, candidate):
        return Waiting(candidate.status, candidate.reason)
    if current is not None and _fits(model, current):
        if candidate is not None and _brought(candidate, seen):
            return TakeOut(candidate.sha256, f"{candidate.version} is not wished any more")
        return Converged()
    return _ended(desired, model, seen, so_far) or _approach(model, candidate, seen)


def _ended(desired: Desired, model: DesiredModel, seen: Seen, so_far: Progress) -> Failed | None:
    """Whether the model can not come in, or was in and is out again."""
    here = [held for held in seen.bundles if _fits(model, held)]
    for held in here:
        if held.status == "quarantined":
            return Failed("quarantined", held.reason)
    own = {held.sha256 for held in here} | ({model.sha256} - {""})
    began = so_far.entered or any(
        step.sha256 in own and step.phase in ("shadow", "trial") and step.reason == why(desired)
        for step in seen.history
    )
    if not began:
        return None
    left = next((step for step in reversed(seen.history) if step.sha256 in own and step.phase == "rolled_back"), None)
    return Failed("rolled_back" if left else "diverged", left.reason if left else "another model was put in its place")


def _approach(model: DesiredModel, candidate: Held | None, seen: Seen) -> Step:
    """The model is neither in nor on its way in."""
    if candidate is not None:
        if _brought(candidate, seen):
            return TakeOut(candidate.sha256, f"{candidate.version} is not wished any more")
        if candidate.status == "trial":
            return Waiting("busy", f"{candidate.version} is in a trial that somebody began by hand")
    here = next((held for held in seen.bundles if _fits(model, held) and held.status != "damaged"), None)
    if here is None:
        return Install(model)
    current = seen.of("current")
    if here.status == "previous" and current is not None and candidate is None:
        return TakeOut(current.sha256, f"back to {here.version}")
    return Activate(here.sha256, model)


def _fits(model: DesiredModel, held: Held) -> bool:
    return model.fits(held.name, held.version, held.sha256)


def _brought(candidate: Held, seen: Seen) -> bool:
    """Whether the candidate came by a wish, and not by a person's hand."""
    for step in reversed(seen.history):
        if step.sha256 != candidate.sha256:
            continue
        if step.phase not in ("shadow", "trial"):
            return False
        if step.reason.startswith(f"{WHY} "):
            return True
    return False
