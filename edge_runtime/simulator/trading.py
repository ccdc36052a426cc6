"""A store's hours at their own pace: what a camera sees that takes a picture every half a minute.

Stock sells off slot by slot and is filled up again, shoppers come by chance and stay as long as they like, a trolley is
parked, somebody restocks and stands in the way, the light is never quite the same. Shelves, packs, places and times
all follow from one seed. Durations are log-normal: most are short, some are very long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge_runtime.records import State
from edge_runtime.simulator.bay import SlotPlan, StockLevel, polygon
from edge_runtime.simulator.day import Day, knocked
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.plans import commissioning
from edge_runtime.simulator.script import NEVER, Script, StoreEvent, Sun, Walk
from edge_runtime.simulator.shoppers import Occluder
from edge_runtime.simulator.stocking import commissioned_stock, low_level, swapped

HOUR_S = 3600.0
_LEAST_S = 240.0
"""No state is shorter."""
_MEDIAN_S = {State.STOCKED: 1.7 * HOUR_S, State.LOW: 0.7 * HOUR_S, State.EMPTY: 0.6 * HOUR_S}
_VISITS_PER_HOUR = 16.0
_STAY_S = 25.0
_RESETS = 2
"""Slots in which another product is put for a promotion, over the day."""


def store_day(seed: int, hours: float = 4.0, size: tuple[int, int] = (960, 720)) -> Day:
    """A bay that no model was trained on, as its camera was commissioned, and `hours` of trade before it."""
    rng = np.random.default_rng((seed, 40))
    bay = random_bay(rng, "heldout", f"store{seed}", size, faced_up=bool(rng.random() < 0.5))
    return Day(bay, commissioning(rng, bay), seed, length_s=hours * HOUR_S, course=_course)


def _course(day: Day, number: int) -> Script:
    rng = np.random.default_rng((day.seed, 41, number))
    length = day.length_s
    start = commissioned_stock(np.random.default_rng((day.seed, 3)), day.bay)
    events: list[StoreEvent] = []
    reset = {str(s) for s in rng.permutation([plan.id for plan in day.bay.slots])[:_RESETS]}
    for plan in day.bay.slots:
        sold = list(_reset(rng, day, plan) if plan.id in reset else _sold(rng, day, plan))
        start[plan.id] = sold[0].level or start[plan.id]
        events += sold[1:]
    walks = [*_visits(rng, length), *_restockers(rng, day, events)]
    events += [StoreEvent(walk.start_s, "shopper", detail=walk.thing.kind) for walk in walks]
    tube_off = length * float(rng.uniform(0.1, 0.7)) if rng.random() < 0.5 else NEVER
    bump = length * float(rng.uniform(0.15, 0.85)) if rng.random() < 0.6 else NEVER
    events += [StoreEvent(tube_off, "lamp", detail="a tube dies")] if tube_off < NEVER else []
    events += [StoreEvent(bump, "bump", detail="the camera is knocked")] if bump < NEVER else []
    return Script(
        start,
        tuple(sorted(events, key=lambda event: event.at_s)),
        tuple(sorted(walks, key=lambda walk: walk.start_s)),
        tube_off,
        tube_off + HOUR_S,
        float(rng.choice([0.0, math.pi])),
        length * float(rng.uniform(0.3, 0.9)),
        bump,
        knocked(rng, day),
        _sun(rng, length) if rng.random() < 0.4 else None,
        exposure_jitter_ev=float(rng.uniform(0.02, 0.1)),
    )


def _sold(rng: np.random.Generator, day: Day, plan: SlotPlan) -> Iterator[StoreEvent]:
    """One slot's day: the first event, at 0, is what it opens with."""
    state = State(rng.choice([State.STOCKED, State.LOW, State.EMPTY], p=[0.78, 0.12, 0.1]))
    full = StockLevel(seed=int(rng.integers(2**20)))
    at, kind = 0.0, "sale"
    while at < day.length_s:
        level = _level(rng, day, plan, full, state)
        state = level.state
        yield StoreEvent(at, kind, plan.id, level)
        stays = max(_LEAST_S, float(_MEDIAN_S[state] * rng.lognormal(0, 0.6)))
        if rng.random() < 0.5:
            stirred = _stirred(rng, day, plan, level)
            yield StoreEvent(min(at + stays * float(rng.uniform(0.2, 0.8)), day.length_s), "sale", plan.id, stirred)
        at += stays
        before, state = state, _next_state(rng, state)
        kind = "restock" if state is State.STOCKED and before is not State.STOCKED else "sale"
        if kind == "restock":
            full = StockLevel(seed=int(rng.integers(2**20)), setback=float(rng.choice([0.0, rng.uniform(0, 0.015)])))


def _next_state(rng: np.random.Generator, state: State) -> State:
    if state is State.STOCKED:
        return State.LOW if rng.random() < 0.75 else State.EMPTY
    if state is State.LOW:
        return State.EMPTY if rng.random() < 0.6 else State.STOCKED
    return State.STOCKED


def _level(rng: np.random.Generator, day: Day, plan: SlotPlan, full: StockLevel, state: State) -> StockLevel:
    """The wanted level; `low` turns into `empty` where the commissioned camera could not see the rest."""
    if state is State.EMPTY:
        return StockLevel(State.EMPTY)
    if state is State.STOCKED:
        return full
    low = low_level(day.bay, plan, full, float(rng.uniform(0.2, 0.6)) * day.bay.boards[plan.row].depth)
    return low if low.state is State.LOW else StockLevel(State.EMPTY)


def _stirred(rng: np.random.Generator, day: Day, plan: SlotPlan, level: StockLevel) -> StockLevel:
    """Somebody took a pack or moved things; the state is still the same."""
    if level.state is State.EMPTY:
        return level
    if level.state is State.LOW:
        deeper = low_level(day.bay, plan, StockLevel(seed=level.seed), 0.6 * day.bay.boards[plan.row].depth)
        return deeper if deeper.state is State.LOW else level
    if plan.facing.count >= 3:
        return replace(level, missing=frozenset({int(rng.integers(plan.facing.count))}))
    if plan.facing.stack > 1:
        return replace(level, top_gone=int(rng.integers(1, plan.facing.stack)))
    return replace(level, seed=int(rng.integers(2**20)))


def _reset(rng: np.random.Generator, day: Day, plan: SlotPlan) -> Iterator[StoreEvent]:
    """Full all day, but with another product from some time on."""
    full = StockLevel(seed=int(rng.integers(2**20)))
    yield StoreEvent(0.0, "restock", plan.id, full)
    other = swapped(rng, day.bay, plan, "heldout", 0.4)
    at = day.length_s * float(rng.uniform(0.2, 0.7))
    yield StoreEvent(at, "reset", plan.id, replace(full, other=other), "another product for a promotion")


def _visits(rng: np.random.Generator, length: float) -> Iterator[Walk]:
    at = 0.0
    while (at := at + float(rng.exponential(HOUR_S / _VISITS_PER_HOUR))) < length:
        kind = str(rng.choice(["person", "person", "person", "arm", "trolley"]))
        stay = float(np.clip(_STAY_S * rng.lognormal(0, 0.9), 6.0, 300.0))
        if kind == "trolley" and rng.random() < 0.3:
            stay = float(rng.uniform(180.0, 700.0))
        yield _walk(rng, kind, at, stay, float(rng.uniform(0.05, 0.95)))


def _walk(rng: np.random.Generator, kind: str, at: float, stay: float, x: float, y: float | None = None) -> Walk:
    tops = {"person": (0.0, 0.4), "arm": (0.1, 0.8), "trolley": (0.45, 0.8)}
    sizes = {"person": (0.9, 1.6), "arm": (0.5, 1.0), "trolley": (0.4, 0.7)}
    y = float(rng.uniform(*tops[kind])) if y is None else y
    thing = Occluder(kind, -1.0, y, float(rng.uniform(*sizes[kind])), 0.0, int(rng.integers(2**31)))
    return Walk(at, at + stay, thing, x, bool(rng.random() < 0.5), min(0.35, 4.0 / stay))


def _restockers(rng: np.random.Generator, day: Day, events: list[StoreEvent]) -> Iterator[Walk]:
    """Whoever fills a slot up mostly stands before it, until a little after."""
    plans = {plan.id: plan for plan in day.bay.slots}
    camera = day.commissioned.camera
    for event in events:
        if event.kind != "restock" or rng.random() < 0.4:
            continue
        x, y = np.mean(polygon(day.bay, plans[event.slot], camera), axis=0) / camera.size
        began = event.at_s - float(rng.uniform(20, 150))
        stay = event.at_s + float(rng.uniform(5, 40)) - began
        x = float(x) + float(rng.normal(0, 0.08))
        yield _walk(rng, "person", began, stay, x)
        yield _walk(rng, "arm", event.at_s - 10, 15.0, x, float(y))


def _sun(rng: np.random.Generator, length: float) -> Sun:
    start = length * float(rng.uniform(0.05, 0.6))
    return Sun(
        start, start + float(rng.uniform(0.7, 2.0)) * HOUR_S, float(rng.uniform(0.25, 0.5)), float(rng.normal(0, 0.3))
    )
