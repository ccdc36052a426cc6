"""What commands may do here: show a picture, change the model. Runs between two frames, on the loop.

What takes longer than that is an errand. A broker alone can never bring a model in: an errand fetches only what the
repository offers that device.toml names, under the root that device.toml pins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import msgspec

from edge_runtime.daemon.errand import Errand, Place
from edge_runtime.daemon.errand_runner import Job
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.handlers import Picture
from edge_runtime.fleet.model_handlers import ModelChoice
from edge_runtime.records import ANSWERS, Image, ModelId, State
from edge_runtime.telemetry.messages import MAX_SNAPSHOT_BYTES

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.daemon.station import Station

SNAPSHOT_SIDE_PX = 1280
MAX_JPEG_BYTES = MAX_SNAPSHOT_BYTES * 7 // 10
"""The message carries base64, a third larger, and a head."""


class Desk:
    """`handlers.SnapshotSource` and `handlers.ModelSwitch` of this device, and the queue that calls them.

    It serves one daemon after the other: what it needs of the configuration it asks of the one that attends.
    """

    def __init__(self, make_queue: Callable[[Desk], CommandQueue]) -> None:
        self._daemon: Daemon | None = None
        self.queue = make_queue(self)

    def attend(self, daemon: Daemon) -> None:
        """Carry out what waits."""
        self._daemon = daemon
        self.queue.drain()

    def close(self) -> None:
        """The device ends or is set up anew: whoever waits is told."""
        self.queue.abandon("the device stopped or was reconfigured; ask again")

    def snapshot(self, camera: str) -> Picture:
        """The newest picture of a camera, scaled to SNAPSHOT_SIDE_PX at most."""
        station = self._station(camera)
        if station.outcome is None or station.last_frame_at is None or station.age_s > station.lost_s:
            raise TryAgain(f"camera {camera} has no picture now", "Ask again when it is back")
        pixels, jpeg = encode_bounded(station.outcome.frame.pixels, MAX_JPEG_BYTES)
        return Picture(camera, station.outcome.frame.captured_at, pixels.shape[1], pixels.shape[0], jpeg)

    def rollback(self, why: str) -> ModelId | None:
        """Put the previous model in charge. Raises Refused if there is none."""
        daemon = self._running()
        daemon.change_model(lambda stations: daemon.deck.roll_back(why, stations), why)
        return daemon.deck.id

    def feedback(self, camera: str, slot: str, state: State) -> State:
        """A label for the guard. Raises Refused for a slot that is not there, or that the model does not answer now."""
        daemon, station = self._running(), self._station(camera)
        outcome = station.outcome if station.age_s <= station.lost_s else None
        reading = next((r for r in outcome.readings if r.slot == slot), None) if outcome is not None else None
        if outcome is None or reading is None or reading.state not in ANSWERS:
            raise Refused(
                f"camera {camera!r}, slot {slot!r} has no answer now", "Ask for one that is not unknown or blocked"
            )
        verdict = daemon.parts.candidacy.feedback(camera, slot, reading.state, state)
        if verdict.fall_back:
            reason = verdict.reason
            daemon.change_model(lambda stations: daemon.deck.fall_back(reason, stations), reason)
        return reading.state

    def install(self, name: str, version: str) -> Job:
        """Fetch a release. Raises Refused if this device has no repository, TryAgain while another errand runs."""
        if not self._place.repository:
            raise Refused("this device has no model repository", "Give [model] repository and root in device.toml")
        return self._send(Errand(self._place, "install", name=name, version=version))

    def activate(self, model: ModelChoice, shadow_s: float | None, trial_s: float | None, why: str) -> Job:
        """Prove a bundle that is on this device, and let it in. Raises TryAgain while another errand runs."""
        terms = self._place.terms
        terms = msgspec.structs.replace(
            terms,
            shadow_s=terms.shadow_s if shadow_s is None else shadow_s,
            trial_s=terms.trial_s if trial_s is None else trial_s,
        )
        return self._send(Errand(self._place, "activate", model.name, model.version, model.sha256, why, terms))

    def commit(self, why: str) -> Job:
        """End the trial now and keep the model."""
        return self._send(Errand(self._place, "commit", why=why))

    def release(self, sha256: str) -> Job:
        """Lift a quarantine."""
        return self._send(Errand(self._place, "release", sha256=sha256))

    @property
    def _place(self) -> Place:
        return self._running().parts.place

    def _send(self, errand: Errand) -> Job:
        return self._running().parts.errands.send(errand)

    def _station(self, camera: str) -> Station:
        stations = self._running().roster.stations
        if camera not in stations:
            raise Refused(f"there is no camera {camera!r}; {', '.join(stations) or 'none'} would be")
        return stations[camera]

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
