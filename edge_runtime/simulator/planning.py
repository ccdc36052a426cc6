"""Random bays: geometry, assortment, materials, and the camera that is commissioned for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.simulator import designs
from edge_runtime.simulator.bay import Bay, Board, Facing, Look, SlotPlan, Stop, corners
from edge_runtime.simulator.catalogue import PackSet, draw_pack, load_pack
from edge_runtime.simulator.geometry import CameraPose, project

_CLEARANCE = 0.95
_ANYWHERE, _ACROSS_AN_AISLE = (1.25, 3.2), (1.05, 2.4)
"""Camera's distance in sizes of the bay."""
_SIDE_VIEW_ROOM = 0.7
"""Boards end before this share of the camera's distance, so that they stay before it when it walks around."""


def random_bay(
    rng: np.random.Generator,
    packs: PackSet = "train",
    name: str = "bay",
    size: tuple[int, int] = (960, 720),
    rows: int | None = None,
    slots_per_row: int | None = None,
    faced_up: bool = True,
) -> Bay:
    """A bay that has never been seen before. `size` is the commissioned camera's picture, (width, height).

    Not `faced_up`: as in stores where nobody pulls packs to the rail; boards may be deeper, packs stand back, and the
    camera hangs across an aisle. Parallax between rail and packs is then what a moved camera sees first.
    """
    count = rows or int(rng.choice([2, 3, 4, 5, 6], p=[0.14, 0.24, 0.28, 0.22, 0.12]))
    width = float(rng.uniform(0.9, 1.7))
    height = width * size[1] / size[0] * float(rng.uniform(0.85, 1.1))
    boards, ceilings = _boards(rng, count, height)
    if not faced_up:
        boards = _set_back(rng, boards, ceilings)
    look = random_look(rng)
    share = float(np.clip(rng.beta(1.2, 1.6), 0.0, 0.9))
    distance = float(rng.uniform(*(_ANYWHERE if faced_up else _ACROSS_AN_AISLE))) * max(width, height)
    spare = min(float(rng.uniform(0.1, 0.9)), _SIDE_VIEW_ROOM * distance - width / 2)
    beyond = spare if rng.random() < 0.7 and spare > 0.1 else 0.0
    whole_opening = rng.random() < 0.75
    slots: list[SlotPlan] = []
    neighbours: list[SlotPlan] = []
    for row in range(count):
        shelf = _Shelf(row, ceilings[row], boards[row], packs, share)
        wanted = slots_per_row or int(rng.choice([3, 4, 5, 6, 7, 8, 9], p=[0.14, 0.2, 0.2, 0.18, 0.12, 0.09, 0.07]))
        slots += _row(rng, f"r{row}s", shelf, (0, width), wanted, whole_opening)
        if beyond:
            n = max(1, round(wanted * beyond / width))
            neighbours += _row(rng, f"left{row}-", shelf, (-beyond, -0.02), n, True)
            neighbours += _row(rng, f"right{row}-", shelf, (width + 0.02, width + beyond), n, True)
    bay = Bay(
        name,
        int(rng.integers(2**31)),
        width,
        boards[-1].y,
        boards,
        ceilings,
        tuple(slots),
        tuple(neighbours),
        (-beyond, width + beyond),
        look,
        _camera(rng, width, boards[-1].y, distance, size),
    )
    return replace(bay, reference=framed(bay, bay.reference, float(rng.uniform(0.03, 0.11))))


def _boards(rng: np.random.Generator, count: int, height: float) -> tuple[tuple[Board, ...], tuple[float, ...]]:
    shares = rng.uniform(0.75, 1.3, count)
    bottoms = np.cumsum(shares / shares.sum()) * height
    thickness, depth = float(rng.uniform(0.015, 0.04)), float(rng.uniform(0.25, 0.55))
    top, drop = float(max(0.0, rng.uniform(-0.01, 0.014))), thickness + float(rng.uniform(0, 0.03))
    drop = min(drop, 0.16 * height / count)
    boards = tuple(Board(float(y), thickness, depth, top, drop) for y in bottoms)
    return boards, (0.0, *(board.y + board.rail_drop for board in boards[:-1]))


def _set_back(rng: np.random.Generator, boards: tuple[Board, ...], ceilings: tuple[float, ...]) -> tuple[Board, ...]:
    deeper = float(rng.uniform(1.0, 1.5))
    usual = float(rng.uniform(0.01, 0.3)) if rng.random() < 0.75 else 0.0
    stops = rng.random() < 0.4
    tone = float(rng.uniform(20, 200))
    colour = designs.colour(rng) if rng.random() < 0.25 else _tinted(rng, tone, 8)
    found = []
    for board, ceiling in zip(boards, ceilings, strict=True):
        depth = board.depth * deeper
        setback = max(0.0, min(usual * depth + float(rng.normal(0, 0.008)), 0.16)) if usual else 0.0
        height = float(rng.uniform(0.03, 0.16)) * (board.y - ceiling)
        stop = Stop(float(rng.uniform(0, 1)) * setback, height, colour) if stops else None
        found.append(replace(board, depth=depth, setback=setback, stop=stop))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """One compartment that is to be filled."""

    row: int
    ceiling: float
    board: Board
    packs: PackSet
    photograph_share: float


def _row(
    rng: np.random.Generator, prefix: str, shelf: _Shelf, span: tuple[float, float], count: int, whole_opening: bool
) -> list[SlotPlan]:
    """`count` slots side by side between two x; their polygons reach up to the ceiling, or only over the packs."""
    board = shelf.board
    shares = rng.uniform(0.6, 1.5, count)
    edges = span[0] + np.concatenate([[0], np.cumsum(shares / shares.sum())]) * (span[1] - span[0])
    clear = (board.y - shelf.ceiling) * _CLEARANCE
    plans = []
    for k in range(count):
        x0, x1 = float(edges[k]), float(edges[k + 1])
        facing = fit(rng, draw_pack(rng, shelf.packs, shelf.photograph_share), x1 - x0, clear, board.room)
        tall = facing.height * facing.stack
        top = shelf.ceiling if whole_opening else max(shelf.ceiling, board.y - tall * 1.08)
        plans.append(SlotPlan(f"{prefix}{k}", shelf.row, x0, x1, facing, top))
    return plans


def fit(rng: np.random.Generator, pack: str, width: float, clear: float, depth: float) -> Facing:
    """Choose how many of a pack stand side by side, stacked and behind one another in a place of that size."""
    shape = load_pack(pack)
    height = clear * float(rng.uniform(0.55, 0.96))
    stack = int(rng.integers(2, 5)) if shape.stacks and rng.random() < 0.45 else 1
    height /= stack
    wide = height * shape.aspect
    most = max(1, int(width * 0.98 / wide))
    count = min(most, 4 if stack == 1 else 3)
    if most > count:
        height = min(height * float(rng.uniform(1.0, 1.4)), clear / stack)
        wide = height * shape.aspect
        count = max(1, min(6, int(width * 0.98 / wide)))
    if wide * count > 0.98 * width:
        wide = 0.98 * width / count
        height = wide / shape.aspect
    deep = min(wide * shape.depth, depth * 0.45)
    rows = max(2, min(14, int(depth * float(rng.uniform(0.6, 1.0)) / (deep * 1.08))))
    return Facing(pack, wide, height, deep, count, rows, stack)


def _camera(
    rng: np.random.Generator, width: float, height: float, distance: float, size: tuple[int, int]
) -> CameraPose:
    """Somewhere before the bay, looking at it; `framed` sets the focal length."""
    x, y = (
        width / 2 + float(rng.uniform(-0.14, 0.14)) * distance,
        height / 2 + float(rng.uniform(-0.22, 0.18)) * distance,
    )
    yaw = float(np.degrees(np.arctan2(width / 2 - x, distance)) + rng.normal(0, 1.0))
    pitch = float(np.degrees(np.arctan2(height / 2 - y, distance)) + rng.normal(0, 0.8))
    roll = float(rng.normal(0, 0.8))
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    return CameraPose(x, y, -distance, yaw, pitch, roll, float(size[0]), size, centre)


def framed(bay: Bay, camera: CameraPose, margin: float) -> CameraPose:
    """The camera zoomed so that all slots are in the picture, `margin` (share of a side) away from its edges."""
    points = np.concatenate([corners(bay, slot) for slot in bay.slots])
    pixels, _ = project(camera, points)
    offset = np.abs(pixels - camera.centre).max(0)
    room = np.array(camera.size) * (0.5 - margin)
    return replace(camera, focal_px=camera.focal_px * float((room / offset).min()))


def random_look(rng: np.random.Generator) -> Look:
    """Materials, shadows and habits that no two bays share."""
    panel = str(rng.choice(["plain", "plain", "pegboard", "slatted", "mottled", "mesh"]))
    grey = float(rng.choice([rng.uniform(25, 90), rng.uniform(90, 170), rng.uniform(170, 240)]))
    board_grey = grey if rng.random() < 0.5 else float(rng.uniform(30, 235))
    rail = _tinted(rng, float(rng.uniform(190, 245)), 6) if rng.random() < 0.5 else designs.colour(rng)
    return Look(
        panel,
        designs.colour(rng) if rng.random() < 0.12 else _tinted(rng, grey, 10),
        _tinted(rng, board_grey, 9),
        rail,
        _tinted(rng, float(rng.uniform(60, 225)), 25),
        _tinted(rng, float(rng.uniform(70, 200)), 18),
        str(rng.choice(["front", "back", "none"])),
        float(rng.uniform(0.015, 0.05)),
        float(rng.uniform(0.05, 0.6)),
        float(rng.uniform(0.0, 0.6)),
        float(rng.uniform(0.1, 0.7)),
        float(rng.beta(1.3, 2.5)),
        float(rng.uniform(0, 0.5)) if rng.random() < 0.6 else 0.0,
        float(rng.uniform(0, 1)) if rng.random() < 0.3 else 0.0,
        float(rng.uniform(0.5, 2.0)),
        float(rng.uniform(0.0, 0.6)),
        float(rng.uniform(0.0, 0.2)) if rng.random() < 0.35 else 0.0,
        float(rng.uniform(0.06, 0.2)) if rng.random() < 0.35 else 0.0,
        float(rng.uniform(0.0, 2.5)),
    )


def _tinted(rng: np.random.Generator, grey: float, tint: float) -> tuple[int, int, int]:
    b, g, r = np.clip(grey + rng.normal(0, tint, 3), 5, 250)
    return int(b), int(g), int(r)
