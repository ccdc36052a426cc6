"""What goes out when: events at once, the shelf when it changed, figures at their interval."""

from __future__ import annotations

import json

import pytest

from edge_runtime.drift.cause import Cause
from edge_runtime.drift.detector import Direction
from edge_runtime.drift.monitor import DriftReport, DriftState
from edge_runtime.errors import BadConfig
from edge_runtime.records import Event, ModelId, Reason, State
from edge_runtime.telemetry.builders import CameraHealth, Health, Stamp
from edge_runtime.telemetry.observer import Telemetry, TelemetrySettings, resident_mb
from edge_runtime.telemetry.spool import Entry, SpoolCounts
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import UplinkCounts
from telemetry import outcomes
from telemetry.asyncapi import check

TOPICS = Topics("store", "box")
STOCKED = {"a": State.STOCKED, "b": State.STOCKED}
EMPTY = {"a": State.STOCKED, "b": State.EMPTY}


class Outlet:
    """Takes what the uplink would, and lets the document judge it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.retained: list[tuple[str, dict]] = []
        self.waiting = 3

    def offer(self, entry: Entry) -> None:
        check(entry.topic, entry.payload)
        self.entries.append(entry)

    def retain(self, topic: str, payload: bytes, first: bool = False) -> None:
        self.retained.append((topic, check(topic, payload)))

    def counts(self) -> UplinkCounts:
        return UplinkCounts(0, 0, 0, 0, SpoolCounts(events=self.waiting))

    def said(self, topic: str) -> list[dict]:
        return [payload for name, payload in self.retained if name == topic]

    def sent(self, topic: str) -> list[dict]:
        return [json.loads(entry.payload) for entry in self.entries if entry.topic == topic]


class Room:
    def __init__(self, heartbeat_s: float = 900.0, **options: object) -> None:
        self.now_s = 0.0
        self.outlet = Outlet()
        self.telemetry = Telemetry(
            Stamp(TOPICS, 7),
            self.outlet,
            ("cam", "back"),
            TelemetrySettings(interval_s=60, heartbeat_s=heartbeat_s, settle_s=5),
            wall=lambda: 1_760_000_000 + self.now_s,
            monotonic=lambda: self.now_s,
            **options,  # type: ignore[arg-type]
        )


def test_events_go_out_at_once_each_under_its_kind() -> None:
    room = Room()
    room.telemetry.observe(outcomes.usable(STOCKED, (outcomes.slot_event("e1", "a"), outcomes.slot_event("e2", "a"))))
    room.telemetry.report_event(Event("m1", "model", "", 1.0, was="1.0.0", now="0.9.0"))
    assert [entry.id for entry in room.outlet.entries] == ["e1", "e2", "m1"]
    assert room.outlet.entries[2].topic == TOPICS.event("model")
    sent = room.outlet.sent(TOPICS.event("slot"))
    assert [(e["slot"], e["sku"]) for e in sent] == [("a", "sku-a")] * 2
    assert sent[0]["seq"] < sent[1]["seq"]
    assert sent[0]["model"] == "shelf-occupancy-1.0.0"


def test_a_shelf_is_said_when_a_slot_changed_and_not_for_every_frame() -> None:
    room = Room()
    for _ in range(10):
        room.telemetry.observe(outcomes.usable(STOCKED))
        room.now_s += 10
    room.telemetry.observe(outcomes.usable(EMPTY))
    said = room.outlet.said(TOPICS.shelf("cam"))
    assert [s["counts"] for s in said] == [{"stocked": 2}, {"empty": 1, "stocked": 1}]


def test_a_flapping_shelf_is_said_at_most_every_settle_time_and_its_last_state_is() -> None:
    room = Room()
    for n in range(21):
        room.telemetry.observe(outcomes.usable(EMPTY if n % 2 else STOCKED))
        room.now_s += 0.5
    room.now_s += 5
    room.telemetry.observe(outcomes.usable(EMPTY))
    said = room.outlet.said(TOPICS.shelf("cam"))
    assert len(said) <= 4
    assert said[-1]["counts"] == {"empty": 1, "stocked": 1}


def test_a_covered_camera_changes_its_shelf() -> None:
    room = Room()
    room.telemetry.observe(outcomes.usable(STOCKED))
    room.now_s += 10
    room.telemetry.observe(outcomes.unusable(Reason.COVERED, STOCKED))
    assert [s["usable"] for s in room.outlet.said(TOPICS.shelf("cam"))] == [True, False]


def test_an_unchanged_shelf_is_said_again_at_every_fourth_heartbeat() -> None:
    room = Room(heartbeat_s=225)
    for _ in range(200):
        room.telemetry.observe(outcomes.usable(STOCKED))
        room.now_s += 10
    assert len(room.outlet.said(TOPICS.shelf("cam"))) == 3


def test_a_change_never_waits_longer_than_what_did_not_change() -> None:
    room = Room(heartbeat_s=1)
    for now_s, slots in ((0, STOCKED), (1, EMPTY), (2, STOCKED)):
        room.now_s = now_s
        room.telemetry.observe(outcomes.usable(slots))
    assert len(room.outlet.said(TOPICS.shelf("cam"))) == 3


def test_figures_come_once_an_interval_for_every_camera() -> None:
    room = Room(rss_mb=lambda: 81.25)
    for _ in range(25):
        room.now_s += 5
        room.telemetry.observe(outcomes.usable(STOCKED))
    sent = room.outlet.sent(TOPICS.telemetry)
    assert [s["cameras"]["cam"]["frames"] for s in sent] == [12, 12]
    assert sent[0]["cameras"]["back"] == {"frames": 0, "usable": 0}
    assert (sent[0]["rss_mb"], sent[0]["spool"]["events"]) == (81.2, 3)
    assert sent[0]["id"] != sent[1]["id"]


def test_figures_come_without_frames_too() -> None:
    room = Room()
    for _ in range(70):
        room.now_s += 1
        room.telemetry.report_health(Health("degraded", ("camera cam is lost",), None, {"cam": CameraHealth("lost")}))
    assert len(room.outlet.sent(TOPICS.telemetry)) == 1


def test_status_is_said_when_it_changed() -> None:
    room = Room()
    for state in ("starting", "ok", "ok", "ok", "degraded", "ok"):
        room.now_s += 1
        room.telemetry.report_health(Health(state, (), outcomes.MODEL, {"cam": CameraHealth("ok", "", room.now_s)}))
    assert [s["state"] for s in room.outlet.said(TOPICS.status)] == ["starting", "ok", "degraded", "ok"]


def test_drift_is_in_the_figures() -> None:
    report = DriftReport("cam", 1.0, DriftState.DRIFTING, Cause.ENVIRONMENT, {"gain": Direction.UP}, {"gain": 4.04})
    room = Room(drift=lambda: {"cam": report})
    room.now_s = 61
    room.telemetry.tick()
    line = room.outlet.sent(TOPICS.telemetry)[0]["drift"]["cam"]
    assert line == {"state": "drifting", "cause": "environment", "moved": {"gain": "up"}, "z": {"gain": 4.0}}


def test_a_camera_name_that_no_topic_can_hold_is_refused_at_the_start() -> None:
    with pytest.raises(BadConfig, match="camera"):
        Telemetry(Stamp(TOPICS, 1), Outlet(), ("aisle/3",))


def test_resident_memory_is_that_of_a_python_process() -> None:
    assert 5 < resident_mb() < 5_000


def other_model() -> ModelId:
    return ModelId("shelf-occupancy", "1.1.0", "cd" * 32)


def test_figures_are_of_one_model() -> None:
    room = Room()
    for model in (outcomes.MODEL, outcomes.MODEL, other_model()):
        room.now_s += 5
        room.telemetry.observe(outcomes.usable(STOCKED, model=model))
    room.now_s += 60
    room.telemetry.observe(outcomes.usable(STOCKED, model=other_model()))
    sent = room.outlet.sent(TOPICS.telemetry)
    assert [(s["model"][-5:], s["cameras"]["cam"]["frames"]) for s in sent] == [("1.0.0", 2), ("1.1.0", 2)]


def test_the_status_tells_what_a_rollout_is_judged_by() -> None:
    room = Room()
    health = Health("ok", (), outcomes.MODEL, {"cam": CameraHealth("ok")})
    states = {"a": State.STOCKED, "b": State.UNKNOWN}
    room.telemetry.observe(outcomes.usable(states))
    room.telemetry.report_health(health)
    room.now_s += 60
    room.telemetry.observe(outcomes.usable(states))
    room.telemetry.observe(outcomes.unusable(Reason.COVERED, states))
    room.now_s += 900
    room.telemetry.report_health(health)
    first, later = (status["cameras"]["cam"] for status in room.outlet.said(TOPICS.status))
    assert "estimated_accuracy" not in first
    assert (later["estimated_accuracy"], later["unknown_share"], later["p95_ms"]) == (0.95, 0.5, 16.4)


def test_the_figures_of_the_last_model_are_not_those_of_the_next() -> None:
    room = Room()
    for model in (outcomes.MODEL, other_model()):
        room.telemetry.observe(outcomes.usable(STOCKED, model=model))
        room.now_s += 60
        room.telemetry.tick()
    room.telemetry.observe(outcomes.usable(STOCKED))
    room.telemetry.report_health(Health("ok", (), outcomes.MODEL, {"cam": CameraHealth("ok")}))
    assert "estimated_accuracy" not in room.outlet.said(TOPICS.status)[0]["cameras"]["cam"]


def test_the_status_is_said_again_when_a_backlog_has_gone() -> None:
    room = Room()
    for waiting in (3, 3, 3, 0, 0):
        room.outlet.waiting = waiting
        room.telemetry.report_health(Health("ok"))
        room.now_s += 20
    said = [status.get("spool", {}).get("events", 0) for status in room.outlet.said(TOPICS.status)]
    assert said == [3, 3, 0]


def test_signals_near_their_baseline_are_left_out() -> None:
    report = DriftReport("cam", 1.0, DriftState.STEADY, Cause.NONE, {}, {"gain": 0.4, "noise": -2.04, "sharpness": 1.0})
    room = Room(drift=lambda: {"cam": report})
    room.now_s = 60
    room.telemetry.tick()
    assert room.outlet.sent(TOPICS.telemetry)[0]["drift"]["cam"]["z"] == {"noise": -2.0, "sharpness": 1.0}


def test_in_safe_mode_no_model_is_named() -> None:
    room = Room()
    room.telemetry.report_health(Health("ok", (), outcomes.MODEL))
    room.telemetry.observe(outcomes.usable(STOCKED))
    room.telemetry.report_health(Health("degraded", ("no model runs",)))
    room.now_s += 60
    room.telemetry.observe(outcomes.unusable(Reason.NO_MODEL, STOCKED))
    first, later = room.outlet.sent(TOPICS.telemetry)
    assert (first["model"], first["cameras"]["cam"]["frames"]) == ("shelf-occupancy-1.0.0", 1)
    assert "model" not in later
