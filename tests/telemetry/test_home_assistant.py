"""Home Assistant's discovery: every template renders over messages of ours, ids are safe, and it goes when switched off."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import Refused
from edge_runtime.records import Event, Reason, State
from edge_runtime.telemetry import builders, home_assistant
from edge_runtime.telemetry.builders import CameraHealth, Health, Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.spool import SpoolCounts
from edge_runtime.telemetry.topics import Topics, segment_fault
from telemetry import outcomes
from telemetry.asyncapi import check

TOPICS = Topics("lyon", "box-1")
STAMP = Stamp(TOPICS, 3)
AT = 1_795_449_600.0
STATES = {"a": State.STOCKED, "b": State.EMPTY, "c": State.LOW, "d": State.UNKNOWN, "e": State.STOCKED}
names = st.text(min_size=1, max_size=64).filter(lambda name: not segment_fault(name))


def announced(*cameras: str, topics: Topics = TOPICS) -> dict[str, Any]:
    return check(home_assistant.config_topic(topics), home_assistant.announcement(topics, cameras))


def entity(key_end: str, camera: str = "cam") -> dict[str, Any]:
    return next(e for key, e in announced(camera)["cmps"].items() if key.endswith(key_end))


def render(template: str, payload: bytes) -> str:
    """As Home Assistant does: sandboxed, over the payload's JSON; an undefined name is a mistake."""
    jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed (pip install 'edge-runtime[dev]')")
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(value=payload.decode(), value_json=json.loads(payload)).strip()


def shelf(states: dict[str, State]) -> bytes:
    return encode(builders.shelf(STAMP, 1, outcomes.usable(states)))


def status(health: Health, counts: SpoolCounts | None = None) -> bytes:
    return encode(builders.status(STAMP, AT, 1, health, 1.0, counts or SpoolCounts()))


def slot_event(was: str, now: str, camera: str = "cam") -> bytes:
    return encode(builders.event(STAMP, 1, Event("e-1", "slot", camera, AT, "b", was, now, 0.9), sku="milk"))


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (STATES, "75.0"),
        ({"a": State.EMPTY}, "0.0"),
        ({"a": State.STOCKED, "b": State.BLOCKED}, "100.0"),
        ({"a": State.UNKNOWN}, "None"),
        ({}, "None"),
    ],
)
def test_on_shelf_availability_is_a_percentage_of_what_was_answered(states: dict[str, State], shown: str) -> None:
    found = entity("_availability")
    assert render(found["val_tpl"], shelf(states)) == shown
    assert (found["stat_t"], found["unit_of_meas"]) == (TOPICS.shelf("cam"), "%")


def test_empty_and_unknown_slots_are_counted_and_named() -> None:
    for key, count, slots in (("_empty", "1", ["b"]), ("_unknown", "1", ["d"])):
        found = entity(key)
        assert render(found["val_tpl"], shelf(STATES)) == count
        assert json.loads(render(found["json_attr_tpl"], shelf(STATES))) == {"slots": slots}
        assert render(found["val_tpl"], shelf({"a": State.STOCKED})) == "0"
        assert json.loads(render(found["json_attr_tpl"], shelf({}))) == {"slots": []}


@pytest.mark.parametrize(
    ("state", "shown"), [("ok", "OFF"), ("starting", "OFF"), ("unusable", "ON"), ("lost", "ON"), ("stalled", "ON")]
)
def test_a_camera_with_a_problem_shows_it_with_the_reason(state: str, shown: str) -> None:
    found = entity("_problem")
    said = status(Health("degraded", (), outcomes.MODEL, {"cam": CameraHealth(state, "covered")}))
    assert render(found["val_tpl"], said) == shown
    assert json.loads(render(found["json_attr_tpl"], said)) == {"state": state, "reason": "covered"}
    assert render(found["val_tpl"], status(Health("starting"))) == "OFF"


def test_state_model_and_what_waits() -> None:
    said = status(Health("degraded", ("camera cam: covered",), outcomes.MODEL), SpoolCounts(events=2, telemetry=3))
    assert render(entity("state")["val_tpl"], said) in entity("state")["ops"]
    assert json.loads(render(entity("state")["json_attr_tpl"], said)) == {"reasons": ["camera cam: covered"]}
    assert render(entity("model")["val_tpl"], said) == "shelf-occupancy 1.0.0"
    assert render(entity("model")["val_tpl"], status(Health("ok"))) == "none"
    assert render(entity("waiting")["val_tpl"], said) == "5"
    assert render(entity("waiting")["val_tpl"], status(Health("ok"))) == "0"


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        ("stocked", "empty", "out_of_stock"),
        ("", "empty", "out_of_stock"),
        ("empty", "stocked", "restocked"),
        ("empty", "unknown", "changed"),
        ("stocked", "low", "changed"),
    ],
)
def test_slot_events_become_stock_events(was: str, now: str, kind: str) -> None:
    found = entity("_stock")
    told = json.loads(render(found["val_tpl"], slot_event(was, now)))
    assert told["event_type"] == kind
    assert kind in found["evt_typ"]
    assert (told["slot"], told["sku"], told["id"]) == ("b", "milk", "e-1")


def test_the_events_of_another_camera_are_not_this_ones() -> None:
    assert render(entity("_stock")["val_tpl"], slot_event("stocked", "empty", "door")) == ""


def test_availability_follows_the_will() -> None:
    (one,) = announced("cam")["avty"]
    for state in ("online", "offline"):
        said = encode(builders.availability(STAMP, AT, 1, state, "lost"))
        assert render(one["val_tpl"], said) == {"online": one["pl_avail"], "offline": one["pl_not_avail"]}[state]


@given(site=names, device=names, camera=names)
def test_whatever_the_names_the_ids_are_safe_and_the_templates_hold(site: str, device: str, camera: str) -> None:
    topics = Topics(site, device)
    assert re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", home_assistant.config_topic(topics))
    found = announced(camera, topics=topics)["cmps"]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", each["uniq_id"]) for each in found.values())
    said = status(Health("degraded", (), None, {camera: CameraHealth("lost", "why")}))
    problem = next(each for key, each in found.items() if key.endswith("_problem"))
    assert render(problem["val_tpl"], said) == "ON"
    stock = next(each for key, each in found.items() if key.endswith("_stock"))
    assert render(stock["val_tpl"], slot_event("stocked", "empty", camera))


def test_names_that_look_alike_have_other_ids() -> None:
    pairs = [("a_b", "c"), ("a", "b_c"), ("a.b", "c"), ("a b".replace(" ", "-"), "c"), ("ä", "c"), ("ö", "c")]
    assert len({home_assistant.node_of(Topics(site, device)) for site, device in pairs}) == len(pairs)
    keys = announced("a.b", "a_b", "ä", "ö")["cmps"]
    assert len(keys) == 3 + 4 * 5


def test_the_ids_are_the_same_at_every_start() -> None:
    assert home_assistant.node_of(TOPICS) == "edge_lyon_box-1_" + home_assistant.node_of(TOPICS)[-8:]
    assert home_assistant.announcement(TOPICS, ["cam"]) == home_assistant.announcement(TOPICS, ["cam"])


def test_it_stays_small() -> None:
    assert len(home_assistant.announcement(TOPICS, [f"aisle-{n}-left" for n in range(32)])) < 128_000
    with pytest.raises(Refused, match="fewer cameras"):
        home_assistant.announcement(TOPICS, [f"aisle-{n}" for n in range(2_000)])


def test_an_unusable_camera_still_has_a_shelf_that_renders() -> None:
    said = encode(builders.shelf(STAMP, 9, outcomes.unusable(Reason.COVERED, {"a": State.UNKNOWN})))
    assert render(entity("_availability")["val_tpl"], said) == "None"
    assert render(entity("_unknown")["val_tpl"], said) == "1"
