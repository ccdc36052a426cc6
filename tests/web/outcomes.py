"""Outcomes for the web room's tests: a painted shelf of eight slots seen a little from the side, made without any other room."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_runtime.records import (
    Event,
    Frame,
    Image,
    Layout,
    Light,
    LightDecision,
    ModelId,
    Outcome,
    Reason,
    Registration,
    RegistrationStatus,
    Remark,
    Scores,
    Slot,
    SlotQuality,
    SlotReading,
    SlotStatus,
    State,
    Unusable,
    View,
)

SIZE = (640, 480)
STATES = (
    State.STOCKED,
    State.STOCKED,
    State.LOW,
    State.EMPTY,
    State.BLOCKED,
    State.STOCKED,
    State.UNKNOWN,
    State.STOCKED,
)
MODEL = ModelId("painted", "1.2.3", "ab" * 32)
SEEN_AS = cv2.getPerspectiveTransform(
    np.float32([[0, 0], [639, 0], [639, 479], [0, 479]]), np.float32([[60, 40], [600, 10], [630, 470], [30, 440]])
)


def layout(folder: Path = Path()) -> Layout:
    slots = []
    for k in range(8):
        x, y = 20.0 + 150 * (k % 4), 20.0 + 220 * (k // 4)
        slots.append(Slot(f"r{k // 4}s{k % 4}", f"sku-{k}", ((x, y), (x + 145, y), (x + 145, y + 200), (x, y + 200))))
    return Layout(folder / "layout.json", folder / "reference.jpg", SIZE, tuple(slots))


def shelf() -> Image:
    picture = np.full((SIZE[1], SIZE[0], 3), (60, 70, 80), np.uint8)
    for k, slot in enumerate(layout().slots):
        (x, y), _, (right, bottom), _ = slot.polygon
        cv2.rectangle(
            picture, (int(x) + 8, int(y) + 8), (int(right) - 8, int(bottom) - 8), (30 * k, 120, 255 - 30 * k), -1
        )
    return picture


def crops(colour: int = 128) -> Image:
    return np.full((8, 32, 32, 3), colour, np.uint8)


def frame(sequence: int = 1, captured_at: float = 1_700_000_000.0) -> Frame:
    seen = cv2.warpPerspective(shelf(), SEEN_AS, SIZE)
    return Frame("bay-1", sequence, seen, captured_at, float(sequence))


def readings() -> tuple[SlotReading, ...]:
    return tuple(
        SlotReading(slot.id, state, 0.9, {"stocked": 0.9, "low": 0.06, "empty": 0.04})
        for slot, state in zip(layout().slots, STATES, strict=True)
    )


def statuses() -> tuple[SlotStatus, ...]:
    return tuple(
        SlotStatus(slot.id, slot.sku, state, 0.97, 1_700_000_000.0)
        for slot, state in zip(layout().slots, STATES, strict=True)
    )


def good(sequence: int = 1, buffer: Image | None = None) -> Outcome:
    taken = frame(sequence)
    registration = Registration(
        RegistrationStatus.OK, SEEN_AS.astype(np.float64), 140, 0.6, packs_px=8.25, remarks=(Remark.CAMERA_MOVED,)
    )
    ones = np.ones(8, np.float32)
    view = View(
        taken,
        registration,
        Light(True, (1.1, 1.0, 0.9), 0.3, 0.05, 0.92, decision=LightDecision.APPLIED),
        crops() if buffer is None else buffer,
        SlotQuality(ones, 0 * ones, ones),
        0.9,
        2.1,
        {"register": 4.0},
    )
    scores = Scores(MODEL, np.tile(np.float32([0.9, 0.06, 0.04]), (8, 1)), 0 * ones, {"infer": 5.0})
    event = Event(f"e{sequence}", "slot", "bay-1", taken.captured_at, "r0s3", "stocked", "empty", 0.96)
    return Outcome(taken, view, scores, readings(), statuses(), (event,), {"register": 4.0, "infer": 5.0, "total": 9.4})


def missing(sequence: int = 3) -> Outcome:
    """What a camera that is away leads to."""
    taken = Frame("bay-1", sequence, np.zeros((16, 16, 3), np.uint8), 1_700_000_100.0, float(sequence))
    view = Unusable(
        taken, Reason.NO_CAMERA, "no picture for 20 s", Registration(RegistrationStatus.REFUSED, None), Light(False), {}
    )
    unknown = tuple(SlotReading(s.id, State.UNKNOWN, 0.0, {}, "no_camera") for s in layout().slots)
    return Outcome(taken, view, None, unknown, (), (), {})


def refused(sequence: int = 2) -> Outcome:
    taken = frame(sequence)
    registration = Registration(RegistrationStatus.REFUSED, None, 9)
    detail = "9 inliers, at least 40 were expected"
    view = Unusable(taken, Reason.WRONG_SCENE, detail, registration, Light(False), {"register": 30.0})
    unknown = tuple(SlotReading(s.id, State.UNKNOWN, 0.0, {}, "wrong_scene") for s in layout().slots)
    return Outcome(taken, view, None, unknown, (), (), {"register": 30.0, "total": 30.0})
