"""What the detectors of this room have in common: one verb, finite numbers, a state that survives a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

Saved = Mapping[str, float]
"""A detector's state as plain numbers: what a JSON file can hold."""


class Direction(StrEnum):
    STEADY = "steady"
    UP = "up"
    DOWN = "down"


class Detector(Protocol):
    """A stream of numbers in, alarms out. Knows no clock, no log, no file."""

    def update(self, value: float) -> Direction:
        """Take the next value; UP or DOWN is an alarm. Raises ValueError for what is not a finite number."""
        ...

    def reset(self) -> None:
        """As if it were new."""
        ...

    def to_dict(self) -> dict[str, float]: ...


def finite(value: float) -> float:
    """`value` as a float. Raises ValueError unless it is a finite number: a detector that has met NaN never recovers."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number; leave out what could not be measured")
    return number
