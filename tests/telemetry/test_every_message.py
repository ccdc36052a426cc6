"""The judge of the whole suite is judged itself: what it lets pass, what it catches, what it counts."""

from __future__ import annotations

import json

import pytest
from fleet.memory_broker import MemoryBroker, MemoryLink

from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import encode
from edge_runtime.telemetry.topics import Topics
from telemetry.every_message import LEDGER, Ledger

TOPICS = Topics("lyon", "box-1")
BIRTH = encode(builders.availability(Stamp(TOPICS, 1), 1_795_449_600, 1, "online", "connected"))


@pytest.mark.parametrize(
    ("topic", "payload", "retained", "why"),
    [
        (TOPICS.availability, BIRTH, False, "retain is False"),
        (TOPICS.status, BIRTH, True, "status"),
        (TOPICS.base + "/mood", BIRTH, True, "no channel"),
        (TOPICS.availability, b"online", True, "Expecting value"),
        (TOPICS.availability, b"\xff\xfe", True, "Expecting value"),
        (TOPICS.availability, BIRTH[:-1] + b',"mood":"good"}', True, "mood"),
        (TOPICS.availability, json.dumps({"schema": "edge/availability/1"}), True, "required"),
        ("homeassistant/status", b"perhaps", False, "perhaps"),
        ("edge/v1/_group/canary/cmd/ping", b"{}", False, "required"),
    ],
)
def test_what_the_document_does_not_allow_is_caught(topic: str, payload: bytes, retained: bool, why: str) -> None:
    ledger = Ledger()
    ledger.take(topic, payload, retained)
    assert why in " ".join(ledger.faults)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (TOPICS.availability, BIRTH),
        (TOPICS.availability, b""),
        ("house/lamp", b"on"),
        ("homeassistant/status", b"online"),
    ],
)
def test_the_rest_passes(topic: str, payload: bytes) -> None:
    ledger = Ledger()
    ledger.take(topic, payload, None)
    assert ledger.faults == []


def test_it_counts_what_is_its_business() -> None:
    ledger = Ledger()
    for heard in (False, False, True):
        ledger.take(TOPICS.availability, BIRTH, True, heard=heard)
    ledger.take("house/lamp", b"on", False)
    assert (ledger.published, ledger.heard) == (2, 1)


@pytest.mark.undocumented("to see that this very word is obeyed")
def test_a_test_that_says_so_may_send_anything() -> None:
    link = MemoryLink(MemoryBroker())
    link.connect()
    link.publish(TOPICS.status, b"garbage", 1, True)
    assert LEDGER.faults == []


def test_the_broker_in_memory_is_watched_and_so_is_paho() -> None:
    import paho.mqtt.client as paho

    link = MemoryLink(MemoryBroker())
    link.connect()
    before = LEDGER.published
    link.publish(TOPICS.availability, BIRTH, 1, True)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.will_set(TOPICS.availability, BIRTH, 1, True)
    client.publish(TOPICS.availability, BIRTH, 1, True)
    assert LEDGER.published == before + 3
    link.publish(TOPICS.status, b"{}", 1, True)
    assert len(LEDGER.faults) == 1
    LEDGER.faults.clear()
