"""Where every pack of a slot stands, and which of its faces the camera sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge_runtime.records import State
from edge_runtime.simulator.bay import Bay, Facing, SlotPlan, StockLevel
from edge_runtime.simulator.catalogue import Pack, digest, load_pack
from edge_runtime.simulator.geometry import CameraPose, Points, Raster

ROWS_DRAWN = 2
"""Rows behind one another that can be seen; those behind are hidden."""
_SIDE_GAIN, _TOP_GAIN = 0.72, 1.08


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """One face to be painted."""

    levels: tuple[Raster, ...]
    corners: Points
    gain: float


@dataclass(frozen=True, slots=True)
class _Place:
    """One pack: centre of its foot's front edge, its size, how it is turned."""

    x: float
    y: float
    z: float
    facing: Facing
    angle: float
    mirrored: bool
    sideways: bool
    laid: bool
    gain: float


def foot(bay: Bay, plan: SlotPlan, level: StockLevel) -> Points | None:
    """Extent of the packs on the board, (4, 3) level corners for a contact shadow; None when nothing stands there."""
    if level.state is State.EMPTY:
        return None
    facing, board = level.other or plan.facing, bay.boards[plan.row]
    start, pitch, spread = _spacing(bay, plan, facing)
    near = start + _first_row(facing, level) * facing.depth + level.setback - 0.02
    far = min(board.depth, near + 0.04 + ROWS_DRAWN * pitch)
    half = facing.count * spread / 2 + 0.015
    middle, y = (plan.x0 + plan.x1) / 2, board.y - 0.001
    x0, x1 = middle - half, middle + half
    return np.array([(x0, y, far), (x1, y, far), (x1, y, near), (x0, y, near)], np.float64)


def sheets(bay: Bay, plan: SlotPlan, level: StockLevel, camera: CameraPose) -> Iterator[Sheet]:
    """All faces of a slot's packs, in the order in which they must be painted."""
    if level.state is State.EMPTY:
        return
    pack = load_pack((level.other or plan.facing).pack)
    for place in _places(bay, plan, level, camera):
        yield from _faces(pack, place, camera)


@lru_cache(maxsize=512)
def _spacing(bay: Bay, plan: SlotPlan, facing: Facing) -> tuple[float, float, float]:
    """Metres: front row's distance from the edge, row to row, and pack to pack; constant for a slot."""
    rng = np.random.default_rng((bay.seed, digest(plan.id + facing.pack) % 2**31))
    start = float(rng.uniform(0.004, 0.03)) + bay.boards[plan.row].setback
    pitch = facing.depth * float(rng.uniform(1.02, 1.5))
    tight, even = facing.width * 1.01, (plan.x1 - plan.x0) / facing.count
    spread = tight + (max(even, tight) - tight) * float(rng.choice([0.0, rng.random() * 0.5, 0.95]))
    return start, pitch, spread


def _first_row(facing: Facing, level: StockLevel) -> int:
    return min(max(1, level.front_rows_gone), facing.rows - 1) if level.state is State.LOW else 0


def _places(bay: Bay, plan: SlotPlan, level: StockLevel, camera: CameraPose) -> Iterator[_Place]:
    facing, board, look = level.other or plan.facing, bay.boards[plan.row], bay.look
    start, pitch, spread = _spacing(bay, plan, facing)
    rng = np.random.default_rng((bay.seed, digest(plan.id) % 2**31, level.seed))
    first = _first_row(facing, level)
    gone = first * facing.depth
    middle = (plan.x0 + plan.x1) / 2
    wobble = look.pack_jitter
    for row in range(min(facing.rows, first + ROWS_DRAWN) - 1, first - 1, -1):
        front = row == first
        slack = max(0.12 * facing.width, (plan.x1 - plan.x0 - facing.width - spread * (facing.count - 1)) / 2)
        drift = (0.0 if row == 0 else min(slack, look.rear_offset * facing.width)) * (1 if row % 2 else -1)
        xs = middle + drift + (np.arange(facing.count) - (facing.count - 1) / 2) * spread
        disorder = rng.normal(0, 1, (facing.count, 3)) * wobble
        turned, mirrored = rng.random((2, facing.count))
        for k in sorted(range(facing.count), key=lambda n: -abs(xs[n] - camera.x)):
            if front and k in level.missing:
                continue
            x = float(xs[k] + np.clip(disorder[k, 0], -2, 2) * 0.06 * facing.width)
            z = start + gone + (row - first) * pitch + level.setback + abs(float(disorder[k, 1])) * 0.15 * facing.depth
            z = min(z, board.depth - 0.5 * facing.depth)
            gain = 1 - look.interior * max(0.0, z / board.depth) ** 0.8
            rear_other = row > 0 and turned[k] < look.rear_turned
            angle = float(np.clip(disorder[k, 2], -2, 2) * 0.12)
            tall = facing.stack - (level.top_gone if front else 0)
            for storey in range(max(1, tall)):
                yield _Place(
                    x, board.y - storey * facing.height, z, facing, angle,
                    rear_other and mirrored[k] < 0.5, rear_other, level.laid and front and storey == 0, gain,
                )  # fmt: skip


def _faces(pack: Pack, place: _Place, camera: CameraPose) -> Iterator[Sheet]:
    w, h, d = place.facing.width, place.facing.height, place.facing.depth
    cos, sin = np.cos(place.angle), np.sin(place.angle)
    lx, lz = place.x - w / 2 * cos, place.z + w / 2 * abs(sin) - w / 2 * sin
    rx, rz = place.x + w / 2 * cos, place.z + w / 2 * abs(sin) + w / 2 * sin
    top = place.y - h
    if place.laid:
        top, back = place.y - 0.35 * h, min(0.85 * h, 0.2)
        fallen = [(lx, top, lz + back), (rx, top, rz + back), (rx, place.y, rz), (lx, place.y, lz)]
        yield Sheet(pack.front, np.array(fallen), place.gain)
        return
    ox, oz = -d * sin, d * cos
    if pack.side:
        if place.x < camera.x:
            side = [(rx, top, rz), (rx + ox, top, rz + oz), (rx + ox, place.y, rz + oz), (rx, place.y, rz)]
        else:
            side = [(lx + ox, top, lz + oz), (lx, top, lz), (lx, place.y, lz), (lx + ox, place.y, lz + oz)]
        yield Sheet(pack.side, np.array(side), place.gain * _SIDE_GAIN)
    if pack.top and camera.y < top:
        cover = [(lx + ox, top, lz + oz), (rx + ox, top, rz + oz), (rx, top, rz), (lx, top, lz)]
        yield Sheet(pack.top, np.array(cover), place.gain * _TOP_GAIN)
    front = np.array([(lx, top, lz), (rx, top, rz), (rx, place.y, rz), (lx, place.y, lz)])
    levels = pack.side if place.sideways and pack.side else pack.front
    yield Sheet(levels, front[[1, 0, 3, 2]] if place.mirrored and not pack.side else front, place.gain)
