"""A second model beside the one in charge, on the same live views: the candidate in its shadow run, the incumbent in a trial.

It sees each view between two frames, decides nothing, and may spend no more than a share of one core: a token bucket of
CPU seconds, measured and not estimated. While the loop is late it does not run at all. A model that wants other crops
gets its own from the registration that the camera's normalizer holds (`Normalizer.recut`). If it fails it ends itself,
with a reason; the model in charge is not touched.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_runtime.daemon.models import LoadedModel, Parts
from edge_runtime.daemon.pairing import Pairing
from edge_runtime.daemon.station import Station
from edge_runtime.errors import ModelFault
from edge_runtime.lifecycle.guard import SlotPair
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import ModelId, Outcome, State, View
from edge_runtime.shelf.reading import read_slots

SHARE = 0.10
"""Of one core."""
SAVED_S = 30.0
"""So much time's share may be saved up and spent at once: at one frame in 45 s each frame is looked at."""
_Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both models said of one view; `mine` in the pairs is the model in charge."""

    pairs: tuple[SlotPair, ...]
    states: Mapping[State, int]
    """Of the shadow."""
    ms: float
    """The shadow's inference."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """How the two have agreed so far."""

    frames: int = 0
    """That both looked at."""
    skipped: int = 0
    """Frames that the shadow left out to stay within its budget, or because the loop was late."""
    slots: int = 0
    """Comparisons in which both answered."""
    agreed: int = 0
    fault: str = ""
    """Why it failed; then it runs no more."""
    looks: int = 0
    """Different things to see among the comparisons: a slot whose pixels have not changed is one."""
    looks_agreed: float = 0.0
    confusion: Mapping[tuple[State, State], int] = field(default_factory=dict)
    """(in charge, shadow) -> comparisons."""
    ms: float = 0.0
    """Mean CPU time of a look."""
    cpu_share: float = 0.0
    """Of one core, over the whole run."""

    @property
    def agreement(self) -> float | None:
        """Share of the comparisons; None before the first."""
        return self.agreed / self.slots if self.slots else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the agreement, by looks (Wilson 1927): pictures of the same pixels are one observation."""
        return wilson(self.looks_agreed, self.looks)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """95 % score interval of a share; (0, 1) without observations."""
    if not count:
        return 0.0, 1.0
    share, z2 = hits / count, _Z95 * _Z95
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


class CpuBudget:
    """A token bucket of CPU seconds that fills with a share of the time that passes."""

    def __init__(self, share: float, saved_s: float, now_s: float) -> None:
        self._share = share
        self._most_s = share * saved_s
        self._tokens_s = self._most_s
        self._began_s = self._last_s = now_s
        self.spent_s = 0.0

    def may_spend(self, now_s: float) -> bool:
        """Whether there is anything left; a look that costs more than is left is paid for by waiting after it."""
        self._tokens_s = min(self._most_s, self._tokens_s + self._share * max(0.0, now_s - self._last_s))
        self._last_s = now_s
        return self._tokens_s > 0.0

    def spend(self, cpu_s: float) -> None:
        self._tokens_s -= cpu_s
        self.spent_s += cpu_s

    def share_spent(self, now_s: float) -> float:
        gone = now_s - self._began_s
        return self.spent_s / gone if gone > 0 else 0.0


class Tally:
    """Counts comparisons, and looks: what a slot showed, however many pictures were taken of it."""

    def __init__(self) -> None:
        self.frames = self.slots = self.agreed = 0
        self.confusion: Counter[tuple[State, State]] = Counter()
        self._closed, self._closed_agreed = 0, 0.0
        self._open: dict[tuple[str, str], tuple[int, int]] = {}
        """(comparisons, agreed) of each slot's present look."""

    def take(self, pairs: tuple[SlotPair, ...]) -> None:
        self.frames += 1
        for pair in pairs:
            self.confusion[pair.mine, pair.theirs] += 1
            if not pair.both_answer:
                continue
            agreed = pair.mine is pair.theirs
            self.slots += 1
            self.agreed += agreed
            key = (pair.camera, pair.slot)
            if pair.novelty >= 0.5:
                self._close(key)
            count, hits = self._open.get(key, (0, 0))
            self._open[key] = (count + 1, hits + agreed)

    def looks(self) -> tuple[int, float]:
        """How many, and the sum of the shares on which both agreed."""
        shown = sum(hits / count for count, hits in self._open.values())
        return self._closed + len(self._open), self._closed_agreed + shown

    def _close(self, key: tuple[str, str]) -> None:
        count, hits = self._open.pop(key, (0, 0))
        if count:
            self._closed += 1
            self._closed_agreed += hits / count


class Shadow:
    """Owned by the inference loop, which calls `look` after each frame."""

    def __init__(
        self,
        loaded: LoadedModel,
        fitted: Mapping[str, Parts] | None = None,
        share: float = SHARE,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`fitted`: what the stations' `fit` gave for this model; other stations are fitted when they are met.
        `cpu_clock` must count all threads that infer: `time.process_time` where there are several."""
        self.loaded = loaded
        self._fitted = dict(fitted or {})
        self._pairings: dict[str, Pairing] = {}
        self._tally = Tally()
        self._clock, self._cpu_clock = clock, cpu_clock
        self._budget = CpuBudget(share, SAVED_S, clock())
        self._skipped = 0
        self._fault = ""

    @property
    def id(self) -> ModelId:
        return self.loaded.id

    @property
    def fitted(self) -> Mapping[str, Parts]:
        """By camera, for when it is put in charge."""
        return self._fitted

    def report(self) -> ShadowReport:
        tally = self._tally
        looks, looks_agreed = tally.looks()
        return ShadowReport(
            tally.frames,
            self._skipped,
            tally.slots,
            tally.agreed,
            self._fault,
            looks,
            looks_agreed,
            dict(tally.confusion),
            1e3 * self._budget.spent_s / max(1, tally.frames),
            self._budget.share_spent(self._clock()),
        )

    def look(self, station: Station, outcome: Outcome, late: bool = False) -> Comparison | None:
        """The frame that the station has just concluded; None if the shadow has nothing to say of it.

        `late`: another frame waits already.
        """
        if self._fault or outcome.scores is None or not isinstance(outcome.view, View):
            return None
        if not self._budget.may_spend(self._clock()) or late:
            self._skipped += 1
            return None
        began_s = self._cpu_clock()
        try:
            return self._compare(station, outcome, outcome.view)
        except ModelFault as fault:
            self._fault = fault.found
            return None
        finally:
            self._budget.spend(self._cpu_clock() - began_s)

    def _compare(self, station: Station, outcome: Outcome, seen: View) -> Comparison | None:
        normalizer, model = self._fitted.get(station.name) or self._fit(station)
        view: View | None = seen
        if normalizer is not station.parts.pipeline.normalizer:
            view = normalizer.again(outcome.frame) if isinstance(normalizer, Normalizer) else None
        if view is None or model is None:
            return None
        scores = model.infer(view)
        readings = read_slots(station.parts.layout, view, scores, self.loaded.manifest.thresholds)
        pairing = self._pairings.setdefault(station.name, Pairing(station.name, normalizer.reference_crops))
        pairs = pairing.pair(view.crops, view.registration.moved, outcome.readings, readings)
        self._tally.take(pairs)
        return Comparison(pairs, Counter(reading.state for reading in readings), sum(scores.ms.values()))

    def _fit(self, station: Station) -> Parts:
        parts = self._fitted[station.name] = station.fit(self.loaded)
        return parts
