"""Which starts of a model count as crashes, and when they are too many. Pure.

A start that an orderly stop followed is not in the list at all. A start after which the model ran well counts only if
the process came back within the same boot: then it died. If the device was booted in between, the power went, and
that is not the model's doing. A start without healthy running counts either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.guard import CRASH_WINDOW_S, MAX_CRASHES, Verdict, judge_starts
from edge_runtime.lifecycle.state_file import Start


def crashed_starts(starts: Sequence[Start], now: Instant) -> tuple[Start, ...]:
    """`starts` is all starts of one model, oldest first; `now` is the start that is about to be made."""
    followers = [*(start.at for start in starts), now][1:]
    return tuple(
        start
        for start, after in zip(starts, followers, strict=True)
        if not start.healthy or start.at.boot == after.boot
    )


FACTORY_REST_S = 3600.0
"""After this a factory bundle that was barred for crashes is tried again, at a start: when even the factory's crash the
models are hardly the cause, and a device must not need a person to come out of safe mode."""


def judge_crashes(starts: Sequence[Start], sha256: str, trial: bool, now: Instant) -> Verdict:
    """Three crashes within ten minutes are enough; in a trial three at any distance.

    A proven model is not given up for a crash a day. A model in trial has shown nothing yet and a better known one
    waits, so its crashes do not age while the trial lasts.
    """
    crashes = crashed_starts([start for start in starts if start.sha256 == sha256], now)
    verdict = judge_starts(crashes, sha256, now)
    if verdict.fall_back:
        within = f"{CRASH_WINDOW_S / 60:.0f} minutes"
        return replace(verdict, reason=f"{MAX_CRASHES} starts within {within} ended in a crash")
    if trial and len(crashes) >= MAX_CRASHES:
        return Verdict(True, f"{len(crashes)} starts of its trial ended in a crash")
    return verdict
