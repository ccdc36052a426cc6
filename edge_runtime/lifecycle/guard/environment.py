"""Do camera or light change right now? Asked of the picture, not of a model, so that no model is blamed for them.

Only changes count. A camera that was knocked last week, a lamp that is dim for good: both models see the same picture,
and the new one has to live with it.
"""

from __future__ import annotations

import math

from edge_runtime.lifecycle.guard.settings import SenseSettings
from edge_runtime.lifecycle.guard.values import Environment
from edge_runtime.records import LightDecision, Unusable, View

_TINY = 1e-6


class EnvironmentSense:
    """One camera. Feed it each view; it remembers what is usual."""

    def __init__(self, settings: SenseSettings) -> None:
        self._settings = settings
        self._usual: tuple[float, float, float] | None = None
        self._decision: LightDecision | None = None

    def sense(self, view: View | Unusable, drifting: bool = False) -> Environment:
        """What this view says. `drifting`: the drift monitor names the environment as the cause of a change."""
        if isinstance(view, Unusable):
            return Environment.UNKNOWN
        now = _signals(view)
        before, decision = self._usual or now, self._decision or view.light.decision
        self._decision = view.light.decision
        follow = self._settings.follow
        self._usual = tuple((1 - follow) * b + follow * n for b, n in zip(before, now, strict=True))  # type: ignore[assignment]
        if view.registration.moved or abs(now[2] - before[2]) > self._settings.sharpness_step:
            return Environment.CAMERA
        if self._light_changed(before, now) or _lost_light(decision, view.light.decision) or drifting:
            return Environment.LIGHT
        return Environment.STEADY

    def _light_changed(self, before: tuple[float, float, float], now: tuple[float, float, float]) -> bool:
        limits = self._settings
        return abs(now[0] - before[0]) > limits.gain_step or abs(now[1] - before[1]) > limits.residual_step


def _signals(view: View) -> tuple[float, float, float]:
    gain = sum(view.light.gain) / 3 if view.light.applied else 1.0
    sharpness = view.sharpness if math.isfinite(view.sharpness) else 0.0
    return math.log(max(gain, _TINY)), view.light.residual_before, math.log(max(sharpness, _TINY))


def _lost_light(before: LightDecision, now: LightDecision) -> bool:
    bad = (LightDecision.REFUSED, LightDecision.UNSEEN)
    return now in bad and before not in bad


class Calm:
    """How long nothing moved, over all cameras' reports of one camera. A change vetoes for a while after it."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._until_s = -math.inf
        self._cause = ""

    def note(self, environment: Environment, at_s: float) -> bool:
        """Take one report; True if nothing stands against judging a model now."""
        if environment in (Environment.CAMERA, Environment.LIGHT):
            self._until_s = at_s + self._settle_s
            self._cause = str(environment)
        return environment is Environment.STEADY and at_s >= self._until_s

    def cause_at(self, now_s: float) -> str:
        """What stands against judging now; empty if nothing does. The camera need not have reported since."""
        return self._cause if now_s < self._until_s else ""
