"""What a virtual fleet is made of: a plan from which every device's name, groups and fortunes follow."""

from __future__ import annotations

import hashlib
import random
from typing import Annotated, Literal

import msgspec

from edge_runtime.telemetry.topics import Topics

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e7)]
Fortune = Literal["sound", "crashes", "goes_offline", "slow", "wrong_clock", "refuses"]


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model does in the field."""

    accuracy: _Share = 0.96
    """As the device estimates it."""
    unknown: _Share = 0.02
    p95_ms: _Positive = 180.0


BAD = Quality(0.71, 0.22, 900.0)


class FleetPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same plan makes the same fleet."""

    urls: tuple[str, ...]
    """The nodes of one broker."""
    devices: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    seed: int = 1
    site: str = "v"
    """Sites are called `<site>000`, `<site>001` ..."""
    site_size: Annotated[int, msgspec.Meta(ge=1)] = 50
    canary: _Count = 0
    """Devices in the group `canary`, spread over the sites."""
    slots: Annotated[int, msgspec.Meta(ge=1, le=200)] = 24
    spread_s: _Positive = 20.0
    """The births are spread over so long."""
    telemetry_s: _Positive = 30.0
    heartbeat_s: _Positive = 900.0
    event_s: _Positive = 120.0
    """Mean time between two events of one device, each of which changes its shelf."""
    model: str = "shelf"
    version: str = "1.0.0"
    """What every device runs at first."""
    bad: tuple[str, ...] = ()
    """Versions that are worse in the field than they were in the lab."""
    guard: _Share = 0.8
    """Chance that a device's own guard takes a bad model out in its trial."""
    shadow_s: Annotated[float, msgspec.Meta(ge=0.0)] = 5.0
    trial_s: _Positive = 10.0
    download_s: _Positive = 5.0
    """Mean of a download."""
    trouble: _Share = 0.0
    """Share of the devices that do not have an easy life."""
    trouble_s: _Positive = 60.0
    """Mean time between two of their troubles."""
    command_keys: str = ""
    """File of the keys whose signatures count; empty: commands and wishes need none."""

    def topics(self, number: int) -> Topics:
        groups = ("canary",) if self.is_canary(number) else ()
        return Topics(f"{self.site}{number // self.site_size:03d}", f"d{number:05d}", groups)

    def is_canary(self, number: int) -> bool:
        """Whether the device is one of the `canary` devices; they are spread evenly."""
        return self.canary > 0 and (number * self.canary) % self.devices < self.canary

    def chances(self, number: int, what: str = "") -> random.Random:
        """A device's own source of chance."""
        return random.Random(f"{self.seed}:{number}:{what}")

    def fortune(self, number: int) -> Fortune:
        draw = self.chances(number, "fortune")
        if draw.random() >= self.trouble:
            return "sound"
        kinds: tuple[Fortune, ...] = ("crashes", "goes_offline", "slow", "wrong_clock", "refuses")
        return draw.choice(kinds)

    def quality(self, version: str) -> Quality:
        return BAD if version in self.bad else Quality()


def digest_of(name: str, version: str) -> str:
    """The digest of a virtual bundle."""
    return hashlib.sha256(f"virtual:{name}:{version}".encode()).hexdigest()
