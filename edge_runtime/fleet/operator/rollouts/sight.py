"""What a rollout sees of a fleet, and how a directory, evidence and verified wishes give it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.fleet.operator.directory import Device, Directory, matches
from edge_runtime.fleet.operator.rollouts.evidence import Evidence, Window
from edge_runtime.fleet.operator.rollouts.plan import Plan


@dataclass(frozen=True, slots=True)
class Seen:
    """One device, as far as a rollout is concerned."""

    online: bool = False
    away_s: float = 0.0
    """For how long it has been seen offline; 0 while it is online."""
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
            return Seen(desired=wish, floor=wish.seq if wish else 0)
        status, reported = found.status, found.reported
        model = None
        if found.model is not None:
            model = DesiredModel(name=found.model.name, version=found.model.version, sha256=found.model.sha256)
        return Seen(
            online=found.online,
            away_s=0.0 if found.online else self._now - self._away_since.get(device, self._now),
            session=found.availability.session if found.availability else 0,
            model=model,
            desired=wish,
            floor=max(wish.seq if wish else 0, reported.seq if reported else 0),
            reported_seq=reported.seq if reported else 0,
            reported=reported.state if reported else "none",
            why=(reported.detail or reported.reason) if reported else "",
            rollbacks=status.rollbacks if status else 0,
        )


def _takes_part(device: Device) -> bool:
    """Whether it is a device of this protocol that has told what it runs."""
    return device.status is not None or device.info is not None
