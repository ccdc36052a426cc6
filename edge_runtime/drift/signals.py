"""From an outcome to a fixed vector of signals. Two groups: what the camera and the light do, and what the products do.

Only what needs no label is here. A signal that the outcome does not hold is NaN, and is left out further on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from edge_runtime.records import Outcome, RegistrationStatus, Scores, State, View


class Group(StrEnum):
    RAIL = "rail"
    """Measured on what does not sell: moves with the camera and the light."""
    SLOT = "slot"
    """Measured on the slots: moves with the products, and with the camera and the light too."""


@dataclass(frozen=True, slots=True)
class Signal:
    name: str
    group: Group
    floor: float
    """The smallest spread that matters, in the signal's own unit."""


SIGNALS: tuple[Signal, ...] = (
    Signal("gain", Group.RAIL, 0.03),  # log of the mean gain: 3 %
    Signal("light_residual", Group.RAIL, 0.02),  # log units
    Signal("registration_residual", Group.RAIL, 0.10),  # reference pixels
    Signal("inliers", Group.RAIL, 0.10),  # log of the count: 10 %
    Signal("sharpness", Group.RAIL, 0.05),
    Signal("noise", Group.RAIL, 0.30),  # grey levels
    Signal("usable", Group.RAIL, 0.05),
    Signal("confidence", Group.SLOT, 0.01),
    Signal("entropy", Group.SLOT, 0.02),  # nats
    Signal("unknown", Group.SLOT, 0.03),  # shares of the slots from here on
    Signal("answered", Group.SLOT, 0.03),
    Signal("stocked", Group.SLOT, 0.05),
    Signal("low", Group.SLOT, 0.05),
    Signal("empty", Group.SLOT, 0.05),
)
NAMES = tuple(signal.name for signal in SIGNALS)
_INDEX = {name: index for index, name in enumerate(NAMES)}
_TINY = 1e-9


def signals_of(outcome: Outcome) -> NDArray[np.float64]:
    """(len(SIGNALS),) float64 in the order of SIGNALS; NaN where the outcome does not tell."""
    values = np.full(len(SIGNALS), np.nan)
    view = outcome.view
    found: dict[str, float] = {"usable": float(isinstance(view, View))}
    if view.registration.status is RegistrationStatus.OK:
        found["inliers"] = math.log(max(view.registration.inliers, 1))
        if view.registration.residual_px is not None:
            found["registration_residual"] = view.registration.residual_px
    if isinstance(view, View):
        found |= _rail(view)
        if outcome.scores is not None:
            found |= _slots(outcome, outcome.scores)
    for name, value in found.items():
        values[_INDEX[name]] = value if math.isfinite(value) else math.nan
    return values


def _rail(view: View) -> dict[str, float]:
    return {
        "gain": math.log(max(sum(view.light.gain) / 3, _TINY)),
        "light_residual": view.light.residual_before,
        "sharpness": view.sharpness,
        "noise": view.noise,
    }


def _slots(outcome: Outcome, scores: Scores) -> dict[str, float]:
    readings = outcome.readings
    if not readings or not len(scores.probabilities):
        return {}
    p = np.clip(scores.probabilities.astype(np.float64), _TINY, 1.0)
    states = [reading.state for reading in readings]
    share = {state: states.count(state) / len(states) for state in State}
    return {
        "confidence": float(p.max(1).mean()),
        "entropy": float(-(p * np.log(p)).sum(1).mean()),
        "unknown": share[State.UNKNOWN],
        "answered": share[State.STOCKED] + share[State.LOW] + share[State.EMPTY],
        "stocked": share[State.STOCKED],
        "low": share[State.LOW],
        "empty": share[State.EMPTY],
    }
