"""What may come in, be tried and stay: the rules of the store about origin, quarantine and release floor."""

from __future__ import annotations

from typing import Literal

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle import transitions
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.chain import Chain
from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.state_file import StoreState
from edge_runtime.records import ModelId

_LIST = "See `edge-runtime model list`"


class Admission:
    """Says which state follows a wish, or raises Refused (never) or TryAgain (not now). Changes nothing by itself."""

    def __init__(self, chain: Chain, floors: Floors) -> None:
        self._chain = chain
        self._floors = floors

    def staged(self, state: StoreState, model: ModelId, origin: Origin, now: Instant) -> StoreState:
        """A bundle is about to be here."""
        self.require_free(state, model)
        known = self._chain.origin(state, model.sha256)
        if origin.kind == "factory":  # that is seen from the package, not said
            origin = known
        if known.kind == "unsigned":
            self._chain.require_signed(model, origin)
        self._require_floor(model, origin)
        return transitions.staged(state, model, origin, now)

    def entered(
        self, state: StoreState, bundle: Bundle, phase: Literal["shadow", "trial"], reason: str, now: Instant
    ) -> StoreState:
        """A bundle that is here becomes the candidate; one that is current already stays so, and there is none."""
        origin, candidate = self._chain.origin(state, bundle.sha256), state.candidate
        self.require_free(state, bundle.id)
        self._chain.require_signed(bundle.id, origin)
        if candidate is not None and candidate.phase == "trial" and candidate.sha256 != bundle.sha256:
            raise TryAgain(f"{candidate.name} {candidate.version} is in trial", "Wait for its end, or roll it back")
        head = self._chain.head(state, trial=False)
        if head is not None and head.sha256 == bundle.sha256:
            return transitions.withdrawn(state, f"{bundle.manifest.version} was asked for", now)
        if candidate is not None and (candidate.sha256, candidate.phase) == (bundle.sha256, phase):
            return state
        if bundle.sha256 != state.previous:
            self._require_floor(bundle.id, origin)
        return transitions.entered(state, bundle.id, phase, origin, reason, now)

    def committed(self, state: StoreState, bundle: Bundle, reason: str, now: Instant) -> StoreState:
        """The candidate in trial becomes current."""
        candidate = state.candidate
        if candidate is None and state.current == bundle.sha256:
            return state
        if candidate is None or candidate.sha256 != bundle.sha256 or candidate.phase != "trial":
            raise Refused(f"{bundle.manifest.version} ({bundle.sha256[:12]}) is not in trial", _LIST)
        head = self._chain.head(state, trial=False)
        return transitions.committed(state, bundle.id, head.sha256 if head else "", reason, now)

    def require_free(self, state: StoreState, model: ModelId) -> None:
        record = state.quarantined.get(model.sha256)
        if record is not None:
            raise Refused(
                f"{record.name} {record.version} ({model.sha256[:12]}) is quarantined: {record.reason}",
                "Pack a new version, or release this one",
            )

    def raise_floor(self, state: StoreState) -> str:
        """The committed model's release is the least that may be installed from now on. Says why that is not written
        yet; empty if it is."""
        held = state.bundles.get(state.current)
        try:
            if held is not None and held.origin.release > self._floors.release(held.name):
                self._floors.raise_release(held.name, held.origin.release)
            elif self._floors.problem:
                self._floors.mend()
        except TryAgain as fault:
            return fault.found
        return ""

    def _require_floor(self, model: ModelId, origin: Origin) -> None:
        if origin.kind == "repository" and origin.release < (floor := self._floors.release(model.name)):
            raise Refused(
                f"{model.name} {model.version} is release {origin.release}; this device has run release {floor}",
                "Publish it again under a new release, or roll back to the previous model",
            )
