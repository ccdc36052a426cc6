"""Outcomes for the tests of this room: a shelf whose slots tests name."""

from __future__ import annotations

import numpy as np

from edge_runtime.records import (
    ANSWERS,
    Event,
    Frame,
    Light,
    LightDecision,
    ModelId,
    Outcome,
    Reason,
    Registration,
    RegistrationStatus,
    Remark,
    Scores,
    SlotQuality,
    SlotReading,
    SlotStatus,
    State,
    Unusable,
    View,
)

MODEL = ModelId("shelf-occupancy", "1.0.0", "ab" * 32)
MS = {"registration": 3.123456, "light": 0.9, "crops": 1.1, "inference": 9.87654, "shelf": 0.2, "total": 16.4}


def frame(camera: str = "cam", at: float = 1_760_000_000.123456, n: int = 0) -> Frame:
    return Frame(camera, n, np.zeros((4, 4, 3), np.uint8), at, float(n), decode_ms=4.2)


def statuses(states: dict[str, State], at: float = 1_760_000_000.5) -> tuple[SlotStatus, ...]:
    return tuple(SlotStatus(slot, f"sku-{slot}", state, 0.987654, at) for slot, state in states.items())


def usable(
    states: dict[str, State],
    events: tuple[Event, ...] = (),
    camera: str = "cam",
    at: float = 1_760_000_000.123456,
    model: ModelId = MODEL,
    remarks: tuple[Remark, ...] = (),
    packs_px: float = 0.0,
) -> Outcome:
    n = len(states)
    ones = np.ones(n, np.float32)
    taken = frame(camera, at)
    registration = Registration(RegistrationStatus.OK, np.eye(3), 312, 0.8123456, packs_px=packs_px, remarks=remarks)
    light = Light(True, (1.1, 1.0, 0.9), 0.0812345, 0.0212345, 0.93, decision=LightDecision.APPLIED)
    view = View(
        taken, registration, light, np.zeros((n, 2, 2, 3), np.uint8), SlotQuality(ones, 0 * ones, ones), 1, 2, MS
    )
    scores = Scores(model, np.full((n, 3), 1 / 3, np.float32), 0 * ones, {})
    readings = tuple(SlotReading(s, x, 0.95, {a.value: 1 / 3 for a in ANSWERS}) for s, x in states.items())
    return Outcome(taken, view, scores, readings, statuses(states), events, MS)


def unusable(reason: Reason, states: dict[str, State], camera: str = "cam", at: float = 1_760_000_000.0) -> Outcome:
    taken = frame(camera, at)
    registration = Registration(RegistrationStatus.REFUSED, None)
    lost = Unusable(taken, reason, "why", registration, Light(False), {"gate": 0.4, "total": 0.5})
    return Outcome(taken, lost, None, (), statuses(states), (), {"gate": 0.4, "total": 0.5})


def slot_event(key: str, slot: str = "s1", camera: str = "cam") -> Event:
    return Event(key, "slot", camera, 1_760_000_000.25, slot, "stocked", "empty", 0.97)
