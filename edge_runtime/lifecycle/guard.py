"""When a model must go because its starts end in crashes. Pure; whoever holds the store acts on the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.lifecycle.clock import Instant, age_s
from edge_runtime.lifecycle.state_file import Start

MAX_CRASHES = 3
CRASH_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the running model must give way, and the reason to record if so."""

    fall_back: bool
    reason: str = ""


STAY = Verdict(False)


def judge_starts(starts: Sequence[Start], sha256: str, now: Instant) -> Verdict:
    """Starts of this model that were not followed by healthy running: three within ten minutes are enough."""
    recent = sum(start.sha256 == sha256 and age_s(start.at, now) <= CRASH_WINDOW_S for start in starts)
    if recent < MAX_CRASHES:
        return STAY
    return Verdict(True, f"{recent} starts within {CRASH_WINDOW_S / 60:.0f} minutes without healthy running")
