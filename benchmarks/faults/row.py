"""One line of the campaign's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, injected at many points, and at how many of them the device did what it must."""

    fault: int
    """Number of the fault: the first column of docs/faults.md."""
    what: str
    """What was done, in words."""
    points: int
    held: int
    note: str = ""
    """What came of the points, or the first one that did not hold."""
