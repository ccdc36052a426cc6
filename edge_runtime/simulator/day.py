"""A store's day as a script: sales, restocks, a promotion reset, shoppers, lamps, dusk, a knock against the camera.

Time is seconds since the day began; `Day.speed` compresses it. A day that is over is followed by the next one,
with other events from the same seed. Everything is a pure function of the seed and the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from edge_runtime.records import State
from edge_runtime.simulator.bay import Bay, StockLevel
from edge_runtime.simulator.geometry import CameraPose, orbited
from edge_runtime.simulator.light import Lighting
from edge_runtime.simulator.plans import Capture
from edge_runtime.simulator.render import Rendering, hidden_shares, render, truth
from edge_runtime.simulator.script import Moment, Script, SlotTruth, StoreEvent, Walk
from edge_runtime.simulator.shoppers import Occluder
from edge_runtime.simulator.stocking import commissioned_stock, low_level, swapped

__all__ = ["Day", "Moment", "Script", "SlotTruth", "StoreEvent", "Walk", "knocked"]

_BEATS = {"sales": 5, "sold_out": 3, "restocked": 2, "shoppers": 3}
"""How often a day's script has what; every script also has one reset, one lamp, one bump and one dusk."""
_WALK_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A bay, its camera as commissioned, and the seed of what happens. Compared by identity."""

    bay: Bay
    commissioned: Capture
    seed: int
    length_s: float = 60.0
    speed: float = 1.0
    """Script seconds per second."""
    course: Callable[[Day, int], Script] | None = None
    """Writes the script of the day with this number, a pure function; None: the minute of the demo."""

    def moment(self, t: float) -> Moment:
        """The state of the store `t` seconds after the beginning."""
        number, at = self._place(t)
        script = _script(self, number)
        stock = dict(script.start)
        for event in script.events:
            if event.at_s > at:
                break
            if event.level is not None:
                stock[event.slot] = event.level
        walking = tuple(thing for walk in script.walks if (thing := walk.at(at)) is not None)
        camera = script.bumped if at >= script.bump_s else self.commissioned.camera
        return Moment(stock, camera, self._light(script, at), walking)

    def frame_at(self, t: float) -> Rendering:
        """Render the picture at `t`; the same `t` gives the same picture."""
        now = self.moment(t)
        noise = np.random.default_rng((self.seed, int(t * 1000)))
        return render(self.bay, now.stock, now.camera, now.light, self.commissioned.sensor, now.occluders, noise)

    def truth_at(self, t: float) -> dict[str, SlotTruth]:
        """The truth about every slot at `t`, without rendering the bay."""
        now = self.moment(t)
        return self.truth_of(now, hidden_shares(self.bay, now.camera, now.occluders))

    def truth_of(self, now: Moment, covered: Mapping[str, float]) -> dict[str, SlotTruth]:
        return {
            slot: SlotTruth(truth(now.stock, slot, share), share, now.stock[slot].state)
            for slot, share in covered.items()
        }

    def events(self, until_s: float) -> tuple[StoreEvent, ...]:
        """Everything that happened up to `until_s`, in order, `at_s` in seconds since the beginning."""
        number, _ = self._place(until_s)
        found = [
            replace(event, at_s=(n * self.length_s + event.at_s) / self.speed)
            for n in range(number + 1)
            for event in _script(self, n).events
        ]
        return tuple(event for event in found if event.at_s <= until_s)

    def _place(self, t: float) -> tuple[int, float]:
        number, at = divmod(max(0.0, t) * self.speed, self.length_s)
        return int(number), at

    def _light(self, script: Script, at: float) -> Lighting:
        light = self.commissioned.light
        dusk = max(0.0, at - script.dusk_s) / max(self.length_s - script.dusk_s, 1e-9) if at > script.dusk_s else 0.0
        light = replace(light, exposure_ev=light.exposure_ev - 0.7 * dusk, kelvin=light.kelvin - 250 * dusk)
        if script.exposure_jitter_ev:
            own = np.random.default_rng((self.seed, 11, int(at * 1000)))
            drift = float(own.normal(0, script.exposure_jitter_ev))
            light = replace(light, exposure_ev=light.exposure_ev + drift, kelvin=light.kelvin + 400 * drift)
        if script.sun is not None and (outline := script.sun.at(at)):
            light = replace(light, shadow=script.sun.depth, shadow_outline=outline)
        if script.tube_off_s <= at < script.tube_on_s:
            light = replace(
                light,
                exposure_ev=light.exposure_ev - 0.25,
                kelvin=light.kelvin - 500,
                gradient=1.9,
                gradient_angle=script.tube_side,
            )
        return light


@lru_cache(maxsize=16)
def _script(day: Day, number: int) -> Script:
    return (day.course or _demo_course)(day, number)


def _demo_course(day: Day, number: int) -> Script:
    rng = np.random.default_rng((day.seed, 7, number))
    length = day.length_s
    start = _opening_stock(day)
    walks = tuple(_walk(rng, length, k) for k in range(_BEATS["shoppers"]))
    bump_s = length * float(rng.uniform(0.58, 0.64))
    tube_off = length * float(rng.uniform(0.28, 0.34))
    events = _stock_events(rng, day, start, walks)
    events += [StoreEvent(walk.start_s, "shopper", detail=walk.thing.kind) for walk in walks]
    events += [
        StoreEvent(tube_off, "lamp", detail="a tube dies"),
        StoreEvent(0.8 * length, "lamp", detail="the tube is replaced"),
        StoreEvent(bump_s, "bump", detail="the camera is knocked"),
    ]
    return Script(
        start,
        tuple(sorted(events, key=lambda event: event.at_s)),
        walks,
        tube_off,
        0.8 * length,
        float(rng.choice([0.0, math.pi])),
        0.55 * length,
        bump_s,
        knocked(rng, day),
    )


def _opening_stock(day: Day) -> dict[str, StockLevel]:
    """Every day opens alike: full, one slot low and one empty (the last two of an order drawn once)."""
    rng = np.random.default_rng((day.seed, 5))
    stock = commissioned_stock(rng, day.bay)
    plans = {plan.id: plan for plan in day.bay.slots}
    low, empty = (plans[slot] for slot in _order(day)[-2:])
    stock[low.id] = low_level(day.bay, low, stock[low.id], 0.15)
    stock[empty.id] = StockLevel(State.EMPTY)
    return stock


def _order(day: Day) -> list[str]:
    """Slots in an order drawn once; those that can be low come last, so that the opening stock can use them."""
    rng = np.random.default_rng((day.seed, 6))
    slots = [day.bay.slots[k] for k in rng.permutation(len(day.bay.slots))]
    slots.sort(key=lambda plan: low_level(day.bay, plan, StockLevel(), 0.15).state is State.LOW)
    return [plan.id for plan in slots]


def _walk(rng: np.random.Generator, length: float, k: int) -> Walk:
    start = length * (0.12 + 0.33 * k) + float(rng.uniform(0, 0.04)) * length
    person = Occluder(
        "person", -1.0, float(rng.uniform(0.1, 0.35)), float(rng.uniform(0.95, 1.3)), 0.0, int(rng.integers(2**31))
    )
    return Walk(start, start + _WALK_S * length / 60, person, float(rng.uniform(0.2, 0.8)), bool(rng.random() < 0.5))


def _stock_events(
    rng: np.random.Generator, day: Day, start: Mapping[str, StockLevel], walks: tuple[Walk, ...]
) -> list[StoreEvent]:
    """Sales to low and to empty, restocks, a reset; whatever sold is filled again before the day ends."""
    length, plans = day.length_s, {plan.id: plan for plan in day.bay.slots}
    order = _order(day)
    low_id, empty_id = order[-2:]
    others = [str(s) for s in rng.permutation(order[:-2])]
    can_be_low = [s for s in others if low_level(day.bay, plans[s], start[s], 0.15).state is State.LOW]
    sold = (can_be_low + [s for s in others if s not in can_be_low])[: _BEATS["sales"]]
    reset = next(s for s in others if s not in sold)
    fresh = {slot: StockLevel(seed=int(rng.integers(2**20))) for slot in (*sold, low_id, empty_id)}
    events = [
        StoreEvent(0.06 * length, "restock", empty_id, fresh[empty_id]),
        StoreEvent(0.09 * length, "restock", low_id, fresh[low_id]),
    ]
    for k, slot in enumerate(sold):
        at = length * (0.16 + 0.08 * k + float(rng.uniform(0, 0.03)))
        recess = float(rng.uniform(0.3, 0.6)) * day.bay.boards[plans[slot].row].depth
        events.append(StoreEvent(at, "sale", slot, low_level(day.bay, plans[slot], start[slot], recess)))
        if k < _BEATS["sold_out"]:
            events.append(StoreEvent(at + 0.2 * length, "sale", slot, StockLevel(State.EMPTY)))
        back = 0.66 + 0.05 * k if k < _BEATS["restocked"] else 0.9 + 0.015 * k
        events.append(StoreEvent(back * length, "restock", slot, start[slot]))
    other = swapped(rng, day.bay, plans[reset], "heldout", 0.4)
    events += [
        StoreEvent(0.47 * length, "reset", reset, StockLevel(seed=1, other=other), "another product for a promotion"),
        StoreEvent(0.97 * length, "reset", reset, start[reset], "the promotion is over"),
        StoreEvent(0.86 * length, "sale", empty_id, StockLevel(State.EMPTY)),
        StoreEvent(0.88 * length, "sale", low_id, start[low_id]),
    ]
    return events


def knocked(rng: np.random.Generator, day: Day) -> CameraPose:
    """A knock of 3 to 5 degrees, mostly sideways."""
    a, b = (float(s) for s in rng.choice([-1.0, 1.0], 2))
    camera = orbited(
        day.commissioned.camera,
        day.bay.centre,
        a * float(rng.uniform(3, 4.2)),
        b * float(rng.uniform(0.5, 1.2)),
        a * 0.8,
    )
    return replace(camera, yaw_deg=camera.yaw_deg + b * 0.5, pitch_deg=camera.pitch_deg + a * 0.4)
