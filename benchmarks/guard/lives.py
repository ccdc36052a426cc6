"""Simulated lives of a trial: correlated slots, correlated errors, shoppers, missing frames, changes of light, knocks.

Each model has, for each slot and picture, a margin: how far the truth leads. It is the sum of what the model makes of the
slot, of the look, of the picture, and of what is hard for both models; the answer is right where it is above zero, and
confidence grows with its size. So errors stay as long as the look does, come back on the same slot, are shared by the
two models, are mostly less sure than right answers, and waver where the margin is thin: as in the recorded days.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge_runtime.lifecycle.guard import Environment, Feedback, FrameEvidence, SlotPair
from edge_runtime.records import ANSWERS, State

INTERVAL_S, SLOTS = 45.0, 24
SLOT_SD, LOOK_SD, SHARED_SD, FRAME_SD = 0.6, 0.7, 0.6, 0.2
SPREAD = float(np.sqrt(SLOT_SD**2 + LOOK_SD**2 + 2 * SHARED_SD**2 + FRAME_SD**2))
STOCK = (0.72, 0.14, 0.14)
LOOKS_AN_HOUR, SOLD, FILLED = 1.5, 0.2, 0.51
"""New looks of a slot; with which share of them what was stocked is sold, and what was not is filled."""
LIKENESS = (
    np.array([0.45, 0.55, 0.80, 0.95, 0.98, 1.00]),
    np.array([-0.1, 0.10, 0.35, 0.55, 0.70, 0.92]),
)
"""Quantiles 0, 0.05, 0.25, 0.5, 0.75, 1 of the correlation with the reference picture: of stocked slots, of the others."""
_AT = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 1.0])
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model on trial, against an incumbent of `theirs`."""

    name: str
    mine: float = 0.96
    """Accuracy on average, in usual light."""
    theirs: float = 0.96
    sharp: float = 1.0
    """Its confidence in logits, as a multiple of what is calibrated."""
    row: float = 0.0
    """Share of the slots that it gets wrong nearly always: a shelf row."""
    low_for_stocked: float = 0.0
    stocked_for_rest: float = 0.0
    """Shares of the looks that it takes for another class."""
    dim: float = 0.0
    """Points of accuracy lost while the light is not the usual one; the light is, half of the time."""
    hit: float = 0.05
    """Accuracy that both lose for half an hour after a change of light or a knock ..."""
    hit_harder: float = 1.0
    """... and the model on trial so many times as much."""
    says: State | None = None
    ms: float = 8.0
    silent: float = 0.0
    nan_after_s: float = float("inf")
    good: bool = False
    """Falling back from it is wrong."""


HEALTHY = (
    Kind("equal", good=True),
    Kind("two points better", mine=0.98, good=True),
    Kind("ten points better", mine=0.96, theirs=0.86, good=True),
    Kind("equal, disturbances hit it three times as hard", hit_harder=3.0, good=True),
    Kind("equal, both poor", mine=0.85, theirs=0.85, good=True),
    Kind("equal, under-confident", sharp=0.5, good=True),
    Kind("equal, over-confident", sharp=2.0, good=True),
)
WORSE = (
    Kind("5 points worse", mine=0.91),
    Kind("10 points worse", mine=0.86),
    Kind("20 points worse", mine=0.76),
    Kind("20 worse, over-confident", mine=0.76, sharp=2.5),
    Kind("20 worse, low for stocked", low_for_stocked=0.28),
    Kind("20 worse, stocked for the rest", stocked_for_rest=0.71),
    Kind("20 worse, one shelf row", row=0.21),
    Kind("20 worse, only in dim light", dim=0.40),
    Kind("says stocked", says=State.STOCKED),
    Kind("says empty", says=State.EMPTY),
    Kind("slow", ms=3_000.0),
    Kind("silent on 60 %", silent=0.6),
    Kind("NaN after a while", nan_after_s=2_700.0),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of a life."""

    evidence: FrameEvidence
    environment: Environment
    pairs: tuple[SlotPair, ...]
    label: Feedback | None


class Life:
    """One trial of one kind. The same seed and kind give the same life."""

    def __init__(
        self, kind: Kind, seed: int, hours: float = 4.0, labels_an_hour: float = 0.0, slots: int = SLOTS
    ) -> None:
        self.kind, self.slots = kind, slots
        self.frames = int(hours * 3600 / INTERVAL_S)
        self._random = np.random.default_rng([seed, sum(map(ord, kind.name))])
        self._label_share = labels_an_hour * INTERVAL_S / 3600
        self._build_stock()
        self._build_scene()
        self._mine = self._answers(kind.mine, kind.hit * kind.hit_harder, kind.dim)
        self._theirs = self._answers(kind.theirs, kind.hit, 0.0)
        self._spoil()

    def _build_stock(self) -> None:
        random, shape = self._random, (self.frames, self.slots)
        self._novel = random.random(shape) < LOOKS_AN_HOUR * INTERVAL_S / 3600
        self._novel[0] = True
        state = np.zeros(shape, np.int8)
        now = random.choice(3, self.slots, p=STOCK)
        for frame in range(self.frames):
            turn = np.where(now == 0, SOLD, FILLED)
            change = self._novel[frame] & (random.random(self.slots) < turn)
            sold = 1 + (random.random(self.slots) < 0.5)
            now = np.where(change, np.where(now == 0, sold, 0), now)
            state[frame] = now
        self.state = state
        drawn = self._held(random.random(shape))
        self._likeness = np.where(state == 0, np.interp(drawn, _AT, LIKENESS[0]), np.interp(drawn, _AT, LIKENESS[1]))
        self._shared_slot = SHARED_SD * random.standard_normal(self.slots)
        self._shared_look = SHARED_SD * self._held(random.standard_normal(shape))
        self._blocked = np.zeros(shape, np.bool_)
        for frame in np.flatnonzero(random.random(self.frames) < 0.15):
            left, wide, long = random.integers(self.slots), random.integers(1, 5), random.integers(1, 4)
            self._blocked[frame : frame + long, left : left + wide] = True

    def _held(self, values: Floats) -> Floats:
        """A value of each look, kept while the look lasts."""
        last = np.where(self._novel, np.arange(self.frames)[:, None], 0)
        return np.asarray(np.take_along_axis(values, np.maximum.accumulate(last, 0), 0))

    def _build_scene(self) -> None:
        random = self._random
        self._environment = [Environment.STEADY] * self.frames
        self._hit = np.zeros(self.frames)
        half_hour = int(1800 / INTERVAL_S)
        for chance, said in ((0.4, Environment.LIGHT), (0.2, Environment.CAMERA)):
            for frame in np.flatnonzero(random.random(self.frames) < chance * INTERVAL_S / 3600):
                self._hit[frame : frame + half_hour] = 1.0
                for later in range(frame, min(self.frames, frame + random.integers(1, 4))):
                    self._environment[later] = said
        phase, period = random.random(), 5400 / INTERVAL_S
        self._dim = (np.arange(self.frames) / period + phase) % 1.0 < 0.5
        self._missing = random.random(self.frames) < 0.03

    def _answers(self, accuracy: float, hit: float, dim: float) -> tuple[NDArray[np.int8], Floats]:
        random, shape = self._random, (self.frames, self.slots)
        lead = np.full(self.frames, _lead(accuracy))
        lead = np.where(self._dim & (dim > 0), _lead(accuracy - dim), lead)
        lead += np.where(self._hit > 0, _lead(accuracy - hit) - _lead(accuracy), 0.0)
        margin = lead[:, None] + SLOT_SD * random.standard_normal(self.slots) + self._shared_slot + self._shared_look
        margin += LOOK_SD * self._held(random.standard_normal(shape)) + FRAME_SD * random.standard_normal(shape)
        other = (self.state + self._held(random.random(shape).round() + 1.0)) % 3
        return np.where(margin > 0, self.state, other).astype(np.int8), np.abs(margin) * 2.4 * _lead(accuracy) / _lead(
            0.96
        )

    def _spoil(self) -> None:
        """What the kind is known for."""
        kind, (answers, logits) = self.kind, self._mine
        drawn = self._held(self._random.random(answers.shape))
        answers[(self.state == 0) & (drawn < kind.low_for_stocked)] = 1
        answers[(self.state != 0) & (drawn < kind.stocked_for_rest)] = 0
        row = np.arange(self.slots) < round(kind.row * self.slots)
        answers[:, row] = np.where(drawn[:, row] < 0.97, (self.state[:, row] + 1) % 3, answers[:, row])
        if kind.says is not None:
            answers[:] = ANSWERS.index(kind.says)
        logits *= kind.sharp

    def steps(self) -> Iterator[Step]:
        kind = self.kind
        for frame in range(self.frames):
            at_s = frame * INTERVAL_S
            if self._missing[frame]:
                yield Step(FrameEvidence(at_s, "camera", False), Environment.UNKNOWN, (), None)
                continue
            mine, theirs = self._readings(self._mine, frame, kind.silent), self._readings(self._theirs, frame, 0.0)
            fault = "the model's answer is not finite" if at_s >= kind.nan_after_s else ""
            evidence = FrameEvidence(at_s, "camera", True, _counts(mine), kind.ms, fault, _counts(theirs), 8.0)
            yield Step(evidence, self._environment[frame], self._pairs(mine, theirs, frame), self._label(frame, at_s))

    def _readings(
        self, answers: tuple[NDArray[np.int8], Floats], frame: int, silent: float
    ) -> list[tuple[State, float]]:
        hush = self._random.random(self.slots) < silent
        confidence = 1.0 / (1.0 + np.exp(-answers[1][frame]))
        return [
            (State.BLOCKED if away else State.UNKNOWN if still or sure < 0.53 else ANSWERS[said], float(sure))
            for said, sure, away, still in zip(answers[0][frame], confidence, self._blocked[frame], hush, strict=True)
        ]

    def _pairs(
        self, mine: list[tuple[State, float]], theirs: list[tuple[State, float]], frame: int
    ) -> tuple[SlotPair, ...]:
        rows = zip(mine, theirs, self._novel[frame].tolist(), self._likeness[frame].tolist(), strict=True)
        return tuple(
            SlotPair("camera", str(slot), a[0], b[0], a[1], b[1], float(new), near)
            for slot, (a, b, new, near) in enumerate(rows)
        )

    def _label(self, frame: int, at_s: float) -> Feedback | None:
        if self._random.random() >= self._label_share:
            return None
        slot = int(self._random.integers(self.slots))
        if self._blocked[frame, slot]:
            return None
        told = self.state[frame, slot]
        if self._random.random() < 0.05:
            told = (told + self._random.integers(1, 3)) % 3
        mine, theirs = self._mine[0][frame, slot] == told, self._theirs[0][frame, slot] == told
        return Feedback(at_s, "camera", str(slot), bool(mine), bool(theirs))

    def loss(self) -> float:
        """By how much the model on trial is worse in this life: share of right answers, incumbent less trial."""
        return float((self._theirs[0] == self.state).mean() - (self._mine[0] == self.state).mean())


def _lead(accuracy: float) -> float:
    return SPREAD * NormalDist().inv_cdf(min(0.999, max(0.01, accuracy)))


def _counts(readings: list[tuple[State, float]]) -> dict[State, int]:
    counts: dict[State, int] = {}
    for state, _ in readings:
        counts[state] = counts.get(state, 0) + 1
    return counts


def without_light(kind: Kind) -> Kind:
    """The same in a store in which nothing disturbs."""
    return replace(kind, hit=0.0, hit_harder=1.0)
