"""The values of a store's day: what happens when, who walks by, and all that decides one frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_runtime.records import State
from edge_runtime.simulator.bay import Stock, StockLevel
from edge_runtime.simulator.geometry import CameraPose
from edge_runtime.simulator.light import Lighting
from edge_runtime.simulator.shoppers import Occluder

NEVER = math.inf
"""When something does not happen on a day."""


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """Something that happened."""

    at_s: float
    kind: str
    """sale, restock, reset, shopper, lamp or bump."""
    slot: str = ""
    level: StockLevel | None = None
    """What stands in the slot from now on."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SlotTruth:
    """What a person who looks at the picture should say about a slot, and how much of it is hidden."""

    state: State
    covered: float
    stock: State
    """What stands there even if it is hidden."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A shopper who crosses the picture, stops in front of the shelf, and goes on."""

    start_s: float
    end_s: float
    thing: Occluder
    stops_at: float
    """Share of the picture's width."""
    leftwards: bool
    hurry: float = 0.35
    """Share of the time that it takes to come, and again to go."""

    def at(self, t: float) -> Occluder | None:
        if not self.start_s <= t < self.end_s:
            return None
        part = (t - self.start_s) / (self.end_s - self.start_s)
        enters, leaves = (1.25, -0.25) if self.leftwards else (-0.25, 1.25)
        if part < self.hurry:
            x = enters + (self.stops_at - enters) * part / self.hurry
        elif part < 1 - self.hurry:
            x = self.stops_at
        else:
            x = self.stops_at + (leaves - self.stops_at) * (part - 1 + self.hurry) / self.hurry
        return replace(self.thing, x=x, phase=8 * x if x != self.stops_at else 1.0)


@dataclass(frozen=True, slots=True)
class Sun:
    """A shadow with a hard edge that crosses the bay in the course of hours."""

    start_s: float
    end_s: float
    depth: float
    """Share of the light that is missing inside."""
    slant: float
    """How far the edge leans, share of the picture's width."""

    def at(self, t: float) -> tuple[tuple[float, float], ...]:
        """The shadow's corners in shares of the picture; none while there is no shadow."""
        if not self.start_s <= t < self.end_s:
            return ()
        edge = (t - self.start_s) / (self.end_s - self.start_s) * (1.1 + abs(self.slant)) - 0.05
        return ((-0.5, -0.1), (edge + self.slant / 2, -0.1), (edge - self.slant / 2, 1.1), (-0.5, 1.1))


@dataclass(frozen=True, slots=True)
class Script:
    """One day's course, times from its own beginning."""

    start: Mapping[str, StockLevel]
    events: tuple[StoreEvent, ...]
    walks: tuple[Walk, ...]
    tube_off_s: float
    tube_on_s: float
    tube_side: float
    dusk_s: float
    bump_s: float
    bumped: CameraPose
    sun: Sun | None = None
    exposure_jitter_ev: float = 0.0
    """How much a camera that exposes by itself varies from frame to frame (one sigma)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """All that decides one frame."""

    stock: Stock
    camera: CameraPose
    light: Lighting
    occluders: tuple[Occluder, ...]
