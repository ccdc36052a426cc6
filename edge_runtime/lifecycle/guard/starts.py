"""When a model must go because its starts end in crashes. Pure; whoever holds the store acts on the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.lifecycle.clock import Instant, age_s
from edge_runtime.lifecycle.guard.values import STAY, Verdict
from edge_runtime.lifecycle.state_file import Start

MAX_CRASHES = 3
CRASH_WINDOW_S = 600.0


def judge_starts(starts: Sequence[Start], sha256: str, now: Instant) -> Verdict:
    """Starts of this model that were not followed by healthy running: three within ten minutes are enough.

    No environment excuses a crash: a picture that kills a process kills the next process too.
    """
    recent = sum(start.sha256 == sha256 and age_s(start.at, now) <= CRASH_WINDOW_S for start in starts)
    if recent < MAX_CRASHES:
        return STAY
    reason = f"{recent} starts within {CRASH_WINDOW_S / 60:.0f} minutes without healthy running"
    return Verdict(True, reason, "crashes")
