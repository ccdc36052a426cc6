"""What the device tells of a model's way in: one event a step, `kind` model, the versions that run before and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_runtime.lifecycle.state_file import Candidate, Step
from edge_runtime.records import ModelId

Tell = Callable[[str, str, str, dict[str, str | float]], None]
"""(kind, was, now, detail): an event of the device."""


def tell_switch(
    tell: Tell,
    was: ModelId | None,
    now: ModelId | None,
    candidate: Candidate | None,
    last: Step | None,
    switch_ms: float,
) -> None:
    """Another model runs from the next frame on; None is safe mode. `last`: the newest step in the store's history, which
    says so if somebody outside of this process took the model out."""
    phase, reason = "committed", candidate.reason if candidate else ""
    if candidate and now and candidate.sha256 == now.sha256:
        phase = "trial"
    elif last and was and (last.phase, last.sha256) == ("rolled_back", was.sha256):
        phase, reason = "rolled_back", last.reason
    detail: dict[str, str | float] = {"name": now.name if now else "none", "phase": phase, "switch_ms": switch_ms}
    detail["reason"] = reason
    tell("model", was.version if was else "none", now.version if now else "none", detail)


def tell_step(
    tell: Tell,
    runs: ModelId | None,
    candidate: Candidate,
    phase: str,
    reason: str,
    more: Mapping[str, float] | None = None,
) -> None:
    """A step of the candidate in which the model that runs stays the same."""
    detail = {"name": candidate.name, "candidate": candidate.version, "phase": phase, "reason": reason}
    version = runs.version if runs else "none"
    tell("model", version, version, {**detail, "sha256": candidate.sha256[:12], **(more or {})})
