"""In which order this device tries its bundles: the one in trial, current, previous, factory (newest first), none.

What may not run (quarantined, unsigned) or can not (damaged, gone) is passed over, and told.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.holdings import Holdings
from edge_runtime.lifecycle.origin import FACTORY, UNSIGNED, Origin
from edge_runtime.lifecycle.state_file import StoreState
from edge_runtime.records import ModelId

_UNSIGNED_MEND = "Publish it in a repository, or allow unsigned models on a device for development"


class Chain:
    """Walks the bundles of `holdings` by what a state says."""

    def __init__(self, holdings: Holdings, allow_unsigned: bool) -> None:
        self._holdings = holdings
        self._allow_unsigned = allow_unsigned
        self.passed_over: tuple[str, ...] = ()
        """Why bundles were passed over since this was last emptied."""

    def walk(self, state: StoreState, trial: bool = True) -> Iterator[Bundle]:
        """Whole bundles that may run, best first; without `trial` as if there were no candidate."""
        trying = state.candidate.sha256 if trial and state.candidate and state.candidate.phase == "trial" else ""
        seen = set(state.quarantined)
        for sha256 in (trying, state.current, state.previous, *self._holdings.factory):
            if not sha256 or sha256 in seen:
                continue
            seen.add(sha256)
            try:
                self.require_signed(self.model(state, sha256), self.origin(state, sha256))
                yield self._holdings.read(sha256)
            except EdgeError as fault:
                self.passed_over = (*(told for told in self.passed_over if told != str(fault)), str(fault))

    def head(self, state: StoreState, trial: bool = True) -> Bundle | None:
        """The bundle to run; None is safe mode."""
        return next(self.walk(state, trial), None)

    def origin(self, state: StoreState, sha256: str) -> Origin:
        """What is known of where a bundle came from; what nobody has vouched for is unsigned."""
        if sha256 in self._holdings.factory:
            return FACTORY
        held = state.bundles.get(sha256)
        return held.origin if held and held.origin.kind != "factory" else UNSIGNED

    def model(self, state: StoreState, sha256: str) -> ModelId:
        """Name and version of a digest as far as the state knows them; nothing is read."""
        held = state.bundles.get(sha256)
        return ModelId(held.name, held.version, sha256) if held else ModelId("model", "", sha256)

    def require_signed(self, model: ModelId, origin: Origin) -> None:
        """Raises Refused for an unsigned bundle where those may not run."""
        if origin.kind == "unsigned" and not self._allow_unsigned:
            told = " ".join(part for part in (model.name, model.version, f"({model.sha256[:12]})") if part)
            raise Refused(f"{told} is unsigned, which this device does not run", _UNSIGNED_MEND)
