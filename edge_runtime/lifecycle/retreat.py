"""How a model leaves: which state follows a rollback or a quarantine. Changes nothing by itself."""

from __future__ import annotations

from msgspec import structs

from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle import transitions
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.chain import Chain
from edge_runtime.lifecycle.clock import Instant, age_s
from edge_runtime.lifecycle.crashes import FACTORY_REST_S, judge_crashes
from edge_runtime.lifecycle.guard import STAY, Verdict
from edge_runtime.lifecycle.holdings import Holdings
from edge_runtime.lifecycle.state_file import StoreState
from edge_runtime.records import ModelId


class Retreat:
    """The candidate leaves without touching what is current; anything else gives way to the next of the chain."""

    def __init__(self, chain: Chain, holdings: Holdings) -> None:
        self._chain = chain
        self._holdings = holdings

    def rolled_back(self, state: StoreState, running: str, reason: str, bar: bool, now: Instant) -> StoreState:
        """What runs gives way; if that is not `running` (a digest, or empty), only `running` itself is affected."""
        chain = self._chain.walk(state)
        head, after = next(chain, None), next(chain, None)
        if head is None or (running and head.sha256 != running):
            return self._aside(state, running, reason, bar, now)
        if after is None and not bar:
            raise Refused("no other model to roll back to", "Install one: `edge-runtime model install BUNDLE`")
        return self._without(state, head, after, reason, bar, now)

    def barred(self, state: StoreState, sha256: str, reason: str, now: Instant) -> StoreState:
        """The digest may not run any more, whether or not it does."""
        return transitions.quarantined(state, self.model(state, sha256), reason, now)

    def started(self, state: StoreState, now: Instant) -> tuple[StoreState, Verdict]:
        """One more start of what runs, which gives way first if its starts ended in too many crashes."""
        state = _rested(state, now)
        chain = self._chain.walk(state)
        head, verdict = next(chain, None), STAY
        if head is None:
            return state, verdict
        trial = state.candidate is not None and state.candidate.sha256 == head.sha256
        verdict = judge_crashes(state.starts, head.sha256, trial, now)
        if verdict.fall_back and state.candidate is not None and not trial:
            # A shadow run: of two models in one process the newer is the suspect.
            reason = f"{verdict.reason} while this model ran beside"
            state = transitions.quarantined(state, state.candidate.id, reason, now)
            state, verdict = structs.replace(state, starts=()), Verdict(False, reason)
        if verdict.fall_back:
            after = next(chain, None)
            passing = head.sha256 in self._holdings.factory
            state, head = self._without(state, head, after, verdict.reason, True, now, passing), after
        return (transitions.started(state, head.sha256, now) if head else state), verdict

    def without_lost(self, state: StoreState, now: Instant) -> StoreState:
        """A candidate whose bundle is damaged, gone or unsigned where that is not allowed is none."""
        candidate = state.candidate
        if candidate is None:
            return state
        try:
            self._chain.require_signed(candidate.id, self._chain.origin(state, candidate.sha256))
            self._holdings.read(candidate.sha256)
        except EdgeError as fault:
            return transitions.withdrawn(state, fault.found, now)
        return state

    def model(self, state: StoreState, sha256: str) -> ModelId:
        """Name and version of a digest, from the state or its bundle, empty if neither knows."""
        if sha256 in state.bundles:
            return self._chain.model(state, sha256)
        try:
            return self._holdings.read(sha256).id
        except EdgeError:
            return ModelId("", "", sha256)

    def _without(
        self,
        state: StoreState,
        head: Bundle,
        after: Bundle | None,
        reason: str,
        bar: bool,
        now: Instant,
        passing: bool = False,
    ) -> StoreState:
        """`head` gives way to `after`. A factory bundle is named only if the chain would not come to it by itself."""
        if state.candidate is not None and state.candidate.sha256 == head.sha256:
            state = transitions.withdrawn(state, reason, now)
        else:
            named = after.sha256 if after else ""
            if state.candidate is not None and state.candidate.sha256 == named:  # it is next in the chain anyway
                state = transitions.withdrawn(state, f"runs in the place of {head.manifest.version}", now)
            pin = not (bar and named in self._holdings.factory)
            state = transitions.rolled_back(state, head.id, named, pin, reason, now)
        return transitions.quarantined(state, head.id, reason, now, passing) if bar else state

    def _aside(self, state: StoreState, sha256: str, reason: str, bar: bool, now: Instant) -> StoreState:
        """A digest that is not what runs: barred, or no candidate any more."""
        if bar and sha256:
            return self.barred(state, sha256, reason, now)
        if state.candidate is not None and state.candidate.sha256 == sha256:
            return transitions.withdrawn(state, reason, now)
        return state


def _rested(state: StoreState, now: Instant) -> StoreState:
    """Factory bundles that were barred for crashes a good while ago may run again; also at another boot whose clock says
    that it was before: by such a clock the while might last for years."""
    for sha256, record in state.quarantined.items():
        undated = record.at.boot != now.boot and now.wall_s < record.at.wall_s
        if record.passing and (undated or age_s(record.at, now) > FACTORY_REST_S):
            state = transitions.released(state, sha256)
    return state
