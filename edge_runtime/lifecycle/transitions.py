"""The steps that a bundle takes, as functions from state to state: no disk, no clock."""

from __future__ import annotations

import msgspec

from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.state_file import Phase, Quarantined, Start, Step, StoreState
from edge_runtime.records import ModelId


def activated(state: StoreState, model: ModelId, before: str, at: Instant) -> StoreState:
    """`model` runs from now on; `before` is the digest that ran until now, if any."""
    previous = before if before and before != model.sha256 else state.previous
    previous = "" if previous == model.sha256 else previous
    changed = msgspec.structs.replace(state, current=model.sha256, previous=previous, starts=())
    return _noted(changed, model, "committed", "activated", at)


def rolled_back(state: StoreState, model: ModelId, after: str, pin: bool, reason: str, at: Instant) -> StoreState:
    """`model` gives way to the digest `after` (empty: none is left).

    Without `pin` nothing is named: the chain comes to `after` by itself, and to a newer factory bundle some day.
    """
    previous = "" if state.previous in (model.sha256, after) else state.previous
    changed = msgspec.structs.replace(state, current=after if pin else "", previous=previous, starts=())
    return _noted(changed, model, "rolled_back", reason, at)


def quarantined(state: StoreState, model: ModelId, reason: str, at: Instant) -> StoreState:
    """The digest of `model` may not run any more."""
    record = Quarantined(model.name, model.version, reason, at)
    return msgspec.structs.replace(
        state,
        quarantined={**state.quarantined, model.sha256: record},
        current="" if state.current == model.sha256 else state.current,
        previous="" if state.previous == model.sha256 else state.previous,
    )


def released(state: StoreState, sha256: str) -> StoreState:
    """The digest may run again; nothing activates it."""
    kept = {digest: record for digest, record in state.quarantined.items() if digest != sha256}
    return msgspec.structs.replace(state, quarantined=kept)


def started(state: StoreState, sha256: str, at: Instant) -> StoreState:
    """A start of this digest; starts of others are forgotten."""
    own = tuple(start for start in state.starts if start.sha256 == sha256)
    return msgspec.structs.replace(state, starts=(*own, Start(sha256, at)))


def _noted(state: StoreState, model: ModelId, phase: Phase, reason: str, at: Instant) -> StoreState:
    step = Step(model.sha256, model.name, model.version, phase, reason, at)
    return msgspec.structs.replace(state, history=(*state.history, step))
