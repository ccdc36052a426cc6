"""The immediate rules: one table. Each compares the model on trial with the incumbent, or with a budget of the device.

Shelves are mostly full, so "all slots alike" is nothing in itself: the incumbent's answers to the same shelf say what is
to be expected. A rule that a change of camera or light may explain is not asked while one goes on; a fault of the model
itself and its speed no environment explains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.lifecycle.guard.settings import RuleSettings
from edge_runtime.lifecycle.guard.values import STAY, FrameEvidence, Verdict
from edge_runtime.records import ANSWERS, State

Breach = Callable[[FrameEvidence, float | None, RuleSettings], str]
"""What a frame breaches, in words; empty if it keeps the rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    breach: Breach
    excusable: bool
    """A change of camera or light may be the cause."""
    at_once: bool = False
    """One breach is enough."""


def faulty(evidence: FrameEvidence, against: float | None, settings: RuleSettings) -> str:
    """The model itself failed: NaN, a wrong shape, an error of the runtime."""
    return evidence.fault


def collapsed(evidence: FrameEvidence, against: float | None, settings: RuleSettings) -> str:
    """Nearly all answers are one class, the incumbent's are not, and the witnesses of the disputes take its side."""
    theirs = sum(evidence.incumbent.get(state, 0) for state in ANSWERS)
    if min(evidence.answered, theirs) < settings.least_slots:
        return ""
    top = max(ANSWERS, key=lambda state: evidence.states.get(state, 0))
    mine, usual = evidence.states[top] / evidence.answered, evidence.incumbent.get(top, 0) / theirs
    if mine < settings.one_class or mine - usual < settings.class_gap:
        return ""
    if against is not None and against < settings.class_witness:
        return ""
    return f"{mine:.0%} of the answers are {top}, of the incumbent's {usual:.0%}"


def silent(evidence: FrameEvidence, against: float | None, settings: RuleSettings) -> str:
    """Far more slots are `unknown` than the incumbent has."""
    theirs = sum(evidence.incumbent.values())
    if min(evidence.slots, theirs) < settings.least_slots:
        return ""
    mine = evidence.states.get(State.UNKNOWN, 0) / evidence.slots
    usual = evidence.incumbent.get(State.UNKNOWN, 0) / theirs
    if mine - usual < settings.unknown_gap:
        return ""
    return f"{mine:.0%} of the slots are unknown, with the incumbent {usual:.0%}"


RULES = (
    Rule("fault", faulty, excusable=False, at_once=True),
    Rule("collapse", collapsed, excusable=True),
    Rule("unknown", silent, excusable=True),
)


class Streaks:
    """Breaches in a row, by camera and rule."""

    def __init__(self, settings: RuleSettings) -> None:
        self._settings = settings
        self._open: dict[tuple[str, str], tuple[int, float]] = {}

    def judge(self, evidence: FrameEvidence, calm: bool, against: float | None = None) -> Verdict:
        """One frame. `against`: mean testimony over this frame's disputes, None without any (`witnesses.testimony`)."""
        for rule in RULES:
            key = (evidence.camera, rule.name)
            if rule.excusable and not (calm and evidence.usable):
                if evidence.usable:
                    self._open.pop(key, None)
                continue
            found = rule.breach(evidence, against, self._settings)
            if not found:
                self._open.pop(key, None)
                continue
            count, since_s = self._open.get(key, (0, evidence.at_s))
            self._open[key] = (count + 1, since_s)
            if rule.at_once or self._lasted(count + 1, evidence.at_s - since_s):
                return Verdict(True, found, rule.name)
        return STAY

    def _lasted(self, count: int, span_s: float) -> bool:
        return count >= self._settings.frames and span_s >= self._settings.lasting_s


class Stopwatch:
    """p95 of the inference time over the last frames, against the device's budget."""

    def __init__(self, settings: RuleSettings) -> None:
        self._settings = settings
        self._mine: deque[float] = deque(maxlen=settings.timed_frames)
        self._theirs: deque[float] = deque(maxlen=settings.timed_frames)

    @property
    def p95_ms(self) -> float:
        return float(np.percentile(self._mine, 95)) if self._mine else 0.0

    def judge(self, evidence: FrameEvidence) -> Verdict:
        if not evidence.usable or evidence.infer_ms <= 0:
            return STAY
        self._mine.append(evidence.infer_ms)
        if evidence.incumbent_ms > 0:
            self._theirs.append(evidence.incumbent_ms)
        budget = self._settings.max_infer_ms
        if len(self._mine) < self._settings.timed_frames or float(np.percentile(self._mine, 95)) <= budget:
            return STAY
        if self._theirs and float(np.percentile(self._theirs, 95)) > self._settings.slower_than_incumbent * budget:
            return STAY
        return Verdict(True, f"p95 of inference is {self.p95_ms:.0f} ms, {budget:.0f} ms are allowed", "slow")
