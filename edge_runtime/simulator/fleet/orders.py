"""Commands to a virtual device: the device's own gate and queue; its models only take time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from edge_runtime.errors import Refused
from edge_runtime.fleet.command_queue import CommandQueue, Later
from edge_runtime.fleet.commands import CommandGate
from edge_runtime.fleet.desired import DesiredModel
from edge_runtime.fleet.handlers import ping
from edge_runtime.fleet.model_handlers import ModelChoice, model_handlers
from edge_runtime.fleet.openers import Opener
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.swarm import SwarmLink
from edge_runtime.records import ModelId
from edge_runtime.simulator.fleet.models import Switch, VirtualModels
from edge_runtime.simulator.fleet.plan import FleetPlan, digest_of
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Scalar

DRAIN_S = 0.5
DRAINED_S = 10.0
"""After a command the queue is looked after for so long, and as long as a download may take."""


class Commanded(Protocol):
    """The device as its orders see it."""

    models: VirtualModels

    @property
    def stamp(self) -> Stamp: ...
    @property
    def link(self) -> SwarmLink: ...
    @property
    def clock(self) -> Callable[[], float]: ...
    @property
    def wall(self) -> Callable[[], float]: ...
    def switched(self, change: Switch) -> None: ...
    def after(self, seconds: float, act: Callable[[], None]) -> None: ...


class Soon:
    """Work that is done when its time has come (`fleet.command_queue.Later`)."""

    def __init__(self, clock: Callable[[], float], seconds: float, work: Callable[[], Mapping[str, Scalar]]) -> None:
        self._clock, self._due_s, self._work = clock, clock() + seconds, work

    def outcome(self) -> Mapping[str, Scalar] | None:
        """Raises what the work raises."""
        return self._work() if self._clock() >= self._due_s else None


class Orders:
    """One session's commands. Receipts and floors last as long as the object."""

    def __init__(self, device: Commanded, plan: FleetPlan, opener: Opener) -> None:
        self._device, self._plan = device, plan
        handlers = {"ping": ping(device.clock(), device.clock), **model_handlers(self)}
        gate = CommandGate(device.stamp.topics, frozenset(handlers), opener)
        self._queue = CommandQueue(gate, device.stamp, device.link, handlers, wall=device.wall, clock=device.clock)
        self._until_s = 0.0

    def arrived(self, message: Incoming) -> None:
        self._queue.arrived(message)
        self._drain()

    def rollback(self, why: str) -> ModelId | None:
        was = self._device.models.running.version
        running = self._device.models.take_out(why)
        self._device.switched(Switch(was, running.version, "rolled_back", why))
        return running

    def install(self, name: str, version: str) -> Later:
        if not version:
            raise Refused("a virtual device installs named versions only", "Give version")

        def work() -> Mapping[str, Scalar]:
            return _named(self._device.models.install(DesiredModel(name=name or self._plan.model, version=version)))

        return Soon(self._device.clock, self._plan.download_s, work)

    def activate(self, model: ModelChoice, shadow_s: float | None, trial_s: float | None, why: str) -> Later:
        digest = model.sha256 or digest_of(model.name, model.version)

        def work() -> Mapping[str, Scalar]:
            models, was = self._device.models, self._device.models.running.version
            phase = models.activate(digest, shadow_s, trial_s, why, self._device.clock())
            self._device.switched(Switch(was, models.id_of(digest).version, phase, why))
            return {**_named(models.id_of(digest)), "phase": phase}

        return Soon(self._device.clock, 1.0, work)

    def commit(self, why: str) -> Later:
        return Soon(self._device.clock, 0.0, lambda: _named(self._device.models.commit(why)))

    def release(self, sha256: str) -> Later:
        raise Refused(f"{sha256[:12]} is not quarantined")

    def _drain(self) -> None:
        """The loop of a virtual device turns only while there may be something to do."""
        clock = self._device.clock
        begins = clock() >= self._until_s
        self._until_s = clock() + DRAINED_S + 4 * self._plan.download_s

        def drain() -> None:
            self._queue.drain()
            if clock() < self._until_s:
                self._device.after(DRAIN_S, drain)

        if begins:
            self._device.after(0.0, drain)


def _named(model: ModelId) -> Mapping[str, Scalar]:
    return {"name": model.name, "version": model.version, "sha256": model.sha256}
