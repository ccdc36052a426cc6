"""What a virtual device says: real messages, with figures that follow from the model that runs."""

from __future__ import annotations

import random
from collections import Counter

import msgspec

from edge_runtime.records import State
from edge_runtime.simulator.fleet.models import VirtualModels
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.telemetry import builders
from edge_runtime.telemetry import messages as m
from edge_runtime.telemetry.builders import CameraHealth, Health, ModelHealth, Stamp
from edge_runtime.telemetry.spool import SpoolCounts

CAMERA = "aisle"
SIZE = (1280, 720)
INTERVAL_S = 2.0
_STATES = (State.STOCKED, State.LOW, State.EMPTY)


class Shelf:
    """The slots of the one camera: state and since when."""

    def __init__(self, slots: int, chances: random.Random, at: float) -> None:
        self._chances = chances
        self.states = [chances.choice(_STATES) for _ in range(slots)]
        self.since = [at] * slots

    def change(self, at: float) -> tuple[int, State, State]:
        """Something is bought or filled up: (slot, was, now)."""
        slot = self._chances.randrange(len(self.states))
        was = self.states[slot]
        now = self._chances.choice([state for state in _STATES if state is not was])
        self.states[slot], self.since[slot] = now, at
        return slot, was, now


def info(stamp: Stamp, at: float, plan: FleetPlan, started_at: float) -> m.Info:
    """A device with one camera."""
    message = builders.info(stamp, at, {}, {}, started_at, "signed" if plan.command_keys else "unsigned")
    cameras = {CAMERA: m.CameraInfo(plan.slots, *SIZE, INTERVAL_S)}
    return msgspec.structs.replace(message, machine="virtual", cameras=cameras)


def figures(models: VirtualModels, chances: random.Random, slots: int, interval_s: float) -> m.CameraFigures:
    """Of one interval: around what the model is worth in the field."""
    quality, frames = models.quality, max(1, round(interval_s / INTERVAL_S))
    accuracy = min(1.0, max(0.0, chances.gauss(quality.accuracy, 0.01)))
    unknown = min(1.0, max(0.0, chances.gauss(quality.unknown, 0.005)))
    p95_ms = quality.p95_ms * chances.uniform(0.9, 1.1)
    return m.CameraFigures(
        frames=frames,
        usable=frames,
        ms={"total": (round(p95_ms * 0.6, 1), round(p95_ms, 1)), "infer": (round(p95_ms * 0.4, 1), round(p95_ms, 1))},
        states={State.UNKNOWN.value: round(unknown * slots)},
        estimated_accuracy=round(accuracy, 4),
        unknown_share=round(unknown, 4),
        registration={"ok": frames},
        age_s=INTERVAL_S,
    )


def telemetry(
    stamp: Stamp, at: float, seq: int, interval_s: float, measured: m.CameraFigures, models: VirtualModels
) -> m.TelemetryMessage:
    """One interval, already measured."""
    return m.TelemetryMessage(
        **stamp.head(at),
        seq=seq,
        id=f"{stamp.topics.device}-{stamp.session}-{seq}",
        interval_s=round(interval_s, 1),
        rss_mb=96.0,
        cpu_s=round(interval_s * 0.3, 2),
        model=builders.model_name(models.running),
        cameras={CAMERA: measured},
    )


def status(
    stamp: Stamp,
    at: float,
    seq: int,
    uptime_s: float,
    models: VirtualModels,
    measured: m.CameraFigures | None,
    counts: SpoolCounts,
    state: str = "ok",
) -> m.Status:
    """How the device is, with the figures of the newest interval."""
    health = Health(state, (), models.running, {CAMERA: CameraHealth("ok", "", at)}, _model_health(models, at))
    known = {CAMERA: measured} if measured is not None else {}
    return builders.status(stamp, at, seq, health, uptime_s, counts, known)


def shelf(stamp: Stamp, at: float, seq: int, slots: Shelf, models: VirtualModels) -> m.Shelf:
    """Every slot of the one camera."""
    lines = tuple(
        m.SlotLine(f"s{n:02d}", f"sku-{n:02d}", state, 0.97, round(since))
        for n, (state, since) in enumerate(zip(slots.states, slots.since, strict=True))
    )
    return m.Shelf(
        **stamp.head(at),
        seq=seq,
        camera=CAMERA,
        usable=True,
        model=builders.model_name(models.running),
        counts=dict(sorted(Counter(state.value for state in slots.states).items())),
        slots=lines,
    )


def _model_health(models: VirtualModels, at: float) -> ModelHealth:
    candidate, last = models.candidate, models.last_rollback
    incoming = models.id_of(candidate.sha256) if candidate is not None else None
    back = m.Rollback(last[0].name, last[0].version, last[0].sha256, at, last[1]) if last is not None else None
    return ModelHealth(
        phase="trial" if candidate is not None and candidate.phase == "trial" else "committed",
        variant="int8",
        candidate=incoming.name if incoming is not None else "",
        candidate_version=incoming.version if incoming is not None else "",
        candidate_phase=candidate.phase if candidate is not None else "",
        agreement=0.97 if candidate is not None else None,
        rollbacks=models.rollbacks,
        last_rollback=back,
    )
