"""One bay of a store as values: boards, slots, looks, and what stands in every slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_runtime.records import Quad, Slot, State
from edge_runtime.simulator.geometry import CameraPose, Points, project

Stock = Mapping[str, "StockLevel"]
"""Slot id -> what stands there; a slot that is not named is full."""


@dataclass(frozen=True, slots=True)
class Facing:
    """Packs of one product side by side and behind one another. Metres."""

    pack: str
    width: float
    height: float
    depth: float
    count: int
    """Packs side by side."""
    rows: int
    """Packs behind one another when full."""
    stack: int
    """Packs on top of one another."""


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """The place of one product on a board, x0 to x1 metres from the bay's left end."""

    id: str
    row: int
    x0: float
    x1: float
    facing: Facing
    polygon_top: float
    """y of the upper edge of the slot's polygon."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A wall across a board that packs stand behind: the front of a tray, a step, a pusher's stop. Metres."""

    z: float
    height: float
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Board:
    """One shelf board: y of its upper surface, and the rail along its front edge."""

    y: float
    thickness: float
    depth: float
    rail_top: float
    """Metres that the rail stands above the surface (it hides the feet of the packs)."""
    rail_drop: float
    """Metres that the rail hangs below the surface."""
    setback: float = 0.0
    """Metres behind the rail at which packs begin, beyond the few millimetres of a shelf that was faced up."""
    stop: Stop | None = None

    @property
    def room(self) -> float:
        """Metres of the board that packs stand on."""
        return self.depth - self.setback


@dataclass(frozen=True, slots=True)
class Look:
    """Materials and habits of one bay. Shares are 0..1."""

    panel: str
    """plain, pegboard, slatted, mottled, mirror or mesh."""
    panel_colour: tuple[int, int, int]
    board_colour: tuple[int, int, int]
    rail_colour: tuple[int, int, int]
    wall_colour: tuple[int, int, int]
    floor_colour: tuple[int, int, int]
    upright: str
    """front, back or none."""
    upright_width: float
    interior: float
    """How much darker it is at the back of the boards."""
    board_shadow: float
    contact_shadow: float
    pack_jitter: float
    """0: soldiers, 1: as customers leave them."""
    rear_offset: float
    """Sideways shift of rear rows, share of a pack's width."""
    rear_turned: float
    """Share of rear packs that show another side."""
    tags: float
    """Price tags per slot."""
    promo: float
    """Share of tags that are yellow."""
    wobblers: float
    """Shelf talkers per slot that stand out from the rail."""
    header: float
    """Height in metres of a sign above the bay; 0 is none."""
    wall_gap: float
    """Metres from the back panel to the wall."""


@dataclass(frozen=True, slots=True, eq=False)
class Bay:
    """A bay and the camera that was commissioned for it. Compared and hashed by identity."""

    id: str
    seed: int
    width: float
    height: float
    boards: tuple[Board, ...]
    """From the top; `ceilings[i]` is the y below which compartment i is open."""
    ceilings: tuple[float, ...]
    slots: tuple[SlotPlan, ...]
    neighbours: tuple[SlotPlan, ...]
    """Slots left and right of the bay that are not watched."""
    reach: tuple[float, float]
    """x from which and up to which boards go on (beyond 0 and `width` where there are neighbours)."""
    look: Look
    reference: CameraPose

    @property
    def centre(self) -> tuple[float, float, float]:
        return self.width / 2, self.height / 2, 0.0


@dataclass(frozen=True, slots=True)
class StockLevel:
    """What stands in one slot."""

    state: State = State.STOCKED
    """stocked, low or empty."""
    front_rows_gone: int = 0
    """low: at least one."""
    missing: frozenset[int] = frozenset()
    """Facings of the foremost row that are gone although the row is there."""
    setback: float = 0.0
    """Metres that the foremost row stands further back than usual."""
    laid: bool = False
    """The foremost packs have fallen over backwards."""
    seed: int = 0
    """Of the small disorder; changes when somebody restocks."""
    other: Facing | None = None
    """Another product in the slot's place (a promotion reset, a wrong pack)."""
    top_gone: int = 0
    """Packs missing on top of the foremost stacks."""


FULL = StockLevel()


@dataclass(frozen=True, slots=True)
class StockHabits:
    """How random stock is drawn."""

    low: float = 0.14
    empty: float = 0.26
    whole_row: float = 0.04
    """Chance per row that all its slots are full, or all are empty."""
    swaps: float = 0.0
    """Chance per stocked slot that another product stands there."""
    disorder: float = 0.15
    """Chance per slot of a laid, missing or pushed-back pack."""
    photograph_share: float = 0.3


def polygon(bay: Bay, slot: SlotPlan, camera: CameraPose) -> Quad:
    """The slot's outline on the front plane as `camera` sees it (lens distortion left out)."""
    pixels, _ = project(camera, corners(bay, slot))
    a, b, c, d = ((float(x), float(y)) for x, y in pixels)
    return a, b, c, d


def corners(bay: Bay, slot: SlotPlan) -> Points:
    """(4, 3) metres: the slot's outline on the front plane, clockwise from the top left."""
    bottom = bay.boards[slot.row].y
    return np.array(
        [(slot.x0, slot.polygon_top, 0), (slot.x1, slot.polygon_top, 0), (slot.x1, bottom, 0), (slot.x0, bottom, 0)],
        np.float64,
    )


def layout_slots(bay: Bay) -> tuple[Slot, ...]:
    """The slots as the commissioned camera sees them, for `layout.write_layout`."""
    return tuple(Slot(s.id, s.facing.pack, polygon(bay, s, bay.reference)) for s in bay.slots)
