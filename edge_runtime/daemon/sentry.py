"""The guard's eyes: makes evidence of what a frame led to, and keeps the watch over the model that runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from edge_runtime.daemon.shadow import Comparison
from edge_runtime.daemon.terms import Terms
from edge_runtime.drift.cause import Cause
from edge_runtime.lifecycle.guard import (
    STAY,
    Environment,
    FrameEvidence,
    StandingWatch,
    TrialSettings,
    TrialWatch,
    Verdict,
)
from edge_runtime.lifecycle.guard.environment import EnvironmentSense
from edge_runtime.records import Outcome, View

SETTLE_SHARE, LONGEST = 60, 6.0
"""A change of the environment excuses for a sixtieth of the trial at most; a suspicion prolongs it sixfold at most."""


class Sentry:
    """One watch at a time: the standing one, or a trial's. Owned by the inference loop."""

    def __init__(self, settings: TrialSettings | None = None) -> None:
        self._settings = settings or TrialSettings()
        # Alone, a model that is slow on a crowded device can not be told from a slow model.
        self._standing = replace(self._settings, rules=replace(self._settings.rules, max_infer_ms=math.inf))
        self._senses: dict[str, EnvironmentSense] = {}
        self.watch: StandingWatch = StandingWatch(self._standing)

    @property
    def trial(self) -> TrialWatch | None:
        """The watch over a trial; None if there is none."""
        return self.watch if isinstance(self.watch, TrialWatch) else None

    @property
    def waiting(self) -> str:
        """Which change of the environment holds judgement up; empty if none does."""
        return self.watch.waiting

    def begin_trial(self, terms: Terms, promised: float | None = None) -> None:
        """Watch a model that has just been put in charge. `promised`: accuracy in the receipt of the one before it.

        What is meant for a trial of hours is scaled to a shorter one: how long a change of camera or light excuses a
        model, and how long an open suspicion may prolong the trial.
        """
        usual = self._settings if promised is None else self._settings.promised(promised)
        settle_s = min(usual.sense.settle_s, max(1.0, terms.trial_s / SETTLE_SHARE))
        self.watch = TrialWatch(
            replace(
                usual,
                least_s=terms.trial_s,
                least_frames=terms.trial_frames,
                least_pairs=min(usual.least_pairs, 2 * terms.trial_frames),
                longest_s=min(usual.longest_s, LONGEST * terms.trial_s),
                sense=replace(usual.sense, settle_s=settle_s),
            )
        )

    def stand(self) -> None:
        """Watch a model that is committed, from now on and without what was held against another."""
        self.watch = StandingWatch(self._standing)

    def observe(self, outcome: Outcome, cause: Cause, beside: Comparison | None) -> Verdict:
        """One frame as the model that runs answered it. `cause`: what drift says of the camera's changes; `beside`:
        what the model that runs along made of the same view. Returns the verdict that stands."""
        if outcome.scores is None and isinstance(outcome.view, View):
            return STAY  # safe mode: there is no model to watch
        camera = outcome.frame.camera
        sense = self._senses.setdefault(camera, EnvironmentSense(self._settings.sense))
        environment: Environment = sense.sense(outcome.view, cause is Cause.ENVIRONMENT)
        return self.watch.observe(evidence_of(outcome, beside), environment, beside.pairs if beside else ())


def evidence_of(outcome: Outcome, beside: Comparison | None) -> FrameEvidence:
    """What the guard is told of a frame."""
    scores = outcome.scores
    return FrameEvidence(
        at_s=outcome.frame.captured_monotonic_s,
        camera=outcome.frame.camera,
        usable=isinstance(outcome.view, View) and scores is not None,
        states=Counter(reading.state for reading in outcome.readings),
        infer_ms=_infer_ms(scores.ms) if scores is not None else 0.0,
        incumbent=beside.states if beside else {},
        incumbent_ms=beside.ms if beside else 0.0,
    )


def _infer_ms(ms: Mapping[str, float]) -> float:
    return sum(ms.values())
