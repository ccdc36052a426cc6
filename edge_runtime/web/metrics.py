"""`/metrics`: what Prometheus is told of this device. Pure: a reading in, families out.

Names are `edge_runtime_<what>_<unit>`; counters end in `_total`. Every label has a bounded set of values: the device's own
cameras, and words of this program. The loop makes a reading once a second and replaces the last one; a scrape renders it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge_runtime.records import State
from edge_runtime.web.exposition import Family, Sample, one, which
from edge_runtime.web.meter import BUCKETS_S, Histogram, Metered

P = "edge_runtime_"
DEVICE_STATES = ("starting", "ok", "degraded", "stopping")
CAMERA_STATES = ("starting", "ok", "unusable", "stalled", "lost")
DRIFT_STATES = ("learning", "steady", "drifting")
LINK_STATES = ("off", "new", "connecting", "online", "waiting", "stopped")


@dataclass(frozen=True, slots=True)
class CameraReading:
    """One camera."""

    state: str
    reconnects: int = 0
    dropped: int = 0
    """Pictures that a newer one replaced before they were read."""
    age_s: float | None = None
    drift: str = "learning"
    drift_cause: str = ""
    drift_moved: int = 0
    availability: float | None = None
    coverage: float = 0.0


@dataclass(frozen=True, slots=True)
class LineReading:
    """The way to the broker."""

    state: str = "off"
    connections: int = 0
    problems: int = 0
    sent: int = 0
    acknowledged: int = 0
    unconfirmed: int = 0
    events: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Messages in the spool by grade."""
    spool_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason, since the spool was made."""
    spool_degraded: bool = False
    certificate_s: float | None = None
    """Until the device's own certificate ends."""
    commands: Mapping[str, int] = field(default_factory=dict)
    """`taken`, `repeated`, `limited`, `unanswered` ..."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Commands by reason."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The device at one moment."""

    at: float
    version: str
    python: str
    machine: str
    started_at: float
    uptime_s: float
    state: str
    problems: int
    resident_bytes: float
    cpu_s: float
    watchdog_age_s: float
    """Since the loop last made progress."""
    model: Mapping[str, str] | None = None
    """`name`, `version`, `sha256`, `phase`, `variant`; None in safe mode."""
    candidate: Mapping[str, str] | None = None
    """`name`, `version`, `phase`."""
    agreement: float | None = None
    rollbacks: int = 0
    cameras: Mapping[str, CameraReading] = field(default_factory=dict)
    line: LineReading = field(default_factory=LineReading)


def families(reading: Reading, metered: Mapping[str, Metered]) -> Iterator[Family]:
    """`metered` by camera."""
    yield from _device(reading)
    yield from _cameras(reading.cameras)
    yield from _frames(metered)
    yield from _line(reading.line)


def _gauge(name: str, help_text: str, samples: list[Sample]) -> Family:
    return Family(P + name, "gauge", help_text, samples)


def _counter(name: str, help_text: str, samples: list[Sample]) -> Family:
    return Family(P + name, "counter", help_text, samples)


def _maybe(value: float | None, **labels: str) -> list[Sample]:
    """What was not measured has no sample."""
    return [] if value is None else one(value, **labels)


def _device(r: Reading) -> Iterator[Family]:
    about = {"version": r.version, "python": r.python, "machine": r.machine}
    yield _gauge("build_info", "This program and its machine; always 1.", [Sample(1, about)])
    yield _gauge("start_time_seconds", "When the daemon started, seconds since 1970.", one(r.started_at))
    yield _gauge("uptime_seconds", "Since the daemon started.", one(r.uptime_s))
    yield _gauge("reading_time_seconds", "When these figures were read, seconds since 1970.", one(r.at))
    yield _gauge("device_state", "1 for the state that the device is in.", which(r.state, DEVICE_STATES, "state"))
    yield _gauge("problems", "Reasons for which the device is degraded.", one(r.problems))
    yield _gauge("resident_memory_bytes", "Memory of the daemon.", one(r.resident_bytes))
    yield _counter("cpu_seconds_total", "CPU time of the daemon.", one(r.cpu_s))
    yield _gauge("watchdog_age_seconds", "Since the inference loop last made progress.", one(r.watchdog_age_s))
    model, candidate = r.model, r.candidate
    yield _gauge("model_info", "The model that runs; none in safe mode.", [Sample(1, model)] if model else [])
    yield _gauge("candidate_info", "The model on its way in.", [Sample(1, candidate)] if candidate else [])
    agreement = _maybe(r.agreement)
    yield _gauge("candidate_agreement_ratio", "Share of the slots on which it agrees with the model.", agreement)
    yield _gauge(
        "models_taken_back", "Models that were taken back, of the last 64 steps with models.", one(r.rollbacks)
    )


def _cameras(cameras: Mapping[str, CameraReading]) -> Iterator[Family]:
    def each(name: str, help_text: str, samples: list[list[Sample]], counts: bool = False) -> Family:
        flat = [sample for group in samples for sample in group]
        return _counter(name, help_text, flat) if counts else _gauge(name, help_text, flat)

    all_of = cameras.items()
    states = [which(c.state, CAMERA_STATES, "state", camera=n) for n, c in all_of]
    yield each("camera_state", "1 for the state that the camera is in.", states)
    again = [one(c.reconnects, camera=n) for n, c in all_of]
    yield each("camera_reconnects_total", "How often the camera was opened again.", again, counts=True)
    late = [one(c.dropped, camera=n) for n, c in all_of]
    yield each("frames_replaced_total", "Pictures that a newer one replaced before they were read.", late, counts=True)
    yield each("frame_age_seconds", "Since the newest picture.", [_maybe(c.age_s, camera=n) for n, c in all_of])
    drift = [which(c.drift, DRIFT_STATES, "state", camera=n) for n, c in all_of]
    yield each("drift_state", "1 for the state of drift.", drift)
    causes = [which(c.drift_cause, ("environment", "product"), "cause", camera=n) for n, c in all_of]
    yield each("drift_cause", "1 for the cause of the drift, if there is one.", causes)
    moved = [one(c.drift_moved, camera=n) for n, c in all_of]
    yield each("drift_signals_moved", "Signals that moved lately.", moved)
    stock = [_maybe(c.availability, camera=n) for n, c in all_of]
    yield each("on_shelf_availability_ratio", "Over the answered time since the start.", stock)
    seen = [one(c.coverage, camera=n) for n, c in all_of]
    yield each("coverage_ratio", "Share of the time for which slots were answered.", seen)


def _frames(metered: Mapping[str, Metered]) -> Iterator[Family]:
    frames = [Sample(m.frames, {"camera": n}) for n, m in metered.items()]
    yield _counter("frames_total", "Pictures that were worked on.", frames)
    reasons = [Sample(k, {"camera": n, "reason": r}) for n, m in metered.items() for r, k in m.unusable.items()]
    yield _counter("frames_unusable_total", "Pictures that could not be answered from, by reason.", reasons)
    stages = [s for n, m in metered.items() for stage, h in m.stages.items() for s in _histogram(h, n, stage)]
    yield Family(P + "stage_seconds", "histogram", "Time of each stage of a frame; total is the whole path.", stages)
    slots = [Sample(k, {"camera": n, "state": s}) for n, m in metered.items() for s, k in m.slots.items()]
    yield _gauge("slots", "Slots by state, as published last.", slots)
    read = [
        Sample(m.readings.get(s, 0), {"camera": n, "state": s}) for n, m in metered.items() for s in map(str, State)
    ]
    yield _counter("slot_readings_total", "Slots by state over all frames.", read)
    sums = [
        sample
        for name, m in metered.items()
        for sample in (
            Sample(m.confidence_sum, {"camera": name}, "_sum"),
            Sample(m.answers, {"camera": name}, "_count"),
        )
    ]
    confidence = "Calibrated confidence of the answers; its mean estimates the share of right ones without labels."
    yield Family(P + "answer_confidence_ratio", "summary", confidence, sums)
    newest = [s for name, m in metered.items() for s in _maybe(m.estimated_accuracy, camera=name)]
    yield _gauge("estimated_accuracy_ratio", "The same mean over the newest picture.", newest)


def _histogram(histogram: Histogram, camera: str, stage: str) -> Iterator[Sample]:
    labels, total = {"camera": camera, "stage": stage}, 0
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), histogram.counts, strict=True):
        total += count
        yield Sample(total, {**labels, "le": bound}, "_bucket")
    yield Sample(histogram.sum_s, labels, "_sum")
    yield Sample(total, labels, "_count")


def _line(line: LineReading) -> Iterator[Family]:
    def by(label: str, counts: Mapping[str, int]) -> list[Sample]:
        return [Sample(n, {label: key}) for key, n in counts.items()]

    yield _gauge("link_state", "1 for the state of the way to the broker.", which(line.state, LINK_STATES, "state"))
    if line.state == "off":
        return
    yield _counter("link_connections_total", "How often it came online.", one(line.connections))
    yield _gauge("link_problems", "What hinders delivery and a person must mend.", one(line.problems))
    yield _counter("messages_sent_total", "Given to the broker, repeats included.", one(line.sent))
    yield _counter("messages_confirmed_total", "Records whose receipt has come.", one(line.acknowledged))
    yield _gauge("messages_unconfirmed", "Acknowledged by the broker and not proven yet.", one(line.unconfirmed))
    yield _counter("events_total", "Events told since the start.", one(line.events))
    yield _gauge("spool_messages", "Waiting on the device, by grade.", by("grade", line.waiting))
    yield _gauge("spool_bytes", "Of what waits.", one(line.spool_bytes))
    yield _counter("spool_dropped_total", "Since the spool was made, by reason.", by("reason", line.dropped))
    yield _gauge("spool_degraded", "1 while what waits is not on the disk.", one(line.spool_degraded))
    left = _maybe(line.certificate_s)
    yield _gauge("client_certificate_remaining_seconds", "Until the device's own certificate ends.", left)
    yield _counter("commands_total", "Commands that arrived, by what became of them.", by("outcome", line.commands))
    yield _counter("commands_refused_total", "By reason.", by("reason", line.refused))
