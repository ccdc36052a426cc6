"""When a model must give way: crashes, immediate rules, and evidence from labels and from disagreement.

Pure: no clock, no I/O, no model. Whoever holds the store and the loop feeds it and acts on its verdicts.
"""

from __future__ import annotations

from edge_runtime.lifecycle.guard.settings import TrialSettings
from edge_runtime.lifecycle.guard.starts import CRASH_WINDOW_S, MAX_CRASHES, judge_starts
from edge_runtime.lifecycle.guard.trial import StandingWatch, TrialWatch
from edge_runtime.lifecycle.guard.values import STAY, Environment, Feedback, FrameEvidence, SlotPair, Verdict

__all__ = [
    "CRASH_WINDOW_S",
    "MAX_CRASHES",
    "STAY",
    "Environment",
    "Feedback",
    "FrameEvidence",
    "SlotPair",
    "StandingWatch",
    "TrialSettings",
    "TrialWatch",
    "Verdict",
    "judge_starts",
]
