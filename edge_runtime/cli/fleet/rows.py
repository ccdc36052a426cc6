"""One device as a record for programs and as a row for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import screen

if TYPE_CHECKING:
    from edge_runtime.fleet.operator.directory import Device
    from edge_runtime.fleet.operator.views import ModelView

HEADER = ("DEVICE", "ONLINE", "SEEN", "STATE", "MODEL", "WANTED", "UNKNOWN", "EMPTY", "SPOOL", "CLOCK", "PROBLEMS")
COLOURS = {"yes": "green", "no": "red", "ok": "green", "degraded": "yellow", "stopping": "yellow", "starting": "blue"}


def record(device: Device, now: float) -> dict[str, object]:
    """All that `fleet ls --json` says of a device. What is not known is null."""
    from edge_runtime.fleet.operator.problems import problems

    status, reported, desired = device.status, device.reported, device.desired
    spool = status.spool if status else None
    return {
        "site": device.site,
        "device": device.name,
        "online": device.online,
        "since": device.availability.at if device.availability and device.online else None,
        "last_seen_s": _rounded(device.last_seen(now), 1),
        "state": status.state if status else None,
        "version": device.info.version if device.info else None,
        "groups": list(device.groups),
        "model": _model(device.model),
        "phase": device.model.phase if device.model else None,
        "desired": None if desired is None else desired_record(device),
        "reported": None
        if reported is None
        else {"seq": reported.seq, "state": reported.state, "reason": reported.reason},
        "slots": device.slots,
        "empty": device.count("empty"),
        "unknown": device.count("unknown"),
        "unknown_share": _rounded(device.unknown_share, 4),
        "waiting": spool.events if spool else None,
        "rollbacks": status.rollbacks if status else None,
        "clock_skew_s": _rounded(device.skew_s, 1),
        "problems": [problem.word for problem in problems(device, now)],
    }


def row(device: Device, now: float) -> tuple[str, ...]:
    """Cells under HEADER."""
    from edge_runtime.fleet.operator.problems import SPOOL_EVENTS, problems

    status = device.status
    spool = status.spool if status else None
    skew = device.skew_s
    return (
        device.id,
        "yes" if device.online else "no",
        screen.age(device.last_seen(now)),
        (status.state if status else "-") if device.online else "-",
        _running(device.model),
        wanted(device),
        screen.percent(device.unknown_share),
        str(device.count("empty")) if device.slots else "-",
        "-" if spool is None else ("!" if spool.events >= SPOOL_EVENTS else "") + str(spool.events),
        "-" if skew is None else f"{skew:+.0f} s",
        ", ".join(problem.word for problem in problems(device, now)),
    )


def wanted(device: Device) -> str:
    """What is desired of it and how far that is: `1.2.0 converging`; `-` if nothing is."""
    desired, reported = device.desired, device.reported
    if desired is None:
        return "-"
    what = desired.model.version if desired.model else "settings"
    if reported is None or reported.seq < desired.seq:
        return f"{what} not taken"
    return what if reported.state == "converged" else f"{what} {reported.state}"


def desired_record(device: Device) -> dict[str, object]:
    desired = device.desired
    if desired is None:
        return {}
    model = None if desired.model is None else f"{desired.model.name}-{desired.model.version}"
    return {"seq": desired.seq, "model": model, "config": dict(desired.config), "rollout": desired.rollout}


def _model(model: ModelView | None) -> str | None:
    return f"{model.name}-{model.version}" if model else None


def _running(model: ModelView | None) -> str:
    if model is None:
        return "-"
    return model.version if model.phase in ("", "committed") else f"{model.version} {model.phase}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
