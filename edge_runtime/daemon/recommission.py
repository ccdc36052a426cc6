"""`camera.recommission`: a new reference picture from afar, of a camera that still recognises its shelf.

The new picture is the median of the next good frames; the slots are carried over along the plane of the registration. What
is not certain is refused: a bad registration, people in front, bad light, slots outside the picture, a shelf that is not
recognised in the new picture. Nothing is changed before the new reference has proved itself on a frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.daemon.background import Background
from edge_runtime.daemon.models import build_parts
from edge_runtime.daemon.mountings import Mounting
from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.normalize.reference import open_reference
from edge_runtime.records import (
    ANSWERS,
    Frame,
    Image,
    Layout,
    LightDecision,
    Outcome,
    RegistrationStatus,
    Remark,
    Slot,
    State,
    View,
)
from edge_runtime.telemetry.messages import Scalar

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station

FRAMES = 7
LIMIT_S = 90.0
"""For FRAMES good frames in a row."""
LEAST_INLIERS = 40
MOST_RESIDUAL_PX = 3.0
LEAST_ANSWERED = 0.8
"""Share of the slots that a good frame answers."""
MOST_WANDER_PX = 3.0
"""How far a slot's corner may move among the frames: the camera must stand still."""
LEAST_SHARPNESS = 0.5
_DARK = (LightDecision.REFUSED, LightDecision.UNSEEN)


class Recommission:
    """Gathers frames between other work (`attend`), makes the reference in another thread; a
    `fleet.command_queue.Later`."""

    def __init__(
        self, state_dir: Path, station: Station, why: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._camera = station.name
        self._mounting = Mounting(state_dir, station.name, station.parts.config.layout)
        self._slots = station.parts.layout.slots
        self._why = why
        self._clock = clock
        self._until_s = clock() + LIMIT_S
        self._good: list[Outcome] = []
        self._seen = station.outcome.frame.sequence if station.outcome else 0
        self._trouble = "no frame came"
        self._work: Background[dict[str, Scalar]] = Background()
        self._result: dict[str, Scalar] | None = None
        self._fault: EdgeError | None = None

    def outcome(self) -> Mapping[str, Scalar] | None:
        """None while it goes on. Raises Refused for what the camera shows, TryAgain for a disk."""
        if self._fault is not None:
            raise self._fault
        return self._result

    def attend(self, daemon: Daemon) -> bool:
        """Between two frames; True once it has ended."""
        done = self._work.poll()
        if done is not None:
            return self._end(daemon, done.result, done.fault)
        if self._work.key:
            return False
        station = daemon.roster.stations.get(self._camera)
        if station is not None and station.outcome is not None:
            self._look(station.outcome)
        if len(self._good) >= FRAMES:
            good, slots, mounting = tuple(self._good), self._slots, self._mounting
            self._work.start("recommission", lambda: renew(mounting, good, slots))
        elif self._clock() >= self._until_s:
            fault = Refused(f"no {FRAMES} good frames in {LIMIT_S:.0f} s: {self._trouble}", "Mend that, and ask again")
            return self._end(daemon, None, fault)
        return False

    def _look(self, outcome: Outcome) -> None:
        if outcome.frame.sequence == self._seen:
            return
        self._seen = outcome.frame.sequence
        trouble = trouble_of(outcome, self._slots, self._good[0] if self._good else None)
        if trouble:
            self._trouble = trouble
            self._good.clear()
        else:
            self._good.append(outcome)

    def _end(self, daemon: Daemon, result: dict[str, Scalar] | None, fault: EdgeError | None) -> bool:
        self._result, self._fault, self._good = result, fault, []
        if result is not None:
            station = daemon.roster.stations.get(self._camera)
            if station is not None:
                station.parts.drift.reset()
            detail: dict[str, str | float] = {"reason": self._why, "layout": str(result.get("layout", ""))}
            daemon.report("camera", "", "recommissioned", detail, self._camera)
            daemon.ask_rebuild()
        return True


class Undo:
    """Goes back to the reference before; a `fleet.command_queue.Later`."""

    def __init__(self, daemon: Daemon, station: Station, why: str) -> None:
        self._daemon, self._station, self._why = daemon, station, why
        mounting = Mounting(daemon.parts.config.storage.state_dir, station.name, station.parts.config.layout)
        self._work: Background[str] = Background()
        self._work.start("undo", lambda: str(mounting.go_back()))

    def outcome(self) -> Mapping[str, Scalar] | None:
        done = self._work.poll()
        if done is None:
            return None
        if done.fault is not None:
            raise done.fault
        station, daemon = self._station, self._daemon
        station.parts.drift.reset()
        daemon.report("camera", "", "recommission undone", {"reason": self._why}, station.name)
        daemon.ask_rebuild()
        return {"camera": station.name, "layout": done.result}


def trouble_of(outcome: Outcome, slots: tuple[Slot, ...], first: Outcome | None) -> str:
    """Why a frame can be no part of a reference; empty if it can. `first`: of the frames before it."""
    view = outcome.view
    if not isinstance(view, View):
        return f"the picture can not be used: {view.detail or view.reason}"
    return _view_trouble(view) or _slots_trouble(outcome, slots) or (_moved(outcome, slots, first) if first else "")


def _view_trouble(view: View) -> str:
    where = view.registration
    if where.status is not RegistrationStatus.OK or where.homography is None:
        return "the shelf was not registered"
    if where.inliers < LEAST_INLIERS or (where.residual_px or 0.0) > MOST_RESIDUAL_PX:
        return f"the registration is poor ({where.inliers} points, {where.residual_px or 0.0:.1f} px)"
    if Remark.PARTLY_OUT_OF_VIEW in where.remarks:
        return "slots lie outside the picture"
    if view.light.decision in _DARK:
        return f"the light is bad ({view.light.decision})"
    if view.sharpness < LEAST_SHARPNESS:
        return f"the picture is blurred (sharpness {view.sharpness:.2f})"
    return ""


def _slots_trouble(outcome: Outcome, slots: tuple[Slot, ...]) -> str:
    if blocked := [reading.slot for reading in outcome.readings if reading.state is State.BLOCKED]:
        return f"something stands in front of {', '.join(blocked[:4])}"
    answered = sum(reading.state in ANSWERS for reading in outcome.readings)
    return "" if answered >= LEAST_ANSWERED * len(slots) else f"only {answered} of {len(slots)} slots are seen well"


def _moved(outcome: Outcome, slots: tuple[Slot, ...], first: Outcome) -> str:
    now, before = (carried(slots, np.asarray(one.view.registration.homography)) for one in (outcome, first))
    alike = outcome.frame.pixels.shape == first.frame.pixels.shape
    return "" if alike and float(np.abs(now - before).max()) <= MOST_WANDER_PX else "the camera does not stand still"


def carried(slots: tuple[Slot, ...], homography: NDArray[np.float64]) -> NDArray[np.float64]:
    """(slots, 4, 2): the slots' corners in the frame."""
    corners = np.array([slot.polygon for slot in slots], np.float64).reshape(-1, 1, 2)
    return np.asarray(cv2.perspectiveTransform(corners, homography), np.float64).reshape(-1, 4, 2)


def renew(mounting: Mounting, good: tuple[Outcome, ...], slots: tuple[Slot, ...]) -> dict[str, Scalar]:
    """Make the new reference, let the camera's last frame prove it, and let it hold. Raises Refused if it does not."""
    picture: Image = np.median(np.stack([one.frame.pixels for one in good]), axis=0).astype(np.uint8)
    grids = np.stack([carried(slots, np.asarray(one.view.registration.homography)) for one in good])
    moved = tuple(_slot(slot, quad) for slot, quad in zip(slots, np.median(grids, axis=0), strict=True))
    before = mounting.in_force()
    number, layout = mounting.draft(picture, moved)
    try:
        inliers = _proved(layout, good[-1].frame)
        mounting.hold(number)
    except EdgeError:
        mounting.discard(number)
        raise
    return {"layout": str(layout.path), "before": str(before), "slots": len(moved), "inliers": inliers}


def _slot(slot: Slot, quad: NDArray[np.float64]) -> Slot:
    a, b, c, d = ((round(float(x), 2), round(float(y), 2)) for x, y in quad)
    return Slot(slot.id, slot.sku, (a, b, c, d))


def _proved(layout: Layout, frame: Frame) -> int:
    """The inliers of a frame against its own new reference. Raises Refused if it is not recognised there."""
    normalizer, _ = build_parts(layout, open_reference(layout), None)
    try:
        view = normalizer.normalize(frame)
    except cv2.error as fault:
        raise TryAgain(f"the new reference could not be tried: {str(fault)[:200]}", "Ask again") from None
    if not isinstance(view, View) or view.registration.inliers < LEAST_INLIERS:
        raise Refused("the shelf is not recognised in its own new picture", "Look at a snapshot; light it better")
    return view.registration.inliers
