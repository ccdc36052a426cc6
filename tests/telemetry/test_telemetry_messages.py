"""Every message that is built is one that docs/asyncapi.yaml allows, is bounded, and comes back as it went."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BadConfig, Refused
from edge_runtime.records import Event, Layout, Reason, Remark, Slot, State
from edge_runtime.telemetry import builders, messages
from edge_runtime.telemetry.builders import CameraHealth, Health, Stamp
from edge_runtime.telemetry.figures import CameraWindow, quantile
from edge_runtime.telemetry.spool import SpoolCounts
from edge_runtime.telemetry.topics import Heard, Topics, command_root, read_topic, segment_fault
from telemetry import outcomes
from telemetry.asyncapi import check

TOPICS = Topics("store-7", "box-1")
STAMP = Stamp(TOPICS, 42)
AT = 1_760_000_000.5
STATES = {"a": State.STOCKED, "b": State.EMPTY, "c": State.UNKNOWN}
anything = st.text(max_size=400) | st.just("\ud800half")
numbers = st.floats(allow_nan=True, allow_infinity=True)


def said(topic: str, message: messages.Message) -> dict:
    raw = messages.encode(message)
    assert messages.decode(raw) == message
    return check(topic, raw)


def test_availability() -> None:
    birth = said(TOPICS.availability, builders.availability(STAMP, AT, 3, "online", "connected"))
    assert (birth["state"], birth["connection"], birth["session"]) == ("online", 3, 42)
    will = said(TOPICS.availability, builders.availability(STAMP, AT, 3, "offline", "lost"))
    assert (will["state"], will["reason"]) == ("offline", "lost")
    assert said(TOPICS.availability, builders.availability(STAMP, AT, 3, "offline", "stopped"))["reason"] == "stopped"


def test_info() -> None:
    slots = (Slot("a", "milk", ((0, 0), (9, 0), (9, 9), (0, 9))),)
    layout = Layout(Path("layout.json"), Path("reference.jpg"), (1280, 960), slots)
    decoded = said(TOPICS.info, builders.info(STAMP, AT, {"cam": layout}, {"cam": 5.0}, AT - 3, "unsigned"))
    assert decoded["cameras"]["cam"] == {"slots": 1, "width": 1280, "height": 960, "interval_s": 5.0}


def test_status_names_model_cameras_and_what_was_dropped() -> None:
    health = Health("degraded", ("camera cam is lost",), outcomes.MODEL, {"cam": CameraHealth("lost", "no route", AT)})
    decoded = said(TOPICS.status, builders.status(STAMP, AT, 1, health, 12.3, SpoolCounts(dropped={"event_full": 2})))
    assert decoded["model"]["version"] == "1.0.0"
    assert decoded["cameras"]["cam"]["state"] == "lost"
    assert decoded["spool"]["dropped"] == {"event_full": 2}


def test_status_in_safe_mode_has_no_model() -> None:
    assert "model" not in said(TOPICS.status, builders.status(STAMP, AT, 1, Health("starting"), 0, SpoolCounts()))


def test_shelf_has_every_slot() -> None:
    decoded = said(TOPICS.shelf("cam"), builders.shelf(STAMP, 9, outcomes.usable(STATES)))
    assert [line["slot"] for line in decoded["slots"]] == ["a", "b", "c"]
    assert decoded["counts"] == {"stocked": 1, "empty": 1, "unknown": 1}
    assert decoded["model"] == "shelf-occupancy-1.0.0"


def test_shelf_of_an_unusable_frame_says_why() -> None:
    decoded = said(TOPICS.shelf("cam"), builders.shelf(STAMP, 9, outcomes.unusable(Reason.COVERED, STATES)))
    assert (decoded["usable"], decoded["reason"]) == (False, "covered")


@pytest.mark.parametrize("kind", ["slot", "sight", "camera", "model", "drift"])
def test_event(kind: str) -> None:
    event = Event("e-1", kind, "cam", AT, "a", "stocked", "empty", 0.91, {"why": "two readings", "n": 2.0})
    decoded = said(TOPICS.event(kind), builders.event(STAMP, 5, event, outcomes.MODEL))
    assert (decoded["id"], decoded["was"], decoded["now"], decoded["detail"]["n"]) == ("e-1", "stocked", "empty", 2)


@given(now=anything, key=anything, value=anything | numbers, confidence=numbers, at=numbers)
def test_no_event_is_too_large_or_not_json(
    now: str, key: str, value: str | float, confidence: float, at: float
) -> None:
    detail = {f"{key}{n}": value for n in range(40)}
    event = Event("e", "camera", "cam", at, now=now, confidence=confidence, detail=detail)
    raw = builders.bounded_event(builders.event(STAMP, 1, event))
    assert len(raw) <= messages.MAX_EVENT_BYTES
    decoded = json.loads(raw)
    assert decoded["id"] == "e"
    assert math.isfinite(decoded["at"])


def figures_said(window: CameraWindow) -> dict:
    """One camera's figures as a message holds them."""
    cameras = {"cam": window.take(None)}
    figures = messages.TelemetryMessage(
        **STAMP.head(AT), seq=1, id="t-1", interval_s=60.0, rss_mb=80.0, cpu_s=1.0, cameras=cameras
    )
    return said(TOPICS.telemetry, figures)["cameras"]["cam"]


def test_telemetry_figures_add_up() -> None:
    window = CameraWindow()
    for _ in range(3):
        window.observe(outcomes.usable(STATES))
    window.observe(outcomes.unusable(Reason.BLACK, STATES))
    figures = window.take(CameraHealth("ok", reconnects=2, age_s=0.5))
    message = messages.TelemetryMessage(
        **STAMP.head(AT), seq=1, id="t-1", interval_s=60.0, rss_mb=80.0, cpu_s=1.0, cameras={"cam": figures}
    )
    decoded = said(TOPICS.telemetry, message)["cameras"]["cam"]
    assert (decoded["frames"], decoded["usable"], decoded["unusable"]) == (4, 3, {"black": 1})
    assert decoded["registration"] == {"ok": 3, "refused": 1}
    assert decoded["ms"]["inference"] == [9.88, 9.88]
    assert decoded["light_residual"] == [0.0812, 0.0212]
    assert decoded["light"] == {"applied": 3}
    assert (decoded["inliers"], decoded["residual_px"], decoded["reconnects"]) == (312, 0.812, 2)


def test_telemetry_says_that_the_camera_moved_and_how_far_the_packs_did() -> None:
    window = CameraWindow()
    window.observe(outcomes.usable(STATES))
    for shift in (7.126, 9.0):
        window.observe(outcomes.usable(STATES, remarks=tuple(Remark), packs_px=shift))
    window.observe(outcomes.unusable(Reason.COVERED, STATES))
    decoded = figures_said(window)
    assert decoded["remarks"] == {"camera_moved": 2, "partly_out_of_view": 2}
    assert decoded["packs_px"] == 7.13


def test_a_camera_that_stands_as_commissioned_costs_no_byte_for_saying_so() -> None:
    window = CameraWindow()
    window.observe(outcomes.usable(STATES))
    assert {"remarks", "packs_px"}.isdisjoint(figures_said(window))


def test_a_window_begins_anew_after_it_was_taken() -> None:
    window = CameraWindow()
    window.observe(outcomes.usable(STATES, remarks=tuple(Remark), packs_px=3.0))
    window.take(None)
    anew = window.take(None)
    assert (anew.frames, anew.remarks, anew.packs_px) == (0, {}, None)


def test_a_camera_without_frames_has_figures_too() -> None:
    message = messages.TelemetryMessage(
        **STAMP.head(AT),
        seq=1,
        id="t-1",
        interval_s=60.0,
        rss_mb=1.0,
        cpu_s=0.0,
        cameras={"c": CameraWindow().take(None)},
    )
    assert said(TOPICS.telemetry, message)["cameras"]["c"] == {"frames": 0, "usable": 0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values)
    assert sum(v < found for v in values) <= share * len(values)


def test_snapshot_is_base64_and_bounded() -> None:
    fields = {"id": "c-1", "camera": "cam", "content_type": "image/jpeg", "width": 4, "height": 3}
    decoded = said(TOPICS.snapshot("cam"), messages.Snapshot(**STAMP.head(AT), **fields, data=b"\xff\xd8jpeg"))
    assert decoded["data"] == "/9hqcGVn"
    with pytest.raises(Refused, match="at most"):
        messages.encode(messages.Snapshot(**STAMP.head(AT), **fields, data=b"x" * 600_000))


def test_response() -> None:
    response = messages.Response(**STAMP.head(AT), id="c-1", verb="ping", state="succeeded", result={"version": "1"})
    assert said(TOPICS.response("ping"), response)["result"] == {"version": "1"}


def test_reported() -> None:
    model = messages.ModelRef("shelf-occupancy", "1.0.0", "ab" * 32, "committed", "model.onnx")
    message = messages.Reported(**STAMP.head(AT), seq=3, state="converged", model=model, config={"log.level": "debug"})
    assert said(TOPICS.reported, message)["config"] == {"log.level": "debug"}
    assert said(TOPICS.reported, messages.Reported(**STAMP.head(AT), state="none"))["state"] == "none"


def test_an_acknowledgement_names_what_a_collector_has() -> None:
    assert said(TOPICS.ack, messages.Ack(ids=("e-1", "e-2"), collector="lake"))["ids"] == ["e-1", "e-2"]


def test_too_many_ids_are_no_acknowledgement() -> None:
    with pytest.raises(Refused):
        messages.decode(json.dumps({"schema": "edge/ack/1", "ids": ["e"] * 257}).encode())


def test_a_reader_passes_over_what_a_newer_device_says_besides() -> None:
    raw = json.loads(messages.encode(builders.status(STAMP, AT, 1, Health("ok"), 1.0, SpoolCounts())))
    newer = raw | {"mood": "good", "spool": {"events": 2, "telemetry": 0, "colour": "red"}}
    read = messages.decode(json.dumps(newer).encode())
    assert isinstance(read, messages.Status)
    assert read.spool is not None
    assert (read.state, read.spool.events) == ("ok", 2)


def test_the_slots_that_are_not_stocked_stand_together() -> None:
    decoded = said(TOPICS.shelf("cam"), builders.shelf(STAMP, 9, outcomes.usable(STATES)))
    assert decoded["not_stocked"] == {"empty": ["b"], "unknown": ["c"]}


@pytest.mark.parametrize(
    ("at", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_760_000_000.9, "2025-10-09T08:53:20Z"), (-1, ""), (math.nan, ""), (1e300, "")],
)
def test_the_time_is_there_for_people(at: float, text: str) -> None:
    assert builders.for_people(at) == text


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"schema":"edge/none/1"}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        messages.decode(raw)


@pytest.mark.parametrize(
    "name", ["", "a/b", "+", "a#", "a b", "a\n", "\x00", "_all", "$SYS", "x" * 65, "\ud800", "\u2028"]
)
def test_a_name_that_no_topic_can_hold_is_refused(name: str) -> None:
    assert segment_fault(name)
    with pytest.raises(BadConfig, match="MQTT topic"):
        Topics(name, "box")
    with pytest.raises(BadConfig):
        Topics("store", name)


@pytest.mark.parametrize("name", ["a", "Köln-3", "box.7", "店", "x" * 64])
def test_other_names_are_fine(name: str) -> None:
    assert Topics(name, name).status == f"edge/v1/{name}/{name}/status"


def test_a_device_listens_to_itself_its_site_and_its_groups() -> None:
    topics = Topics("lyon", "box-1", ("canary", "night"))
    assert topics.command_filters == (
        "edge/v1/lyon/box-1/cmd/+",
        "edge/v1/lyon/_all/cmd/+",
        "edge/v1/_group/canary/cmd/+",
        "edge/v1/_group/night/cmd/+",
    )
    assert topics.audiences["_group/canary"] == "edge/v1/_group/canary/cmd/"
    with pytest.raises(BadConfig, match="groups"):
        Topics("lyon", "box-1", ("a/b",))


@pytest.mark.parametrize("audience", ["", "lyon", "lyon/", "/box", "a/b/c", "_group", "_group/", "_group/_all", "_x/a"])
def test_what_is_no_audience_has_no_topic(audience: str) -> None:
    with pytest.raises(BadConfig):
        command_root(audience)


@pytest.mark.parametrize(
    ("topic", "heard"),
    [
        (TOPICS.status, Heard("store-7", "box-1", "status")),
        (TOPICS.shelf("cam"), Heard("store-7", "box-1", "shelf", "cam")),
        ("edge/v1/s/d/resp/ping/7", Heard("s", "d", "resp", "ping/7")),
        ("edge/v1/_group/canary/cmd/ping", None),
        ("edge/v1/s/_all/cmd/ping", None),
        ("edge/v2/s/d/status", None),
        ("edge/v1/s/d", None),
        ("edge/v1/s/d/", None),
        ("", None),
    ],
)
def test_a_topic_tells_whose_message_it_is(topic: str, heard: Heard | None) -> None:
    assert read_topic(topic) == heard
