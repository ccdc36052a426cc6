"""What stands in the slots at one moment, at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.records import State
from edge_runtime.simulator.bay import Bay, Facing, SlotPlan, StockHabits, StockLevel
from edge_runtime.simulator.catalogue import PackSet, draw_pack
from edge_runtime.simulator.planning import fit

HABITS = StockHabits()
_LEAST_RECESS = 0.08
"""Metres: what stands back less than this after the front has sold still looks stocked."""
_MOST_RECESS = 0.25
"""Metres: what stands further back hides behind its neighbours as soon as the camera is not straight in front."""
_LEAST_VISIBLE = 0.6


def random_stock(
    rng: np.random.Generator, bay: Bay, habits: StockHabits = HABITS, packs: PackSet = "train"
) -> dict[str, StockLevel]:
    """A stock level for every slot of the bay and of its neighbours."""
    rows = {row: _row_habit(rng, habits) for row in range(len(bay.boards))}
    stock = {plan.id: random_level(rng, bay, plan, rows[plan.row] or habits, packs) for plan in bay.slots}
    for plan in bay.neighbours:
        stock[plan.id] = random_level(rng, bay, plan, habits, packs)
    return stock


def commissioned_stock(rng: np.random.Generator, bay: Bay) -> dict[str, StockLevel]:
    """Everything full and tidy, as on the day when the reference picture is taken; neighbours as they are."""
    neighbours = {plan.id: random_level(rng, bay, plan, HABITS, "train") for plan in bay.neighbours}
    return neighbours | {plan.id: StockLevel(seed=int(rng.integers(2**20))) for plan in bay.slots}


def random_level(rng: np.random.Generator, bay: Bay, plan: SlotPlan, habits: StockHabits, packs: PackSet) -> StockLevel:
    """One slot's stock."""
    drawn = rng.random()
    if drawn < habits.empty:
        return StockLevel(State.EMPTY)
    level = StockLevel(seed=int(rng.integers(2**20)))
    if rng.random() < habits.swaps:
        level = replace(level, other=swapped(rng, bay, plan, packs, habits.photograph_share))
    facing = level.other or plan.facing
    if drawn < habits.empty + habits.low:
        room = bay.boards[plan.row].room
        level = low_level(bay, plan, level, room * float(0.2 + 0.4 * rng.beta(1.0, 1.5)))
    if rng.random() < habits.disorder and (level.state is State.STOCKED or facing.count >= 3):
        return _disordered(rng, level, facing.count, facing.stack)
    return level


def low_level(bay: Bay, plan: SlotPlan, level: StockLevel, recess: float) -> StockLevel:
    """The level with its front gone: what is left stands `recess` metres further back, or nearer where that hides it.

    Where the commissioned camera could not see the rest at all the level comes back as it was.
    """
    facing, board = level.other or plan.facing, bay.boards[plan.row]
    most = min(_MOST_RECESS, board.room - facing.depth, 0.9 * (plan.x1 - plan.x0))
    recess = max(_LEAST_RECESS, min(recess, most))
    if _visible(bay, plan, facing, board.setback + recess) < _LEAST_VISIBLE:
        recess = _LEAST_RECESS
        if _visible(bay, plan, facing, board.setback + recess) < _LEAST_VISIBLE:
            return level
    gone = max(1, min(facing.rows - 1, round(recess / facing.depth)))
    return replace(level, state=State.LOW, front_rows_gone=gone, setback=max(0.0, recess - gone * facing.depth))


def _visible(bay: Bay, plan: SlotPlan, facing: Facing, z: float) -> float:
    """Share of a pack's height, `z` metres behind the rail, that the commissioned camera sees between the boards."""
    camera, board = bay.reference, bay.boards[plan.row]
    nearer = -camera.z / (z - camera.z)
    top = camera.y + (board.y - facing.height * facing.stack - camera.y) * nearer
    foot = camera.y + (board.y - camera.y) * nearer
    seen = min(foot, board.y - board.rail_top) - max(top, bay.ceilings[plan.row])
    return max(0.0, seen) / max(foot - top, 1e-6)


def swapped(
    rng: np.random.Generator, bay: Bay, plan: SlotPlan, packs: PackSet, photograph_share: float = 0.3
) -> Facing:
    """Another product, fitted into the slot."""
    board = bay.boards[plan.row]
    clear = 0.95 * (board.y - bay.ceilings[plan.row])
    return fit(rng, draw_pack(rng, packs, photograph_share), plan.x1 - plan.x0, clear, board.room)


def _disordered(rng: np.random.Generator, level: StockLevel, count: int, stack: int) -> StockLevel:
    """A pack lies on its back, one facing has sold, or the top of a stack has."""
    kind = rng.random()
    if level.state is State.LOW:
        return replace(level, missing=frozenset({int(rng.integers(count))}))
    if kind < 0.25 and stack == 1:
        return replace(level, laid=True)
    if kind < 0.65 and count >= 3:
        return replace(level, missing=frozenset({int(rng.integers(count))}))
    if stack > 1:
        return replace(level, top_gone=int(rng.integers(1, stack)))
    return replace(level, setback=level.setback + float(rng.uniform(0.005, 0.02)))


def _row_habit(rng: np.random.Generator, habits: StockHabits) -> StockHabits | None:
    if rng.random() >= habits.whole_row:
        return None
    return replace(habits, low=0.0, empty=1.0) if rng.random() < 0.4 else replace(habits, low=0.0, empty=0.0)
