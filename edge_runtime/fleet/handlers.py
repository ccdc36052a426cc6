"""What each verb does, on small protocols that the daemon fills in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_runtime import __version__
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.command_queue import Handler
from edge_runtime.fleet.commands import Command
from edge_runtime.fleet.model_handlers import ModelSwitch, model_handlers, only
from edge_runtime.records import ANSWERS, State
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Scalar, Snapshot, encode
from edge_runtime.telemetry.publisher import Delivery, Publisher
from edge_runtime.telemetry.topics import segment_fault


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of what one camera sees."""

    camera: str
    at: float
    """Wall clock of the capture."""
    width: int
    height: int
    jpeg: bytes


class SnapshotSource(Protocol):
    def snapshot(self, camera: str) -> Picture:
        """The newest picture of a camera, small enough to send. Raises errors.Refused for a camera it does not know or
        may not show, errors.TryAgain when there is no picture yet."""
        ...


class FeedbackTaker(Protocol):
    def feedback(self, camera: str, slot: str, state: State) -> State:
        """Somebody stands before the shelf and says what a slot is; what the running model says of it. Raises
        errors.Refused for a slot that is not there or has no answer now."""
        ...


def ping(started_s: float, clock: Callable[[], float]) -> Handler:
    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ())
        return {"version": __version__, "uptime_s": round(clock() - started_s, 1)}

    return answer


def snapshot(stamp: Stamp, publisher: Publisher, source: SnapshotSource) -> Handler:
    """args: `camera`. The picture goes to `snapshot/<camera>`; the result names the topic."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("camera",))
        camera = command.args.get("camera")
        if not isinstance(camera, str) or segment_fault(camera):
            raise Refused(f"args.camera is {camera!r:.80}, the name of a camera was expected")
        picture = source.snapshot(camera)
        message = Snapshot(
            **stamp.head(picture.at),
            id=command.id,
            camera=camera,
            content_type="image/jpeg",
            width=picture.width,
            height=picture.height,
            data=picture.jpeg,
        )
        topic = stamp.topics.snapshot(camera)
        if publisher.publish(topic, encode(message), 1, False).delivery() in (Delivery.FAILED, Delivery.REFUSED):
            raise TryAgain("the picture could not be sent", "Ask again when the device is online")
        return {"topic": topic, "bytes": len(picture.jpeg), "width": picture.width, "height": picture.height}

    return answer


def feedback(taker: FeedbackTaker) -> Handler:
    """args: `camera`, `slot`, `state` (stocked, low or empty). The guard weighs it for or against the model."""

    def answer(command: Command) -> Mapping[str, Scalar]:
        only(command, ("camera", "slot", "state"))
        camera, slot, state = (command.args.get(key) for key in ("camera", "slot", "state"))
        if not isinstance(camera, str) or not isinstance(slot, str) or state not in tuple(map(str, ANSWERS)):
            raise Refused("args must be camera, slot and state: stocked, low or empty")
        said = taker.feedback(camera, slot, State(str(state)))
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
