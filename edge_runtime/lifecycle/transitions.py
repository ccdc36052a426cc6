"""The steps that a bundle takes, as functions from state to state: no disk, no clock.

staged -> shadow -> trial -> committed        any of the three -> rolled_back
staged ----------> trial
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.origin import Origin, stronger
from edge_runtime.lifecycle.state_file import (
    MAX_WORDS,
    Candidate,
    Held,
    Phase,
    Proof,
    Quarantined,
    Start,
    Step,
    StoreState,
)
from edge_runtime.records import ModelId


def staged(state: StoreState, model: ModelId, origin: Origin, at: Instant) -> StoreState:
    """The bundle of `model` is (about to be) here; nothing runs it."""
    known = state.bundles.get(model.sha256)
    origin = msgspec.structs.replace(origin, source=words(origin.source))
    held = Held(
        model.name, model.version, stronger(known.origin if known else None, origin), known.proof if known else None
    )
    changed = msgspec.structs.replace(state, bundles={**state.bundles, model.sha256: held})
    return changed if known else _noted(changed, model, "staged", origin.source, at)


def forgotten(state: StoreState, kept: Collection[str]) -> StoreState:
    """Only the digests in `kept` are here still."""
    bundles = {sha256: held for sha256, held in state.bundles.items() if sha256 in kept}
    return state if len(bundles) == len(state.bundles) else msgspec.structs.replace(state, bundles=bundles)


def entered(
    state: StoreState, model: ModelId, phase: Literal["shadow", "trial"], origin: Origin, reason: str, at: Instant
) -> StoreState:
    """`model` is the candidate, in `phase`; another in its shadow run gives way and is merely staged again."""
    before = state.candidate
    if before is not None and before.sha256 != model.sha256:
        state = _noted(state, before.id, "staged", f"gives way to {model.version}", at)
    candidate = Candidate(model.sha256, model.name, model.version, phase, at, words(reason), origin)
    starts = () if phase == "trial" else state.starts
    return _noted(msgspec.structs.replace(state, candidate=candidate, starts=starts), model, phase, reason, at)


def committed(state: StoreState, model: ModelId, before: str, reason: str, at: Instant) -> StoreState:
    """`model` ends its trial and is current; `before` is the digest that was current until now, if any."""
    previous = before if before and before != model.sha256 else state.previous
    previous = "" if previous == model.sha256 else previous
    changed = msgspec.structs.replace(state, current=model.sha256, previous=previous, candidate=None)
    return _noted(changed, model, "committed", reason, at)


def withdrawn(state: StoreState, reason: str, at: Instant) -> StoreState:
    """The candidate is none any more; what was current still is."""
    candidate = state.candidate
    if candidate is None:
        return state
    starts = () if candidate.phase == "trial" else state.starts
    changed = msgspec.structs.replace(state, candidate=None, starts=starts)
    return _noted(changed, candidate.id, "rolled_back", reason, at)


def rolled_back(state: StoreState, model: ModelId, after: str, pin: bool, reason: str, at: Instant) -> StoreState:
    """`model` gives way to the digest `after` (empty: none is left).

    Without `pin` nothing is named: the chain comes to `after` by itself, and to a newer factory bundle some day.
    """
    previous = "" if state.previous in (model.sha256, after) else state.previous
    changed = msgspec.structs.replace(state, current=after if pin else "", previous=previous, starts=())
    return _noted(changed, model, "rolled_back", reason, at)


def quarantined(state: StoreState, model: ModelId, reason: str, at: Instant, passing: bool = False) -> StoreState:
    """The digest of `model` may not run any more, in whatever role."""
    if state.candidate is not None and state.candidate.sha256 == model.sha256:
        state = withdrawn(state, reason, at)
    record = Quarantined(model.name, model.version, words(reason), at, passing)
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


def healthy(state: StoreState) -> StoreState:
    """The model has run well since its latest start."""
    if not state.starts or state.starts[-1].healthy:
        return state
    latest = msgspec.structs.replace(state.starts[-1], healthy=True)
    return msgspec.structs.replace(state, starts=(*state.starts[:-1], latest))


def stopped(state: StoreState) -> StoreState:
    """The latest start ended in order."""
    return msgspec.structs.replace(state, starts=state.starts[:-1])


def proven(state: StoreState, model: ModelId, origin: Origin, proof: Proof) -> StoreState:
    """A measurement on this device found `proof`."""
    held = state.bundles.get(model.sha256) or Held(model.name, model.version, origin)
    held = msgspec.structs.replace(held, proof=msgspec.structs.replace(proof, said=words(proof.said)))
    return msgspec.structs.replace(state, bundles={**state.bundles, model.sha256: held})


def words(text: str) -> str:
    """As much of somebody's text as is kept, and only what a file of UTF-8 can hold."""
    return text[:MAX_WORDS].encode("utf-8", "replace").decode()


def _noted(state: StoreState, model: ModelId, phase: Phase, reason: str, at: Instant) -> StoreState:
    step = Step(model.sha256, model.name, model.version, phase, words(reason), at)
    return msgspec.structs.replace(state, history=(*state.history, step))
