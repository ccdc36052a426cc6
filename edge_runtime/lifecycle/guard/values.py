"""What the guard is told, and what it says. Frozen values; nothing here knows a clock, a model or a disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edge_runtime.records import ANSWERS, State


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the running model must give way, and the reason to record if so."""

    fall_back: bool
    reason: str = ""
    rule: str = ""
    """Short name of the rule that said so (`nan`, `collapse`, `disputes` ...), for telemetry."""


STAY = Verdict(False)


class Environment(StrEnum):
    """What the picture itself says about a frame, before any model looks at it."""

    STEADY = "steady"
    CAMERA = "camera"
    """The camera moved, or its view can not be found."""
    LIGHT = "light"
    """The light changed, or can not be matched."""
    UNKNOWN = "unknown"
    """Nothing can be said: the frame is unusable or missing."""


@dataclass(frozen=True, slots=True)
class FrameEvidence:
    """One frame of one camera as the model on trial answered it."""

    at_s: float
    """Monotonic clock, seconds."""
    camera: str
    usable: bool
    """False where the frame gave no view: then nothing else of it counts, save `fault`."""
    states: Mapping[State, int] = field(default_factory=dict)
    """Readings by state of the model on trial; they sum to the number of slots."""
    infer_ms: float = 0.0
    fault: str = ""
    """Why the model itself failed on this frame (NaN, wrong shape, runtime error); empty if it answered."""
    incumbent: Mapping[State, int] = field(default_factory=dict)
    """Readings by state of the model that ran before: on the same view if it runs along, else its newest ones; empty if
    there are none."""
    incumbent_ms: float = 0.0
    """The incumbent's time on this view; 0 where it did not run along."""

    @property
    def slots(self) -> int:
        return sum(self.states.values())

    @property
    def answered(self) -> int:
        """Slots that the model on trial answered."""
        return sum(self.states.get(state, 0) for state in ANSWERS)


@dataclass(frozen=True, slots=True)
class SlotPair:
    """What both models say of one slot in one view. Agreements belong here as much as disagreements."""

    camera: str
    slot: str
    mine: State
    """Of the model on trial."""
    theirs: State
    """Of the incumbent."""
    mine_confidence: float = 1.0
    theirs_confidence: float = 1.0
    novelty: float = 0.0
    """0: the slot's pixels are as in the pair before; 1: they surely differ, or there was none. `shelf.witness` measures."""
    likeness: float | None = None
    """Correlation of the slot's look with the reference picture's, -1..1; None where not measured."""

    @property
    def both_answer(self) -> bool:
        return self.mine in ANSWERS and self.theirs in ANSWERS

    @property
    def comparable(self) -> bool:
        """At least one answers, and neither says that something stands in front."""
        states = (self.mine, self.theirs)
        return State.BLOCKED not in states and states != (State.UNKNOWN, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Somebody looked at the shelf and says whether the model on trial was right about one slot."""

    at_s: float
    camera: str
    slot: str
    right: bool
    theirs_right: bool | None = None
    """The same of the incumbent, where its answer to the same picture is known."""
    picked: bool = False
    """The slot was picked because the models differ on it; else slots are labelled whatever the models say."""
