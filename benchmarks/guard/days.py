"""Recorded days as lives: one model of the pool as incumbent, another on trial, frame by frame as the daemon would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.daemon.pairing import Pairing
from edge_runtime.lifecycle.guard import Environment, FrameEvidence, SlotPair
from edge_runtime.lifecycle.guard.environment import EnvironmentSense
from edge_runtime.lifecycle.guard.settings import SenseSettings
from edge_runtime.records import (
    ANSWERS,
    Frame,
    Light,
    LightDecision,
    Registration,
    RegistrationStatus,
    SlotQuality,
    SlotReading,
    State,
    View,
)

KEEP = Path("var/tmp/guard")
_DECISIONS = tuple(LightDecision(name) for name in ("off", "commissioned", "applied", "refused", "unseen"))
_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)
INSIDE, SATURATED, DENSITY, BLOCKED, ANSWER = 0.7, 0.45, 0.2, 0.76, 0.517
"""Thresholds of the shipped bundle; all models of the pool are read with them."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of a life."""

    evidence: FrameEvidence
    environment: Environment
    pairs: tuple[SlotPair, ...]
    right: NDArray[np.bool_]
    """(slots,) whether the model on trial is right; meaningful where `asked`."""
    theirs_right: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    """(slots,) visible, and answered by the model on trial."""


class Day:
    """What `record` kept of one day."""

    def __init__(self, seed: int) -> None:
        with np.load(KEEP / f"day-{seed}.npz") as kept:
            self._rows: dict[str, NDArray[Any]] = {name: kept[name] for name in kept.files}
        self.names: tuple[str, ...] = tuple(self._rows["names"].tolist())
        self.slots = self._rows["state"].shape[1]

    def __len__(self) -> int:
        return len(self._rows["t"])

    @cached_property
    def environment(self) -> tuple[Environment, ...]:
        sense = EnvironmentSense(SenseSettings())
        return tuple(
            sense.sense(self._view(k)) if self._rows["usable"][k] else Environment.UNKNOWN for k in range(len(self))
        )

    def accuracy(self, model: str, begin: int = 0, end: int | None = None) -> float:
        """Share of the visible slots that are answered rightly, in the frames from `begin` to before `end`."""
        asked, right = self._asked(model)
        seen = self._seen()[begin:end]
        return float((right & asked)[begin:end][seen].mean())

    def life(self, incumbent: str, trial: str, begin: int = 0) -> Iterator[Moment]:
        """From frame `begin` on."""
        rows = self._rows
        blank = np.zeros((self.slots, 32, 32, 3), np.uint8)
        pairing = Pairing("day", blank)
        pairing._reference = rows["reference"]
        asked, right = self._asked(trial)
        _, theirs_right = self._asked(incumbent)
        for k in range(begin, len(self)):
            t = float(rows["t"][k])
            if not rows["usable"][k]:
                none = np.zeros(self.slots, np.bool_)
                yield Moment(FrameEvidence(t, "day", False), self.environment[k], (), none, none, none)
                continue
            mine, theirs = self._readings(trial, k), self._readings(incumbent, k)
            looks = rows["looks"][k].astype(np.float32)
            pairs = pairing.pair_looks(looks, bool(rows["scene"][k, 0]), mine, theirs)
            evidence = FrameEvidence(t, "day", True, _counts(mine), 6.0, "", _counts(theirs), 6.0)
            yield Moment(evidence, self.environment[k], pairs, right[k], theirs_right[k], asked[k])

    def _asked(self, model: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        rows, m = self._rows, self.names.index(model)
        answers = rows["answers"][:, m]
        quality = rows["quality"]
        seen = self._seen() & (quality[..., 1] <= SATURATED)
        answered = (answers[..., 3] < BLOCKED) & (answers[..., :3].max(-1) >= ANSWER)
        return seen & answered, answers[..., :3].argmax(-1) == rows["state"]

    def _seen(self) -> NDArray[np.bool_]:
        rows = self._rows
        seen: NDArray[np.bool_] = rows["usable"][:, None] & rows["visible"] & (rows["quality"][..., 0] >= INSIDE)
        return seen

    def _readings(self, model: str, k: int) -> list[SlotReading]:
        answers = self._rows["answers"][k, self.names.index(model)].astype(np.float64)
        return [
            _reading(str(number), row.tolist(), quality.tolist())
            for number, (row, quality) in enumerate(zip(answers, self._rows["quality"][k], strict=True))
        ]

    def _view(self, k: int) -> View:
        moved, gain, residual, sharpness, applied, decision = self._rows["scene"][k].tolist()
        light = Light(bool(applied), (gain,) * 3, residual, decision=_DECISIONS[int(decision)])
        registration = Registration(RegistrationStatus.OK, None, moved=bool(moved))
        frame = Frame("day", k, _NO_PIXELS, 0.0, float(self._rows["t"][k]))
        return View(frame, registration, light, _NO_PIXELS[None], SlotQuality(*_ONES), sharpness, 1.0, {})


_ONES = (np.ones(1, np.float32),) * 3


def _reading(slot: str, row: list[float], quality: list[float]) -> SlotReading:
    shares, blocked = row[:3], row[3]
    best = max(shares)
    if quality[0] < INSIDE or quality[2] < DENSITY or best < ANSWER:
        return SlotReading(slot, State.UNKNOWN, best, {})
    if blocked >= BLOCKED:
        return SlotReading(slot, State.BLOCKED, blocked, {})
    if quality[1] > SATURATED:
        return SlotReading(slot, State.UNKNOWN, best, {})
    return SlotReading(slot, ANSWERS[shares.index(best)], best, {})


def _counts(readings: list[SlotReading]) -> dict[State, int]:
    counts: dict[State, int] = {}
    for reading in readings:
        counts[reading.state] = counts.get(reading.state, 0) + 1
    return counts
