"""What each identity may send and hear, as MQTT topic filters. Both brokers' rules are made from this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_runtime.telemetry.home_assistant import BIRTH_TOPIC, PREFIX, config_topic
from edge_runtime.telemetry.topics import EVERYONE, GROUP, ROOT, Topics
from edge_runtime.workshop.enrolment.identity import COLLECTOR, HOME, OPERATOR, Identity

_TOLD = (
    *("availability", "info", "status", "reported", "telemetry", "diagnostics"),
    *("shelf/+", "event/+", "snapshot/+", "resp/#"),
)
"""What a device says, below its own base: never `cmd`, `desired` and `ack`, which others say to it."""
_ASKED = ("cmd/+", "desired")


@dataclass(frozen=True, slots=True)
class Permissions:
    writes: tuple[str, ...]
    reads: tuple[str, ...]


def permissions(identity: Identity, groups: Iterable[str] = ()) -> Permissions:
    """Of a device: all below its own base to hear, what devices say to send. Of a person or program: by role."""
    if identity.is_device:
        return _device(identity, groups)
    reads = (f"{ROOT}/#",)
    if identity.site == OPERATOR:
        asked = tuple(f"{ROOT}/+/+/{topic}" for topic in _ASKED)
        return Permissions((*asked, f"{ROOT}/_rollout/#"), reads)
    if identity.site == COLLECTOR:
        return Permissions((f"{ROOT}/+/+/ack",), reads)
    if identity.site == HOME:
        return Permissions((BIRTH_TOPIC,), (*reads, f"{PREFIX}/#"))
    return Permissions((), reads)


def _device(identity: Identity, groups: Iterable[str]) -> Permissions:
    base = f"{ROOT}/{identity}"
    everyone = f"{ROOT}/{identity.site}/{EVERYONE}"
    shared = [
        f"{place}/{topic}" for place in (everyone, *(f"{ROOT}/{GROUP}/{name}" for name in groups)) for topic in _ASKED
    ]
    announced = config_topic(Topics(identity.site, identity.device))
    return Permissions(
        (*(f"{base}/{topic}" for topic in _TOLD), announced), (f"{base}/#", announced, BIRTH_TOPIC, *shared)
    )
