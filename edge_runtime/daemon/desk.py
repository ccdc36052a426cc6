"""What commands may do here: show a picture, go back to the previous model. Runs between two frames, on the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.handlers import Picture
from edge_runtime.records import Image, ModelId
from edge_runtime.telemetry.messages import MAX_SNAPSHOT_BYTES

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon

SNAPSHOT_SIDE_PX = 1280
MAX_JPEG_BYTES = MAX_SNAPSHOT_BYTES * 7 // 10
"""The message carries base64, a third larger, and a head."""


class Desk:
    """`handlers.SnapshotSource` and `handlers.ModelSwitch` of this device, and the queue that calls them."""

    def __init__(self, make_queue: Callable[[Desk], CommandQueue]) -> None:
        self._daemon: Daemon | None = None
        self.queue = make_queue(self)

    def attend(self, daemon: Daemon) -> None:
        """Carry out what waits."""
        self._daemon = daemon
        self.queue.drain()

    def snapshot(self, camera: str) -> Picture:
        """The newest picture of a camera, scaled to SNAPSHOT_SIDE_PX at most."""
        daemon = self._running()
        station = daemon.roster.stations.get(camera)
        if station is None:
            known = ", ".join(daemon.roster.stations) or "none"
            raise Refused(f"there is no camera {camera!r}; {known} would be")
        if station.outcome is None or station.last_frame_at is None or station.age_s > station.lost_s:
            raise TryAgain(f"camera {camera} has no picture now", "Ask again when it is back")
        pixels, jpeg = encode_bounded(station.outcome.frame.pixels, MAX_JPEG_BYTES)
        return Picture(camera, station.outcome.frame.captured_at, pixels.shape[1], pixels.shape[0], jpeg)

    def rollback(self, why: str) -> ModelId | None:
        """Put the previous model in charge. Raises Refused if there is none."""
        daemon = self._running()
        daemon.change_model(lambda stations: daemon.deck.roll_back(why, stations), why)
        return daemon.deck.id

    def _running(self) -> Daemon:
        if self._daemon is None:
            raise TryAgain("the device is starting", "Ask again in a moment")
        return self._daemon


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
