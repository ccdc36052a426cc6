"""What a rollout sees of a fleet, and how a directory, evidence and verified wishes give it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.fleet.operator.directory import Device, Directory, matches
from edge_runtime.fleet.operator.rollouts.evidence import Evidence, Window
from edge_runtime.fleet.operator.rollouts.plan import Plan
from edge_runtime.fleet.operator.views import ModelView
from edge_runtime.telemetry.topics import segment_fault

LAST_SEQ = 10**13
"""Milliseconds until the year 2286. Whoever tells of more would leave no number for the next wish: it is not counted on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One device, as far as a rollout is concerned."""

    online: bool = False
    away_s: float = 0.0
    """For how long it has been seen offline without a break; 0 while it is online."""
    session: int = 0
    model: DesiredModel | None = None
    """What it runs."""
    desired: Desired | None = None
    """What is retained for it, verified."""
    floor: int = 0
    """The highest `seq` that it or its topic has told of."""
    reported_seq: int = 0
    reported: str = "none"
    why: str = ""
    rollbacks: int = 0
    trying: bool = False
    """What is desired is in its shadow run or trial."""


class Sight(Protocol):
    """The fleet at one moment."""

    @property
    def connected_s(self) -> float:
        """For how long the connection to the broker has stood."""
        ...

    def eligible(self, plan: Plan) -> Iterable[str]:
        """The devices that the plan is for, as `site/device`."""
        ...

    def members(self, group: str) -> Iterable[str]: ...
    def seen(self, device: str) -> Seen: ...
    def windows(self, device: str) -> Iterable[Window]:
        """Oldest first."""
        ...


class FleetSight:
    """A Sight over what an operator's connection has heard."""

    def __init__(self, directory: Directory, evidence: Evidence, wishes: Mapping[str, Desired]) -> None:
        self._directory, self._evidence, self._wishes = directory, evidence, wishes
        self._away_since: dict[str, float] = {}
        self._now = 0.0
        self.connected_s = 0.0

    def look(self, now: float, connected_s: float) -> None:
        """`now` by our clock. Call it before every step."""
        self._now, self.connected_s = now, connected_s
        for device in self._directory:
            if device.online:
                self._away_since.pop(device.id, None)
            else:
                self._away_since.setdefault(device.id, now)

    def eligible(self, plan: Plan) -> list[str]:
        return [
            d.id
            for d in self._directory
            if matches(plan.pattern, d.site, d.name) and (not plan.group or plan.group in d.groups) and _takes_part(d)
        ]

    def members(self, group: str) -> list[str]:
        return [d.id for d in self._directory if group in d.groups]

    def windows(self, device: str) -> list[Window]:
        return self._evidence.of(device, lambda window: True)

    def seen(self, device: str) -> Seen:
        found, wish = self._directory.get(device), self._wishes.get(device)
        if found is None:
            return Seen(desired=wish, floor=_sound(wish.seq if wish else 0))
        status, reported = found.status, found.reported
        told = _sound(reported.seq if reported else 0)
        return Seen(
            online=found.online,
            away_s=0.0 if found.online else self._away_s(device),
            session=found.availability.session if found.availability else 0,
            model=_model(found.model),
            desired=wish,
            floor=max(_sound(wish.seq if wish else 0), told),
            reported_seq=told,
            reported=reported.state if reported else "none",
            why=(reported.detail or reported.reason) if reported else "",
            rollbacks=status.rollbacks if status else 0,
            trying=reported is not None and reported.state == "converging" and reported.reason in ("shadow", "trial"),
        )

    def _away_s(self, device: str) -> float:
        """What it did while we were away ourselves nobody knows: its absence counts from our return."""
        return min(self._now - self._away_since.get(device, self._now), self.connected_s)


def _sound(seq: int) -> int:
    return seq if 0 <= seq <= LAST_SEQ else 0


def _model(said: ModelView | None) -> DesiredModel | None:
    """What a device says that it runs, if that can be a model: it goes into records that others must be able to read."""
    if said is None:
        return None
    model = {"name": said.name, "version": said.version, "sha256": said.sha256}
    try:
        return msgspec.convert(model, DesiredModel)
    except msgspec.ValidationError:
        return None


def _takes_part(device: Device) -> bool:
    """Whether it is a device of this protocol that has told what it runs, under a name that a wish can be sent to."""
    named = not segment_fault(device.site) and not segment_fault(device.name)
    return named and (device.status is not None or device.info is not None)
