"""From the runtime's values to messages: pure, bounded, finite."""

from __future__ import annotations

import math
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import msgspec

from edge_runtime import __version__
from edge_runtime.records import Event, Layout, ModelId, Outcome, SlotStatus, State, Unusable
from edge_runtime.telemetry import messages as m
from edge_runtime.telemetry.spool import SpoolCounts
from edge_runtime.telemetry.topics import Topics

LAST_SECOND = 253_402_300_800.0
"""Where year 9999 ends."""


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How one camera is, as the daemon sees it."""

    state: str
    """`starting`, `ok`, `unusable`, `stalled` or `lost`."""
    reason: str = ""
    last_frame_at: float | None = None
    """Wall clock of the newest frame."""
    age_s: float | None = None
    """Monotonic seconds since the newest frame."""
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """How the models are: the one that runs, and the one that is on its way in (empty if none is)."""

    phase: str = ""
    """`committed` or `trial`; empty in safe mode."""
    variant: str = ""
    candidate: str = ""
    candidate_version: str = ""
    candidate_phase: str = ""
    agreement: float | None = None
    """Of the two, over the slots that both answered."""
    rollbacks: int = 0
    """Models that were taken back, as far as the store remembers."""
    last_rollback: m.Rollback | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How the device is, as the daemon sees it."""

    state: str
    """`starting`, `ok`, `degraded` or `stopping`."""
    reasons: tuple[str, ...] = ()
    model: ModelId | None = None
    cameras: Mapping[str, CameraHealth] = field(default_factory=dict)
    models: ModelHealth = ModelHealth()


class HeadFields(TypedDict):
    site: str
    device: str
    session: int
    at: float
    time: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who speaks, and in which session."""

    topics: Topics
    session: int

    def head(self, at: float) -> HeadFields:
        """The fields that all messages carry; `at`: seconds since 1970."""
        return {
            "site": self.topics.site,
            "device": self.topics.device,
            "session": self.session,
            "at": rounded(at, 3),
            "time": for_people(at),
        }


def for_people(at: float) -> str:
    """`2026-11-23T16:07:28Z`; empty for what is no date."""
    if not 0 <= at < LAST_SECOND:  # false for what is not finite
        return ""
    moment = time.gmtime(at)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)


def rounded(value: float, digits: int) -> float:
    """Finite and short: what is not finite becomes 0."""
    return round(float(value), digits) if math.isfinite(value) else 0.0


def whole(value: float) -> int:
    """Without the `.0` that a number of JSON has no use for."""
    return int(rounded(value, 0))


def measured(value: float | None, digits: int) -> float | None:
    """Like `rounded`, but what is not finite counts as not measured."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def clipped(text: str, limit: int = m.MAX_TEXT) -> str:
    """At most `limit` characters, without the half surrogates that UTF-8 can not hold."""
    text = text[: limit + 1].encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def model_name(model: ModelId | None) -> str:
    return clipped(f"{model.name}-{model.version}") if model else ""


def info(
    stamp: Stamp,
    at: float,
    layouts: Mapping[str, Layout],
    intervals_s: Mapping[str, float],
    started_at: float,
    commands: str = "off",
) -> m.Info:
    """What does not change while the daemon runs; `layouts` and `intervals_s` by camera."""
    cameras = {
        name: m.CameraInfo(len(layout.slots), *layout.image_size, rounded(intervals_s.get(name, 0.0), 3))
        for name, layout in layouts.items()
    }
    return m.Info(
        **stamp.head(at),
        version=__version__,
        started_at=rounded(started_at, 3),
        machine=platform.machine(),
        python=platform.python_version(),
        cameras=cameras,
        commands=commands,
        groups=stamp.topics.groups,
    )


def spool_status(counts: SpoolCounts) -> m.SpoolStatus:
    return m.SpoolStatus(counts.events, counts.telemetry, counts.bytes, dict(counts.dropped), clipped(counts.degraded))


def camera_status(health: CameraHealth, figures: m.CameraFigures | None) -> m.CameraStatus:
    """`figures`: of the newest interval that is over."""
    return m.CameraStatus(
        health.state,
        clipped(health.reason),
        measured(health.last_frame_at, 3),
        figures.estimated_accuracy if figures else None,
        figures.unknown_share if figures else None,
        figures.ms["total"][1] if figures and "total" in figures.ms else None,
    )


def status(
    stamp: Stamp,
    at: float,
    seq: int,
    health: Health,
    uptime_s: float,
    counts: SpoolCounts,
    figures: Mapping[str, m.CameraFigures] | None = None,
) -> m.Status:
    """How the device is now; `figures` by camera."""
    cameras = {name: camera_status(c, (figures or {}).get(name)) for name, c in health.cameras.items()}
    model, models = None, health.models
    if health.model is not None:
        model = m.ModelRef(
            health.model.name, health.model.version, health.model.sha256, models.phase, clipped(models.variant, 40)
        )
    candidate = None
    if models.candidate:
        candidate = m.CandidateRef(
            models.candidate, models.candidate_version, models.candidate_phase, measured(models.agreement, 4)
        )
    return m.Status(
        **stamp.head(at),
        seq=seq,
        state=health.state,
        reasons=tuple(clipped(reason) for reason in health.reasons[:16]),
        uptime_s=rounded(uptime_s, 0),
        model=model,
        candidate=candidate,
        cameras=cameras,
        spool=spool_status(counts),
        rollbacks=models.rollbacks,
        last_rollback=models.last_rollback,
    )


def _slot_line(status: SlotStatus) -> m.SlotLine:
    return m.SlotLine(
        status.slot,
        clipped(status.sku, 80),
        status.state,
        rounded(status.confidence, 3),
        whole(status.since),
        clipped(status.reason, 40),
    )


def shelf(stamp: Stamp, seq: int, outcome: Outcome) -> m.Shelf:
    """Every slot of one camera, at the capture time of the outcome's frame."""
    unusable = outcome.view if isinstance(outcome.view, Unusable) else None
    return m.Shelf(
        **stamp.head(outcome.frame.captured_at),
        seq=seq,
        camera=outcome.frame.camera,
        usable=unusable is None,
        reason=unusable.reason.value if unusable else "",
        model=model_name(outcome.scores.model) if outcome.scores else "",
        counts=state_counts(outcome.statuses),
        not_stocked=not_stocked(outcome.statuses),
        slots=tuple(_slot_line(s) for s in outcome.statuses),
    )


def state_counts(statuses: tuple[SlotStatus, ...]) -> dict[str, int]:
    return dict(sorted(Counter(s.state.value for s in statuses).items()))


def not_stocked(statuses: tuple[SlotStatus, ...]) -> dict[State, tuple[str, ...]]:
    """Slot ids by state, in the order of the layout."""
    found: dict[State, list[str]] = {}
    for status in statuses:
        if status.state is not State.STOCKED:
            found.setdefault(status.state, []).append(status.slot)
    return {state: tuple(slots) for state, slots in found.items()}


def event(stamp: Stamp, seq: int, happened: Event, model: ModelId | None = None, sku: str = "") -> m.EventMessage:
    """One event; `sku` of its slot. Details are clipped; beyond 16 of them the rest is left out."""
    detail = {
        clipped(key, 40): clipped(value) if isinstance(value, str) else rounded(value, 4)
        for key, value in list((happened.detail or {}).items())[:16]
    }
    return m.EventMessage(
        **stamp.head(happened.at),
        seq=seq,
        id=happened.id,
        kind=happened.kind,
        camera=happened.camera,
        slot=happened.slot,
        sku=clipped(sku, 80),
        was=clipped(happened.was, 80),
        now=clipped(happened.now, 80),
        confidence=measured(happened.confidence, 4) or None,
        model=model_name(model),
        detail=detail,
    )


def bounded_event(message: m.EventMessage) -> bytes:
    """JSON bytes of an event that are never refused for size: the details go first."""
    raw = msgspec.json.encode(message)
    if len(raw) <= m.MAX_EVENT_BYTES:
        return raw
    return m.encode(msgspec.structs.replace(message, detail={"left_out": "the details were too large"}))


def availability(stamp: Stamp, at: float, connection: int, state: str, reason: str) -> m.Availability:
    """Birth, farewell and will share this form."""
    return m.Availability(
        **stamp.head(at),
        state="online" if state == "online" else "offline",
        reason="connected" if state == "online" else ("stopped" if reason == "stopped" else "lost"),
        connection=connection,
    )
