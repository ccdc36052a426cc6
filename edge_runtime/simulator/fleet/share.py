"""One process of a virtual fleet: `python -m edge_runtime.simulator.fleet.share`; its share of the devices, in one loop.

The order comes as one JSON line on standard input; figures go out as JSON lines, one a second. It ends, with goodbyes,
when standard input ends.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import msgspec

from edge_runtime.fleet.desired import OpenUnsigned
from edge_runtime.fleet.openers import Opener
from edge_runtime.fleet.settings import parse_url
from edge_runtime.fleet.swarm import Swarm
from edge_runtime.lifecycle.trust.command_keys import read_command_keys
from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier
from edge_runtime.simulator.fleet.device import VirtualDevice
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.telemetry.observer import resident_mb

FIGURES_S = 1.0
FAREWELL_S = 10.0
HELD_UP = 4


class Share(msgspec.Struct, frozen=True):
    """What one process does: every `of`-th device of the plan, beginning with number `first`."""

    plan: FleetPlan
    first: int
    of: int


class Figures(msgspec.Struct, frozen=True):
    """How a process, or a whole fleet, is doing. Counts are since its start."""

    devices: int = 0
    connected: int = 0
    connecting: int = 0
    settled: int = 0
    """Connected, with all retained state said anew."""
    waiting: int = 0
    """Events that no broker has acknowledged yet."""
    waiting_devices: int = 0
    """Devices that have such events."""
    oldest_s: float = 0.0
    """Since the first of these events happened."""
    held_up: tuple[str, ...] = ()
    """Of a few devices that are not settled: which, and what they wait for."""
    cpu_s: float = 0.0
    rss_mb: float = 0.0
    counts: dict[str, int] = {}
    states: dict[str, int] = {}
    """Devices by what they report of their desired state."""
    models: dict[str, int] = {}
    """Devices by the version that runs."""

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.devices + other.devices,
            self.connected + other.connected,
            self.connecting + other.connecting,
            self.settled + other.settled,
            self.waiting + other.waiting,
            self.waiting_devices + other.waiting_devices,
            max(self.oldest_s, other.oldest_s),
            (self.held_up + other.held_up)[:HELD_UP],
            round(self.cpu_s + other.cpu_s, 2),
            round(self.rss_mb + other.rss_mb, 1),
            dict(Counter(self.counts) + Counter(other.counts)),
            dict(Counter(self.states) + Counter(other.states)),
            dict(Counter(self.models) + Counter(other.models)),
        )


def run(share: Share) -> None:
    """Until standard input ends."""
    plan = share.plan
    swarm = Swarm(random.Random(f"{plan.seed}:swarm:{share.first}").random)
    nodes = [parse_url(url) for url in plan.urls]
    opener = _opener(plan)
    devices = [
        VirtualDevice(plan, number, swarm, nodes, opener) for number in range(share.first, plan.devices, share.of)
    ]
    for device in devices:
        device.begin()
    next_s = swarm.clock()
    while not _ended():
        swarm.turn(0.2)
        if swarm.clock() >= next_s:
            next_s += FIGURES_S
            _tell(figures_of(swarm, devices))
    for device in devices:
        device.end()
    ends_s = swarm.clock() + FAREWELL_S
    while any(device.link.connected for device in devices) and swarm.clock() < ends_s:
        swarm.turn(0.1)
    _tell(figures_of(swarm, devices))


def figures_of(swarm: Swarm, devices: list[VirtualDevice]) -> Figures:
    """Of this process, now."""
    return Figures(
        len(devices),
        sum(device.link.connected for device in devices),
        len(swarm.connecting),
        sum(device.settled for device in devices),
        sum(device.waiting for device in devices),
        sum(device.waiting > 0 for device in devices),
        round(max(device.oldest_s for device in devices), 1),
        tuple(islice((device.waits_for for device in devices if not device.settled), HELD_UP)),
        round(time.process_time(), 2),
        round(resident_mb(), 1),
        dict(swarm.counts),
        dict(Counter(device.follower.wish.progress.state for device in devices)),
        dict(Counter(device.models.running.version for device in devices)),
    )


def _opener(plan: FleetPlan) -> Opener:
    if not plan.command_keys:
        return OpenUnsigned()
    keys = read_command_keys(Path(plan.command_keys))
    return EnvelopeVerifier(lambda: keys)


def _ended() -> bool:
    """Whether standard input is at its end."""
    readable, _, _ = select.select([0], [], [], 0.0)
    return bool(readable) and not os.read(0, 4096)


def _tell(figures: Figures) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
    sys.stdout.flush()


def main() -> int:
    """Read the order, live, end."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            return 0
        line += piece
    run(msgspec.json.decode(line, type=Share))
    return 0


if __name__ == "__main__":
    sys.exit(main())
