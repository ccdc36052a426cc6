"""The frozen values that flow through the runtime, in the order in which a frame meets them.

`Frame -> View | Unusable -> Scores -> SlotReading -> SlotStatus, Event`. Values go down, never back up.
Pictures are BGR uint8 (OpenCV's order) throughout; points are (x, y) in pixels, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(height, width, 3) BGR uint8."""
Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Top left, top right, bottom right, bottom left as seen by the commissioned camera."""


class State(StrEnum):
    """What a slot looks like. Only the first three are answers about stock."""

    STOCKED = "stocked"
    LOW = "low"
    EMPTY = "empty"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


ANSWERS = (State.STOCKED, State.LOW, State.EMPTY)
"""The order of the columns of `Scores.probabilities`."""


class Reason(StrEnum):
    """Why a whole frame can not be used, or why a slot is `unknown`."""

    BLACK = "black"
    OVEREXPOSED = "overexposed"
    FROZEN = "frozen"
    COVERED = "covered"
    BLURRED = "blurred"
    WRONG_SCENE = "wrong_scene"
    TOO_SMALL = "too_small"
    NO_MODEL = "no_model"
    NO_CAMERA = "no_camera"
    FAILED = "failed"
    """The work on the frame itself failed; the camera's state says how."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One facing of one product: where it is in the reference picture."""

    id: str
    sku: str
    polygon: Quad


@dataclass(frozen=True, slots=True)
class Layout:
    """One camera's planogram: the reference picture and its slots (`layout.read_layout` makes it)."""

    path: Path
    reference: Path
    image_size: tuple[int, int]
    """(width, height) of the reference picture in pixels."""
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class CanvasSpec:
    """The picture of the whole shelf that a detector wants (`manifest.Look` says what each means)."""

    size: tuple[int, int]
    """(width, height) of one tile in pixels."""
    tiles: tuple[int, int] = (1, 1)
    """(columns, rows)."""
    overlap: float = 0.0
    """Share of a tile's side."""
    letterbox: bool = False
    """Keep the aspect and pad; else stretch."""
    centred: bool = False
    """Pad on both sides; else right and below."""
    pad: tuple[int, int, int] = (114, 114, 114)
    """Blue, green, red."""
    slots_only: bool = False
    """The rectangle around the slots instead of the whole reference picture."""
    margin: float = 0.0
    """Added on each side of that rectangle, as a share of its own width and height."""


@dataclass(frozen=True, slots=True)
class CropSpec:
    """The slot crops that a model wants: (width, height) in pixels, and how much shelf to see around the slot."""

    size: tuple[int, int]
    margin: float
    """Added on each side, as a share of the slot's own width and height."""
    canvas: CanvasSpec | None = None
    """What a detector looks at besides; a model that looks at crops alone pays nothing for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """The normalized view as one picture, or as tiles of one size."""

    pixels: Image
    """(tiles, height, width, 3) BGR uint8, row by row. A buffer of the normalizer: valid until its next call."""
    places: NDArray[np.float64]
    """(tiles, 4) x0, y0, sx, sy: a corner at (x, y) of a tile, pixel edges at integers, lies at (x0 + sx x, y0 + sy y) of
    the reference, pixel edges at integers there too (a point of the reference plus one half)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One captured picture. `pixels` must not be written to after the frame is made."""

    camera: str
    sequence: int
    pixels: Image
    captured_at: float
    """Wall clock, seconds since 1970 (may jump)."""
    captured_monotonic_s: float
    """Monotonic clock of this process, seconds (never jumps); for recordings: time in the recording."""
    decode_ms: float = 0.0


class RegistrationStatus(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    OFF = "off"


class Remark(StrEnum):
    """What is to be said about a camera's view although it can be used."""

    CAMERA_MOVED = "camera_moved"
    """The camera does not stand, or does not look, where it was commissioned; the slots were found all the same."""
    PARTLY_OUT_OF_VIEW = "partly_out_of_view"
    """Some slots lie outside the picture, wholly or in part; those that do are `unknown`, for `outside`."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Where the reference picture lies in the frame."""

    status: RegistrationStatus
    homography: NDArray[np.float64] | None
    """3x3, reference pixels -> frame pixels; None when refused."""
    inliers: int = 0
    residual_px: float | None = None
    """Median reprojection error of the inliers in reference pixels."""
    moved: bool = False
    """True in the frame in which the camera was found to have moved against the last registration."""
    detail: str = ""
    packs_px: float = 0.0
    """Median shift of the packs against the rail's plane (parallax), in reference pixels, that the crops make up for;
    0 where the camera stands where it was commissioned, or where too few packs agree to tell."""
    remarks: tuple[Remark, ...] = ()


class LightDecision(StrEnum):
    """What the gate of the light match said."""

    OFF = "off"
    """Switched off, or there was no view to look at."""
    COMMISSIONED = "commissioned"
    """The light is the commissioned one: nothing to do."""
    APPLIED = "applied"
    REFUSED = "refused"
    """No field explains the difference well enough: the crops are as the camera gave them."""
    UNSEEN = "unseen"
    """Too little of what does not sell is neither black nor clipped."""


@dataclass(frozen=True, slots=True)
class Light:
    """What the light match found on structure that does not sell, and whether it was applied."""

    applied: bool
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Mean multiplicative correction for B, G, R."""
    residual_before: float = 0.0
    """Robust spread of log(reference / frame) over static samples; 0 is identical light."""
    residual_after: float = 0.0
    agreement: float = 1.0
    """Share of the static samples that agree after the correction."""
    detail: str = ""
    decision: LightDecision = LightDecision.OFF
    usable: float = 1.0
    """Share of the static samples in the frame that are neither black nor clipped."""
    scatter: float = 0.0
    """Robust sigma, in levels of the reference, of what is left at the static samples: noise too coarse to be seen within
    one, as an enlarged or heavily compressed picture has it."""


@dataclass(frozen=True, slots=True, eq=False)
class SlotQuality:
    """How well each slot can be seen; arrays of shape (slots,), float32."""

    inside: NDArray[np.float32]
    """Share of the slot's area inside the frame, 0..1."""
    saturated: NDArray[np.float32]
    """Share of the slot itself, without the crop's margin, at the sensor's ceiling, 0..1."""
    density: NDArray[np.float32]
    """Frame pixels per reference pixel along a side; 1 is the commissioned resolution. In a picture smaller than the
    reference, pixels that the crop would not have held are not missed."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A frame normalized to the reference: registered, relit, resampled into slot crops."""

    frame: Frame
    registration: Registration
    light: Light
    crops: Image
    """(slots, height, width, 3) BGR uint8, in the order of the layout. A buffer of the normalizer: valid until its next call."""
    quality: SlotQuality
    sharpness: float
    """Sharpness of static structure against the reference's own; 1 is as sharp as at commissioning."""
    noise: float
    """Noise sigma in grey levels, measured on flat structure."""
    ms: Mapping[str, float]
    """Milliseconds by stage."""
    canvas: Canvas | None = None
    """The view as a picture, if the model looks at one (a detector); made with the same registration, lens, plane and light."""


@dataclass(frozen=True, slots=True, eq=False)
class Unusable:
    """A frame that must not be answered from, and why. An expected value, not an error."""

    frame: Frame
    reason: Reason
    detail: str
    registration: Registration
    light: Light
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelId:
    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Calibrated model output for every slot of one view."""

    model: ModelId
    probabilities: NDArray[np.float32]
    """(slots, 3) over ANSWERS; each row sums to one."""
    blocked: NDArray[np.float32]
    """(slots,) probability that something stands in front of the slot."""
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SlotReading:
    """One slot in one frame, on its own."""

    slot: str
    state: State
    confidence: float
    scores: Mapping[str, float]
    reason: str = ""
    """Why the state is `unknown` or `blocked`; empty otherwise."""


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """One slot over time: the state that is published."""

    slot: str
    sku: str
    state: State
    confidence: float
    since: float
    """Wall clock of the capture at which the state began."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A slot went from one state to another, or something happened to a camera or a model."""

    id: str
    """Unique and stable: the same event sent twice has the same id."""
    kind: str
    """`slot`, `camera`, `model`, `drift`."""
    camera: str
    at: float
    """Wall clock of the capture that caused it."""
    slot: str = ""
    was: str = ""
    now: str = ""
    confidence: float = 0.0
    detail: Mapping[str, str | float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """All that one frame led to: what telemetry, the local view and drift read."""

    frame: Frame
    view: View | Unusable
    scores: Scores | None
    readings: tuple[SlotReading, ...]
    statuses: tuple[SlotStatus, ...]
    events: tuple[Event, ...]
    ms: Mapping[str, float]
    """Milliseconds by stage, `total` among them."""
