"""What each verb does, on small protocols that the daemon fills in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_runtime import __version__
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.arguments import camera, flag, only, word
from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.command_queue import Handler, Later
from edge_runtime.fleet.model_handlers import ModelSwitch, model_handlers
from edge_runtime.records import ANSWERS, State
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Scalar, Snapshot, encode
from edge_runtime.telemetry.publisher import Delivery, Publisher


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of what one camera sees."""

    camera: str
    at: float
    """Wall clock of the capture."""
    width: int
    height: int
    jpeg: bytes
    policy: str = "whole"
    """What of it may be shown: `slots`, `faces-blurred` or `whole`."""
    faces: int = 0
    """Boxes that were blurred; one face may have several."""


class PictureToCome(Protocol):
    """A picture that is being made."""

    def picture(self) -> Picture | None:
        """None while it is made. Raises an errors.EdgeError if that failed."""
        ...


class SnapshotSource(Protocol):
    """Makes pictures for those who ask."""

    def snapshot(self, camera: str) -> PictureToCome:
        """The newest picture of a camera, small enough to send. Raises errors.Refused for a camera it does not know or
        may not show, errors.TryAgain when there is no picture yet."""
        ...


class FeedbackTaker(Protocol):
    """Hears what people say of slots and events."""

    def feedback(self, camera: str, slot: str, state: State) -> State:
        """Somebody stands before the shelf and says what a slot is; what the running model says of it. Raises
        errors.Refused for a slot that is not there or has no answer now."""
        ...

    def label(self, event: str, right: bool) -> Mapping[str, Scalar]:
        """Somebody says whether an event was right; what the event was. Raises errors.Refused for one that is not
        remembered, or that was labelled the other way."""
        ...


def ping(started_s: float, clock: Callable[[], float]) -> Handler:
    """No args. Version and uptime."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ())
        return {"version": __version__, "uptime_s": round(clock() - started_s, 1)}

    return answer


def snapshot(stamp: Stamp, publisher: Publisher, source: SnapshotSource) -> Handler:
    """args: `camera`. The picture goes to `snapshot/<camera>`; the result names the topic."""

    def answer(command: Command) -> Later:
        only(command, ("camera",))
        return _PictureOut(command.id, source.snapshot(camera(command)), stamp, publisher)

    return answer


class _PictureOut:
    """Sends a picture once it is made."""

    def __init__(self, command: str, coming: PictureToCome, stamp: Stamp, publisher: Publisher) -> None:
        self._command, self._coming, self._stamp, self._publisher = command, coming, stamp, publisher

    def outcome(self) -> Mapping[str, Scalar] | None:
        picture = self._coming.picture()
        if picture is None:
            return None
        message = Snapshot(
            **self._stamp.head(picture.at),
            id=self._command,
            camera=picture.camera,
            content_type="image/jpeg",
            width=picture.width,
            height=picture.height,
            data=picture.jpeg,
        )
        topic = self._stamp.topics.snapshot(picture.camera)
        if self._publisher.publish(topic, encode(message), 1, False).delivery() in (Delivery.FAILED, Delivery.REFUSED):
            raise TryAgain("the picture could not be sent", "Ask again when the device is online")
        result: dict[str, Scalar] = {"topic": topic, "bytes": len(picture.jpeg), "policy": picture.policy}
        return result | {"width": picture.width, "height": picture.height, "faces": picture.faces}


def feedback(taker: FeedbackTaker) -> Handler:
    """args: `camera`, `slot`, `state` (stocked, low or empty); or `event` (its id) and `right` (true or false). The guard
    weighs it for or against the model."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        if "event" in command.args:
            only(command, ("event", "right"))
            if "right" not in command.args:
                raise Refused("args.right is missing: true if the event was right, false if it was wrong")
            return taker.label(word(command, "event", "the id of an event"), flag(command, "right"))
        only(command, ("camera", "slot", "state"))
        name, slot, state = (command.args.get(key) for key in ("camera", "slot", "state"))
        if not isinstance(name, str) or not isinstance(slot, str) or state not in tuple(map(str, ANSWERS)):
            raise Refused("args must be camera, slot and state: stocked, low or empty; or event and right")
        said = taker.feedback(name, slot, State(str(state)))
        return {"said": said.value, "right": said.value == state}

    return answer


def standard_handlers(
    stamp: Stamp,
    publisher: Publisher,
    switch: ModelSwitch | None,
    source: SnapshotSource | None,
    clock: Callable[[], float] = time.monotonic,
    taker: FeedbackTaker | None = None,
) -> dict[str, Handler]:
    """Verb -> handler. Without a source (the configuration does not allow snapshots) the verb is refused as unknown."""
    found: dict[str, Handler] = {"ping": ping(clock(), clock)}
    if source is not None:
        found["snapshot"] = snapshot(stamp, publisher, source)
    if taker is not None:
        found["feedback"] = feedback(taker)
    if switch is not None:
        found |= model_handlers(switch)
    return found
