"""Pictures for those who ask by command: what `[mqtt] snapshots` allows of the newest frame, made in another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2

from edge_runtime.daemon.background import Background
from edge_runtime.daemon.faces import Faces
from edge_runtime.daemon.privacy import FaceFinder, only_slots, without_faces
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.handlers import Picture
from edge_runtime.records import Image, Outcome, Slot
from edge_runtime.telemetry.messages import MAX_SNAPSHOT_BYTES

if TYPE_CHECKING:
    from edge_runtime.daemon.station import Station

SNAPSHOT_SIDE_PX = 1280
MAX_JPEG_BYTES = MAX_SNAPSHOT_BYTES * 7 // 10
"""The message carries base64, a third larger, and a head."""


class Shot:
    """A picture that is being made (`handlers.PictureToCome`)."""

    def __init__(self, work: Background[Picture]) -> None:
        self._work = work
        self._picture: Picture | None = None

    def picture(self) -> Picture | None:
        """None while it is made. Raises what went wrong."""
        done = self._work.poll() if self._picture is None else None
        if done is not None and done.fault is not None:
            raise done.fault
        if done is not None:
            self._picture = done.result
        return self._picture


class Photographer:
    """One picture at a time. Owned by the inference loop."""

    def __init__(self, make_faces: Callable[[], FaceFinder] = Faces) -> None:
        self._make_faces = make_faces
        self._work: Background[Picture] = Background()

    def shoot(self, station: Station, policy: str) -> Shot:
        """Begin with the newest picture of a camera. Raises Refused where nothing may be shown, TryAgain while another
        picture is made, or while the camera has none."""
        if policy == "off":
            raise Refused("device.toml allows no pictures: [mqtt] snapshots is off", "Allow them there, at the device")
        outcome = station.outcome
        if outcome is None or station.last_frame_at is None or station.age_s > station.lost_s:
            raise TryAgain(f"camera {station.name} has no picture now", "Ask again when it is back")
        slots = station.parts.layout.slots
        if self._work.busy:
            raise TryAgain("another picture is being made", "Ask again in a moment")
        self._work = Background()  # whoever asked before may have gone without hearing of his
        self._work.start("snapshot", lambda: take(outcome, slots, policy, self._make_faces))
        return Shot(self._work)


def take(outcome: Outcome, slots: tuple[Slot, ...], policy: str, make_faces: Callable[[], FaceFinder]) -> Picture:
    """The picture under a policy, small enough to send. Raises TryAgain if the slots are not to be found in it now, or
    OpenCV fails on it, Unavailable without a face detector."""
    try:
        return _take(outcome, slots, policy, make_faces)
    except (
        cv2.error,
        ArithmeticError,
        ValueError,
        MemoryError,
    ) as fault:  # a detector's nonsense too: it ends no daemon
        raise TryAgain(f"the picture could not be made: {str(fault)[:200]}", "Ask again") from None


def _take(outcome: Outcome, slots: tuple[Slot, ...], policy: str, make_faces: Callable[[], FaceFinder]) -> Picture:
    pixels, faces = outcome.frame.pixels, 0
    if policy == "slots":
        masked = only_slots(outcome, slots)
        if masked is None:
            raise TryAgain("the slots can not be found in the picture now", "Ask again when the camera can be used")
        pixels = masked
    if policy != "whole":
        pixels, faces = without_faces(pixels, make_faces())
    small, jpeg = encode_bounded(pixels, MAX_JPEG_BYTES)
    frame = outcome.frame
    return Picture(frame.camera, frame.captured_at, small.shape[1], small.shape[0], jpeg, policy, faces)


def encode_bounded(pixels: Image, max_bytes: int) -> tuple[Image, bytes]:
    """The picture as JPEG of at most `max_bytes`, made smaller until it fits; (what was encoded, the file)."""
    side = min(SNAPSHOT_SIDE_PX, max(pixels.shape[:2]))
    while True:
        factor = side / max(pixels.shape[:2])
        size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
        small: Image = pixels if factor == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        if len(jpeg) <= max_bytes or side < 64:
            return small, jpeg
        side = int(side * 0.75)
