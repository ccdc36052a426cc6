"""A second model beside the one in charge: the candidate in its shadow run, the one before in a trial.

It sees the same views between two frames, decides nothing, and gets no more than its share of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_runtime.daemon.models import LoadedModel, Parts
from edge_runtime.daemon.pairing import Pairing
from edge_runtime.daemon.station import Station
from edge_runtime.errors import ModelFault
from edge_runtime.lifecycle.guard import SlotPair
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import ModelId, Outcome, State, View
from edge_runtime.shelf.reading import read_slots

SHARE = 0.25
"""Of the loop's time, at most: a slow companion skips frames."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both models said of one view; `mine` in the pairs is the model in charge."""

    pairs: tuple[SlotPair, ...]
    states: Mapping[State, int]
    """Of the companion."""
    ms: float
    """The companion's inference."""


@dataclass(frozen=True, slots=True)
class CompanionReport:
    """How the two have agreed so far."""

    frames: int = 0
    """That both looked at."""
    skipped: int = 0
    """Frames that the companion left out to stay within its share."""
    slots: int = 0
    """Answered by both."""
    agreed: int = 0
    fault: str = ""
    """Why it failed; then it runs no more."""

    @property
    def agreement(self) -> float | None:
        return self.agreed / self.slots if self.slots else None


class Companion:
    """Owned by the inference loop, which calls `look` after each frame."""

    def __init__(
        self,
        loaded: LoadedModel,
        fitted: Mapping[str, Parts] | None = None,
        share: float = SHARE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`fitted`: what the stations' `fit` gave for this model; other stations are fitted when they are met."""
        self.loaded = loaded
        self._fitted = dict(fitted or {})
        self._pairings: dict[str, Pairing] = {}
        self._share = share
        self._clock = clock
        self._began_s = clock()
        self._spent_s = 0.0
        self._frames = self._skipped = self._slots = self._agreed = 0
        self._fault = ""

    @property
    def id(self) -> ModelId:
        return self.loaded.id

    @property
    def fitted(self) -> Mapping[str, Parts]:
        """By camera, for when it is put in charge."""
        return self._fitted

    def report(self) -> CompanionReport:
        return CompanionReport(self._frames, self._skipped, self._slots, self._agreed, self._fault)

    def look(self, station: Station, outcome: Outcome) -> Comparison | None:
        """The frame that the station has just concluded; None if the companion has nothing to say of it."""
        if self._fault or outcome.scores is None or not isinstance(outcome.view, View):
            return None
        began = self._clock()
        if self._spent_s > self._share * (began - self._began_s) and self._frames:
            self._skipped += 1
            return None
        try:
            return self._compare(station, outcome, outcome.view)
        except ModelFault as fault:
            self._fault = fault.found
            return None
        finally:
            self._spent_s += self._clock() - began

    def _compare(self, station: Station, outcome: Outcome, seen: View) -> Comparison | None:
        normalizer, model = self._fitted.get(station.name) or self._fit(station)
        view: View | None = seen
        if normalizer is not station.parts.pipeline.normalizer:
            view = normalizer.again(outcome.frame) if isinstance(normalizer, Normalizer) else None
        if view is None or model is None:
            return None
        scores = model.infer(view)
        layout = station.parts.layout
        readings = read_slots(layout, view, scores, self.loaded.manifest.thresholds)
        pairing = self._pairings.setdefault(station.name, Pairing(station.name, normalizer.reference_crops))
        pairs = pairing.pair(view.crops, view.registration.moved, outcome.readings, readings)
        both = [pair for pair in pairs if pair.both_answer]
        self._frames += 1
        self._slots += len(both)
        self._agreed += sum(pair.mine is pair.theirs for pair in both)
        return Comparison(pairs, Counter(reading.state for reading in readings), sum(scores.ms.values()))

    def _fit(self, station: Station) -> Parts:
        parts = self._fitted[station.name] = station.fit(self.loaded)
        return parts
