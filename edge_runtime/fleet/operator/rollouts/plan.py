"""What a rollout is to do: the model, the rings, the gates; and in which order devices come. Pure."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated

import msgspec

from edge_runtime.errors import Usage
from edge_runtime.fleet.desired import DesiredModel
from edge_runtime.fleet.operator.rollouts.defaults import DEFAULT_RINGS, DEFAULT_SETTLE_S, GATES
from edge_runtime.telemetry.topics import segment_fault

FIGURES = ("accuracy_drop", "unknown_rise", "latency_rise")
MAX_RINGS = 20
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=2_592_000.0)]
_Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class Ring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step. Exactly one of `count`, `share` (of all devices, those of earlier rings included) and `group` is given."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    group: str = ""

    def size(self, devices: int) -> int:
        """How many devices are touched when it is through, of `devices`; a group's is its own business."""
        return min(devices, self.count or math.ceil(round(self.share * devices, 9)))


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Does not change once the rollout has begun."""

    model: DesiredModel
    rings: Annotated[tuple[Ring, ...], msgspec.Meta(min_length=1, max_length=MAX_RINGS)]
    gates: dict[str, Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]]
    seed: str
    pattern: str = ""
    group: str = ""
    soak_s: _Seconds = 1_800.0
    """How long a ring is watched once it has converged, at least."""
    settle_s: _Seconds = DEFAULT_SETTLE_S
    """How long a device that is online may take to converge; one in its shadow run or trial is waited for beyond that."""
    patience_s: _Seconds = 7_200.0
    """How long missing evidence is waited for, beyond what is said above; then the rollout halts."""
    grace_s: _Seconds = 120.0
    """A device that is away for less is not offline."""
    reporting: _Share = 0.5
    """Of a ring: so many must have converged, and have figures, before it is judged well."""


def parse_rings(text: str) -> tuple[Ring, ...]:
    """`canary=5,10%,50%,100%`: a number of devices, a share of all, or `canary=@group`. Raises Usage for anything else."""
    rings = tuple(_ring(part.strip(), number) for number, part in enumerate(text.split(",")))
    shares = [ring.share for ring in rings if ring.share]
    if shares != sorted(set(shares)):
        raise Usage(f"--rings {text}: the shares must grow", f"Write {DEFAULT_RINGS}")
    if len(rings) > MAX_RINGS or len({ring.name for ring in rings}) < len(rings):
        raise Usage(f"--rings {text}: at most {MAX_RINGS} rings, no two of one name")
    return rings


def _ring(part: str, number: int) -> Ring:
    name, equals, size = part.rpartition("=")
    name = name if equals else (size if size.endswith("%") else f"ring-{number + 1}")
    if size.startswith("@") and len(size) > 1 and not segment_fault(size[1:]):
        return Ring(name, group=size[1:])
    try:
        if size.endswith("%"):
            share = float(size[:-1]) / 100.0
            if 0.0 < share <= 1.0:
                return Ring(name, share=share)
        elif 0 < (count := int(size)) <= 1_000_000:
            return Ring(name, count=count)
    except ValueError:
        pass
    raise Usage(f"{part!r} is no ring", "Write canary=5 (devices), 10% (of all), or canary=@group")


def parse_gates(pairs: Iterable[str]) -> dict[str, float]:
    """The default gates with those of the command line; `accuracy_drop=off` takes one out. Raises Usage."""
    gates = dict(GATES)
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in GATES:
            raise Usage(f"there is no gate {name!r}", f"The gates are {', '.join(GATES)}")
        if value == "off":
            gates.pop(name, None)
            continue
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not 0.0 <= limit <= 100.0:
            raise Usage(f"the gate {pair!r} has no limit", f"Write {name}={GATES[name]}, or {name}=off")
        gates[name] = limit
    return gates


def in_order(devices: Iterable[str], seed: str) -> list[str]:
    """All devices (`site/name`) in the order in which they are touched, the same for the same devices and seed.

    Spread over the sites: any first share of the list holds about that share of every site.
    """
    sites: defaultdict[str, list[str]] = defaultdict(list)
    for device in devices:
        sites[device.partition("/")[0]].append(device)
    keyed = []
    for site, members in sites.items():
        members.sort(key=lambda device: (_draw(seed, device), device))
        shift = _draw(seed, site)
        keyed += [((rank + shift) / len(members), device) for rank, device in enumerate(members)]
    return [device for _, device in sorted(keyed)]


@lru_cache(maxsize=65_536)
def _draw(seed: str, name: str) -> float:
    """A number in [0, 1) that belongs to the seed and the name."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big") / 2.0**64
