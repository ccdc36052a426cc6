"""A bay and its stock, painted as one camera sees it in even light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge_runtime.simulator import fixtures
from edge_runtime.simulator.bay import FULL, Bay, SlotPlan, Stock
from edge_runtime.simulator.geometry import CameraPose, Raster
from edge_runtime.simulator.packing import foot, sheets
from edge_runtime.simulator.painting import Patch, level_of, paste, rectangle, seen, spread


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """What a bay's fixtures are made of; BGRA uint8, wall and floor BGR."""

    panel: Raster
    board: Raster
    rails: tuple[Raster, ...]
    fence: Raster | None
    fence_height: float
    wobblers: tuple[tuple[Raster, float, float], ...]
    """Card, x, y of its upper edge."""
    upright: Raster
    wall: Raster
    floor: Raster
    plinth: Raster
    header: Raster


@lru_cache(maxsize=4)
def textures(bay: Bay) -> Textures:
    """Make a bay's materials; the same for the same bay."""
    rng = np.random.default_rng((bay.seed, 1))
    wide, tall = bay.reach[1] - bay.reach[0], bay.height + 0.1
    slots = len(bay.slots) + len(bay.neighbours)
    per_row = max(1, slots // len(bay.boards))
    edge = bay.boards[0]
    rails = tuple(fixtures.rail(bay.look, rng, wide, edge.rail_top + edge.rail_drop, per_row) for _ in bay.boards)
    cards = []
    for plan in bay.slots:
        if rng.random() < bay.look.wobblers:
            y = bay.boards[plan.row].y - float(rng.uniform(-0.02, 0.045))
            cards.append((fixtures.wobbler(rng), float(rng.uniform(plan.x0, plan.x1)), y))
    shadows = [(y + 0.05, y + 0.1 + 0.45 * (b.y - y)) for y, b in zip(bay.ceilings, bay.boards, strict=True)]
    own = np.random.default_rng((bay.seed, 2))
    return Textures(
        fixtures.panel(bay.look, rng, wide, tall, shadows),
        fixtures.board(bay.look, rng, wide, edge.depth, bay.look.interior),
        rails,
        fixtures.fence(own, wide),
        float(own.uniform(0.015, 0.05)),
        tuple(cards),
        fixtures.upright(bay.look, rng, tall),
        fixtures.wall(bay, rng),
        fixtures.floor(bay.look, rng),
        fixtures.plinth(bay.look, rng),
        fixtures.header(bay.look, rng),
    )


_CONTACT = fixtures.contact()


class Stage:
    """A bay before one camera: everything that does not sell is painted once, packs on every `compose`."""

    def __init__(self, bay: Bay, camera: CameraPose) -> None:
        self._bay, self._camera = bay, camera
        self._made = textures(bay)
        self._ground = self._painted_ground()
        middle = [(top + board.y) / 2 for top, board in zip(bay.ceilings, bay.boards, strict=True)]
        self._order = sorted(range(len(middle)), key=lambda row: -abs(middle[row] - camera.y))
        self._surfaces = {row: self._surfaces_of(row) for row in self._order}
        self._stops = {row: self._stop_of(row) for row in self._order}
        self._under = {row: self._under_shadow(row) for row in self._order}
        self._front = self._front_patches()
        everything = bay.slots + bay.neighbours
        self._rows: dict[int, list[SlotPlan]] = {
            row: sorted((p for p in everything if p.row == row), key=lambda p: -abs((p.x0 + p.x1) / 2 - camera.x))
            for row in self._order
        }
        contact = _CONTACT.copy()
        contact[..., 3] = (contact[..., 3] * bay.look.contact_shadow).astype(np.uint8)
        self._contact = contact
        self._last: tuple[Stock, Raster] | None = None

    def compose(self, stock: Stock) -> Raster:
        """The bay with this stock, (height, width, 3) BGR uint8, even light, no lens distortion."""
        if self._last is not None and self._last[0] == stock:
            return self._last[1].copy()
        canvas = self._painted(stock)
        self._last = (dict(stock), canvas)
        return canvas.copy()

    def _painted(self, stock: Stock) -> Raster:
        canvas = self._ground.copy()
        for row in self._order:
            for patch in self._surfaces[row]:
                paste(canvas, patch)
            for plan in self._rows[row]:
                self._paint_slot(canvas, plan, stock)
            paste(canvas, self._stops[row])
            paste(canvas, self._under[row])
        for patch in self._front:
            paste(canvas, patch)
        return canvas

    def _paint_slot(self, canvas: Raster, plan: SlotPlan, stock: Stock) -> None:
        level = stock.get(plan.id, FULL)
        ground = foot(self._bay, plan, level)
        if ground is not None and self._camera.y < self._bay.boards[plan.row].y:
            paste(canvas, seen(self._camera, (self._contact,), ground))
        for sheet in sheets(self._bay, plan, level, self._camera):
            paste(canvas, seen(self._camera, sheet.levels, sheet.corners, sheet.gain, border=1))

    def _painted_ground(self) -> Raster:
        """Wall, floor and back panel."""
        bay, made = self._bay, self._made
        canvas = np.zeros((self._camera.size[1], self._camera.size[0], 3), np.uint8)
        canvas[:] = bay.look.wall_colour
        depth = bay.boards[0].depth
        x, away = bay.width / 2, depth + bay.look.wall_gap
        size = 2.2 * (abs(self._camera.z) + away)
        wall = rectangle(x - size, x + size, bay.height - size, bay.height + 0.35, away)
        spread(canvas, self._camera, made.wall, wall)
        ground = bay.height + 0.3
        before = 0.6 * self._camera.z
        floor = level_of(x - size / 2, x + size / 2, ground, before, away + 0.01)
        spread(canvas, self._camera, made.floor, floor)
        x0, x1 = bay.reach
        self._on(canvas, made.panel, rectangle(x0, x1, -0.1, bay.height, depth))
        if bay.look.upright == "back":
            self._posts(canvas, depth - 0.01)
        return canvas

    def _posts(self, canvas: Raster, z: float) -> None:
        half = self._bay.look.upright_width / 2
        for x in (0.0, self._bay.width):
            self._on(canvas, self._made.upright, rectangle(x - half, x + half, -0.1, self._bay.height, z))

    def _surfaces_of(self, row: int) -> tuple[Patch | None, ...]:
        """The board that the row stands on, and the underside of the one above it."""
        bay, made = self._bay, self._made
        x0, x1 = bay.reach
        board = bay.boards[row]
        patches = []
        if self._camera.y < board.y:
            patches.append(self._seen(made.board, level_of(x0, x1, board.y, 0.0, board.depth)))
        if row > 0 and self._camera.y > bay.boards[row - 1].y:
            y = bay.boards[row - 1].y + board.thickness
            patches.append(self._seen(made.board, level_of(x0, x1, y, 0.0, board.depth), 0.45))
        return tuple(patches)

    def _stop_of(self, row: int) -> Patch | None:
        """The wall that hides the feet of the row's packs, more of them the further the camera is above or below."""
        board = self._bay.boards[row]
        if board.stop is None:
            return None
        x0, x1 = self._bay.reach
        wall = rectangle(x0, x1, board.y - board.stop.height, board.y, board.stop.z)
        return self._seen(fixtures.stop(board.stop.colour), wall)

    def _under_shadow(self, row: int) -> Patch | None:
        """What the board above takes from the light that falls on the packs."""
        top, board = self._bay.ceilings[row], self._bay.boards[row]
        if row == 0 or self._bay.look.board_shadow < 0.05:
            return None
        x0, x1 = self._bay.reach
        low = top + 0.35 * (board.y - top)
        return self._seen(fixtures.shade(0.7 * self._bay.look.board_shadow, 0.0), rectangle(x0, x1, top, low, 0.0))

    def _front_patches(self) -> tuple[Patch | None, ...]:
        """Rails, posts, plinth, sign and shelf talkers: all that stands in the front plane."""
        bay, made = self._bay, self._made
        x0, x1 = bay.reach
        bottom = bay.boards[-1].y
        front = [self._seen(made.plinth, rectangle(x0, x1, bottom + 0.01, bottom + 0.3, 0.015))]
        for board, rail in zip(bay.boards, made.rails, strict=True):
            front.append(self._seen(rail, rectangle(x0, x1, board.y - board.rail_top, board.y + board.rail_drop, 0.0)))
            if made.fence is not None:
                low = board.y - board.rail_top
                front.append(self._seen(made.fence, rectangle(x0, x1, low - made.fence_height, low, 0.0)))
        if bay.look.upright == "front":
            half = bay.look.upright_width / 2
            for x in (-half, bay.width + half):
                front.append(self._seen(made.upright, rectangle(x - half, x + half, -0.1, bottom, 0.0)))
        if bay.look.header:
            front.append(self._seen(made.header, rectangle(0, bay.width, -bay.look.header - 0.01, -0.01, 0.0)))
        for card, x, y in made.wobblers:
            front.append(self._seen(card, rectangle(x - 0.03, x + 0.03, y, y + 0.047, -0.02)))
        return tuple(front)

    def _seen(self, texture: Raster, corners: np.ndarray, gain: float = 1.0) -> Patch | None:
        return seen(self._camera, (texture,), corners, gain)

    def _on(self, canvas: Raster, texture: Raster, corners: np.ndarray, gain: float = 1.0) -> None:
        paste(canvas, self._seen(texture, corners, gain))


@lru_cache(maxsize=3)
def stage(bay: Bay, camera: CameraPose) -> Stage:
    """The stage for a bay and a camera; the last few are kept."""
    return Stage(bay, camera)
