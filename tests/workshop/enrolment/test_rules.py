"""What the brokers are told: every topic of docs/asyncapi.yaml in the right direction, and nothing of anybody else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_runtime.errors import Refused
from edge_runtime.telemetry.home_assistant import node_of
from edge_runtime.telemetry.topics import Topics
from edge_runtime.workshop.enrolment import rules
from edge_runtime.workshop.enrolment.identity import ROLES, Identity, check_group, parse
from edge_runtime.workshop.enrolment.permissions import permissions
from edge_runtime.workshop.enrolment.register import Entry
from tests.telemetry.asyncapi import document

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
IDENTITIES = st.builds(Identity, NAMES, NAMES)


def _channels(action: str, identity: Identity) -> list[str]:
    """The topics of the document on which a device acts so."""
    named = {"site": identity.site, "device": identity.device, "group": "canary"}
    named["node"] = node_of(Topics(identity.site, identity.device))
    found = []
    for operation in document()["operations"].values():
        if operation["action"] == action:
            address = document()["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]]["address"]
            if "/_rollout/" in address:
                continue  # between operators
            found.append(re.sub(r"\{(\w+)\}", lambda name: named.get(name[1], "any"), address))
    return found


def _may(filters: tuple[str, ...], topic: str) -> bool:
    return any(topic_matches_sub(pattern, topic) for pattern in filters)


def test_a_device_may_say_and_hear_all_that_the_document_says() -> None:
    identity = parse("lyon/till-3")
    may = permissions(identity, ("canary",))
    said, heard = _channels("send", identity), _channels("receive", identity)
    assert said
    assert heard
    assert [topic for topic in said if not _may(may.writes, topic)] == []
    assert [topic for topic in heard if not _may(may.reads, topic)] == []
    assert [topic for topic in said if not _may(may.reads, topic)] == [], "it hears its own messages: its receipts"
    assert [topic for topic in heard if _may(may.writes, topic)] == [], "what others say to it, it can not say"


def test_an_operator_may_ask_all_that_the_document_lets_a_device_hear() -> None:
    may = permissions(parse("_operator/ann"))
    device = parse("lyon/till-3")
    for topic in (*_channels("receive", device), "edge/v1/_rollout/r1", "edge/v1/_rollout/r1/batch/2"):
        whose = {"ack": "_collector/c", "status": "_home/h"}.get(topic.rsplit("/", 1)[1], "_operator/ann")
        assert _may(permissions(parse(whose)).writes, topic), topic
    assert not any(_may(may.writes, topic) for topic in _channels("send", device)), "an operator is no device"


@given(IDENTITIES, IDENTITIES)
def test_no_device_may_speak_for_another_or_hear_it(one: Identity, other: Identity) -> None:
    may = permissions(one, ("canary",))
    if one == other:
        return
    for topic in (*_channels("send", other), f"edge/v1/{other}/cmd/any", f"edge/v1/{other}/ack"):
        assert not _may(may.writes, topic)
        if "homeassistant" not in topic:
            assert not _may(may.reads, topic)


@given(IDENTITIES)
def test_the_rules_for_both_brokers_say_the_same(identity: Identity) -> None:
    may = permissions(identity, ("canary",))
    entry = Entry(str(identity), ("canary",))
    acl = rules.mosquitto_acl([entry])
    assert f"\nuser {identity}\n" in acl
    lines = [line.split(" ", 2)[1:] for line in acl.splitlines() if line.startswith("topic ")]
    assert {topic for right, topic in lines if right in ("write", "readwrite")} == set(may.writes)
    assert {topic for right, topic in lines if right in ("read", "readwrite")} == set(may.reads)
    nats = rules.nats_permissions([entry], {str(identity): "urn:x"})
    publish, subscribe = re.search(r"publish: \[(.*?)\], subscribe: \[(.*?)\]", nats).groups()  # type: ignore[union-attr]
    assert publish == ", ".join(f'"{rules.subject(topic)}"' for topic in may.writes)
    assert all(f'"{rules.subject(topic)}"' in subscribe for topic in may.reads)


def test_topics_become_subjects_as_nats_does_it() -> None:
    assert rules.subject("edge/v1/+/till-3/event/#") == "edge.v1.*.till-3.event.>"
    assert rules.subject("edge/v1/a.b/cmd") == "edge.v1.a//b.cmd"
    assert rules.subscribed("edge/v1/#") == ("edge.v1.>", "edge.v1")


def test_who_may_only_look_may_send_nothing() -> None:
    assert permissions(parse("_reader/wall")).writes == ()
    assert 'publish: {deny: ">"}' in rules.nats_permissions([Entry("_reader/wall")], {"_reader/wall": "urn:x"})
    assert "write" not in rules.mosquitto_acl([Entry("_reader/wall")]).split("\n", 1)[1]


@pytest.mark.parametrize(
    "text",
    ["", "lyon", "/", "lyon/", "/till", "a/b/c", "ly on/x", "lyon/+", "#/x", "lyon/_all", "_all/x", "_group/x", "$SYS/x",
     "lyon/a\nuser b", 'lyon/a"', "lyon/a.b", "münchen/x", f"{'s' * 40}/{'d' * 40}", "-a/b", "_operator/_all"],
)  # fmt: skip
def test_a_name_that_means_something_to_a_broker_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_an_identity_or_refused(text: str) -> None:
    try:
        identity = parse(text)
    except Refused:
        return
    assert str(identity) == text
    assert identity.is_device == (identity.site not in ROLES)
    assert not set(text) & set("+#*>.\"'\\{}[]\n\r\t ,;=")


def test_groups_are_names_too() -> None:
    assert check_group("canary") == "canary"
    for bad in ("", "a b", "x/y", "#", "a" * 65):
        with pytest.raises(Refused):
            check_group(bad)
