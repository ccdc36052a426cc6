"""A fleet in memory that a rollout can be tried on: devices with models, moods and figures, and time that tests move."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.fleet.operator.rollouts.engine import Rollout
from edge_runtime.fleet.operator.rollouts.evidence import Window
from edge_runtime.fleet.operator.rollouts.plan import Plan
from edge_runtime.fleet.operator.rollouts.records import Batch, Head, decode_record, encode_record
from edge_runtime.fleet.operator.rollouts.sight import Seen

OLD = DesiredModel(name="shelf", version="1.0.0")
NEW = DesiredModel(name="shelf", version="1.1.0")


@dataclass
class Box:
    """One device. Tests assign to it."""

    online: bool = True
    away_since: float = 0.0
    session: int = 1
    model: DesiredModel = OLD
    desired: Desired | None = None
    reported_seq: int = 0
    reported: str = "none"
    rollbacks: int = 0
    takes_s: float = 5.0
    breaks: bool = False
    """Its guard takes the new model out."""
    due: float | None = None
    """When it has done what is desired."""
    written: list[Desired] = field(default_factory=list)


@dataclass
class World:
    """Obeys `Sight`. `quality`: version -> (accuracy, unknown share, p95 ms)."""

    boxes: dict[str, Box]
    quality: dict[str, tuple[float, float, float]]
    noise: float = 0.005
    mood: float = 0.0
    """Added to everybody's accuracy: the evening comes for all."""
    now: float = 1_760_000_000.0
    telemetry_s: float = 10.0
    silent: set[str] = field(default_factory=set)
    groups: dict[str, set[str]] = field(default_factory=dict)
    connected_s: float = 1e9
    keeps: bool = True
    """Whether the broker retains what is written."""
    chances: random.Random = field(default_factory=lambda: random.Random(7))
    heard: dict[str, list[Window]] = field(default_factory=dict)

    def eligible(self, plan: Plan) -> list[str]:
        return list(self.boxes)

    def members(self, group: str) -> set[str]:
        return self.groups.get(group, set())

    def windows(self, device: str) -> list[Window]:
        return self.heard.get(device, [])[-48:]

    def seen(self, device: str) -> Seen:
        box = self.boxes[device]
        return Seen(
            box.online,
            0.0 if box.online else self.now - box.away_since,
            box.session,
            box.model,
            box.desired,
            max(box.reported_seq, box.desired.seq if box.desired else 0),
            box.reported_seq,
            box.reported,
            "",
            box.rollbacks,
        )

    def write(self, wish: Desired) -> None:
        box = self.boxes[wish.audience]
        if not self.keeps or (box.desired is not None and box.desired.seq >= wish.seq):
            return
        box.desired = wish
        box.written.append(wish)

    def go_on(self, seconds: float) -> None:
        """Time passes: devices do what is desired, and tell their figures."""
        before = self.now
        self.now += seconds
        for name, box in self.boxes.items():
            if box.online:
                self._converge(box)
            if (
                box.online
                and name not in self.silent
                and int(self.now / self.telemetry_s) > int(before / self.telemetry_s)
            ):
                self.heard.setdefault(name, []).append(self._window(box))

    def _converge(self, box: Box) -> None:
        wish = box.desired
        if wish is None or (wish.seq <= box.reported_seq and box.reported != "converging"):
            return
        if wish.seq > box.reported_seq:
            box.reported_seq, box.reported, box.due = wish.seq, "converging", self.now + box.takes_s
        if box.due is not None and self.now >= box.due:
            bad = box.breaks and wish.model is not None and wish.model.version == NEW.version
            box.reported, box.due = ("failed" if bad else "converged"), None
            box.rollbacks += bad
            if wish.model is not None and not bad:
                box.model = wish.model

    def _window(self, box: Box) -> Window:
        accuracy, unknown, p95 = self.quality[box.model.version]
        drawn = accuracy + self.mood + self.chances.gauss(0.0, self.noise)
        return Window(self.now, f"shelf-{box.model.version}", (drawn, unknown, math.log(p95)))


def plan(**changes: object) -> Plan:
    from edge_runtime.fleet.operator.rollouts.defaults import GATES
    from edge_runtime.fleet.operator.rollouts.plan import parse_rings

    base = {
        "model": NEW, "rings": parse_rings("canary=5,25%,100%"), "gates": dict(GATES), "seed": "s",
        "soak_s": 120.0, "settle_s": 300.0, "patience_s": 600.0, "grace_s": 60.0,
    }  # fmt: skip
    return Plan(**(base | changes))


def begin(world: World, what: Plan | None = None) -> Rollout:
    return Rollout(
        Head(
            name="r",
            plan=what or plan(),
            generation=1,
            owner="me",
            revision=1,
            began_at=world.now,
            at=world.now,
            phase="baseline",
            since=world.now,
        )
    )


def fleet(number: int, sites: int = 4, **quality: tuple[float, float, float]) -> World:
    found = {"1.0.0": (0.95, 0.02, 100.0), "1.1.0": (0.955, 0.02, 105.0)} | {
        k.replace("_", "."): v for k, v in quality.items()
    }
    return World({f"s{n % sites}/d{n:03d}": Box() for n in range(number)}, found)


class Disk:
    """What survives a kill: the records, as bytes."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    def keep(self, record: Head | Batch) -> None:
        self.raw.append(encode_record(record))

    def again(self) -> Rollout:
        """A new process: only what was kept is known."""
        records = [decode_record(raw) for raw in self.raw]
        heads = [record for record in records if isinstance(record, Head)]
        return Rollout(max(heads, key=lambda head: head.rank), [r for r in records if isinstance(r, Batch)])


def carry_out(world: World, rollout: Rollout, seconds: float = 20_000.0, until: str = "") -> Rollout:
    """A run without kills, to its end or to a phase."""
    ends = world.now + seconds
    while world.now < ends and not rollout.over and rollout.head.phase != until:
        for record in rollout.step(world, world.now):
            rollout.take(record)
        for wish in list(rollout.outstanding(world)):
            world.write(wish)
        world.go_on(5.0)
    return rollout
