"""What is wrong with a device, in the order in which a person wants to know it, each with the mend. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.fleet.operator.directory import Device

UNKNOWN_SHARE = 0.2
"""From here on a shelf is said to be badly seen."""
SPOOL_EVENTS = 1_000
CLOCK_S = 120.0
SILENT_S = 900.0
"""A status is sent every few minutes: a device that says it is online and is silent for longer is not well."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`word` for programs and narrow columns, `found` and `mend` as sentences."""

    word: str
    found: str
    mend: str


def problems(device: Device, now: float) -> tuple[Problem, ...]:
    """The gravest first."""
    return (*_presence(device, now), *_model(device), *_health(device), *_sight(device), *_delivery(device))


def _presence(device: Device, now: float) -> list[Problem]:
    if device.availability is None:
        return [Problem("unheard", "it never said that it is there", "Check its [mqtt] section: edge-runtime doctor")]
    if not device.online:
        why = device.availability.reason
        if why == "stopped":
            return [Problem("stopped", "its service was stopped", "Start it: systemctl start edge-runtime")]
        return [
            Problem("offline", "its connection is lost", "Check its power and network; what it sees waits on its disk")
        ]
    silent_s = device.last_seen(now)
    if silent_s is not None and silent_s > SILENT_S and abs(device.skew_s or 0.0) < CLOCK_S:
        return [
            Problem(
                "silent",
                f"it is connected and was last heard of {silent_s / 60:.0f} min ago",
                "The broker's access list may drop what it publishes: look at its log",
            )
        ]
    return []


def _model(device: Device) -> list[Problem]:
    found = []
    reported, desired = device.reported, device.desired
    if reported is not None and reported.state in ("failed", "refused"):
        found.append(
            Problem(
                reported.reason or reported.state,
                f"what is desired of it {'failed' if reported.state == 'failed' else 'was refused'}: "
                f"{reported.detail or reported.reason or 'it does not say why'}",
                "See its journal; a new desired state with a higher seq is tried anew",
            )
        )
    if desired is not None and desired.seq > (reported.seq if reported else 0) and device.online:
        found.append(
            Problem(
                "not_taken",
                "it has not taken up its newest desired state",
                "It does so at its next connect; else see its log",
            )
        )
    if device.status is not None and device.model is None:
        found.append(
            Problem("no_model", "no model runs: every slot is unknown", "Install one: fleet send ... model.install")
        )
    return found


def _health(device: Device) -> list[Problem]:
    status = device.status
    if status is None:
        return []
    found = [Problem(_word(reason), reason, "") for reason in status.reasons]
    if status.state == "degraded" and not found:
        found.append(Problem("degraded", "it is degraded and does not say why", "See its log"))
    for name, camera in sorted(status.cameras.items()):
        told = any(name in problem.found for problem in found)
        if camera.state not in ("ok", "starting") and not told:
            tail = f" ({camera.reason})" if camera.reason else ""
            found.append(
                Problem(
                    f"camera_{camera.state}", f"camera {name} is {camera.state}{tail}", "See fleet send ... snapshot"
                )
            )
    return found


def _sight(device: Device) -> list[Problem]:
    share = device.unknown_share
    if share is None or share < UNKNOWN_SHARE or not device.online:
        return []
    return [
        Problem(
            "unknown_slots",
            f"{share:.0%} of its slots can not be told",
            "Look at the view: fleet send ... snapshot; a camera that was moved is to be commissioned again",
        )
    ]


def _delivery(device: Device) -> list[Problem]:
    found = []
    spool = device.status.spool if device.status else None
    if spool is not None and spool.degraded:
        found.append(
            Problem("spool", f"its spool is not on the disk: {spool.degraded}", "Check the disk of the device")
        )
    if spool is not None and spool.events >= SPOOL_EVENTS:
        found.append(
            Problem(
                "backlog",
                f"{spool.events} events wait to be delivered",
                "It catches up by itself if the broker takes them",
            )
        )
    if device.skew_s is not None and abs(device.skew_s) > CLOCK_S:
        way = "ahead" if device.skew_s > 0 else "behind"
        found.append(
            Problem(
                "clock",
                f"its clock is {abs(device.skew_s):.0f} s {way}",
                "Check its time service; commands expire by its clock",
            )
        )
    return found


def _word(reason: str) -> str:
    """Reasons begin with a word and a colon, or are sentences."""
    head = reason.split(":", 1)[0].strip()
    return head if 0 < len(head) <= 24 and " " not in head else "degraded"
