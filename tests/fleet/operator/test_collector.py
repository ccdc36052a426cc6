"""The collector: written once, told each time, and nothing told that is not on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.asyncapi import check

from edge_runtime.errors import Refused
from edge_runtime.fleet.operator.collector import PER_ACK, Collector, EventFile
from edge_runtime.fleet.operator.connection import Arrived


def event(name: str, device: str = "b", topic: str = "", **more: object) -> Arrived:
    said = {
        "schema": "edge/event/1",
        "site": "s",
        "device": device,
        "session": 1,
        "at": 1.0,
        "seq": 1,
        "id": name,
        "kind": "slot",
    }
    return Arrived(topic or f"edge/v1/s/{device}/event/slot", json.dumps(said | more, indent=2).encode(), False, 1.0)


def test_one_file_has_one_collector(tmp_path: Path):
    """A second one would take a line that the first is writing for a torn one, and cut it off."""
    path = tmp_path / "events.jsonl"
    with EventFile(path) as first:
        with pytest.raises(Refused, match="another collector"), EventFile(path):
            pass
        first.add([b"{}"])
    with EventFile(path) as second:
        second.add([b"{}"])
    assert path.read_bytes() == b"{}\n{}\n"


def test_an_event_that_comes_again_is_written_once_and_told_again():
    collector = Collector()
    lines, ids = collector.take([event("1"), event("2"), event("1")])
    assert [json.loads(line)["id"] for line in lines] == ["1", "2"]
    assert all(b"\n" not in line for line in lines)
    assert ids == {"s/b": ("1", "2", "1")}
    lines, ids = collector.take([event("2")])
    assert (lines, ids) == ([], {"s/b": ("2",)})
    assert (collector.written, collector.repeated) == (2, 2)


def test_acknowledgements_are_those_of_the_document_and_bounded():
    collector = Collector(name="lake")
    _, ids = collector.take([event(f"{number:080}") for number in range(PER_ACK * 2 + 1)])
    acks = [check(topic, raw) for topic, raw in collector.acks(ids, 5.0)]
    assert [len(ack["ids"]) for ack in acks] == [PER_ACK, PER_ACK, 1]
    assert acks[0]["collector"] == "lake"


def test_what_is_no_event_of_that_device_is_refused():
    collector = Collector()
    wrong = [
        Arrived("edge/v1/s/b/event/slot", b"{", False, 1.0),
        Arrived("edge/v1/s/b/event/slot", b"x" * 5_000, False, 1.0),
        event("1", device="c", topic="edge/v1/s/b/event/slot"),
        event(""),
        event("1", schema="edge/event/2"),
        Arrived("edge/v1/s/b/event/slot", event("1", more="@").payload.replace(b"@", b"\xff"), False, 1.0),
        Arrived(
            "edge/v1/s/b/event/slot",
            event("1", more="@").payload.replace(b'"@"', b"[" * 1500 + b"]" * 1500),
            False,
            1.0,
        ),
    ]
    assert collector.take(wrong) == ([], {})
    assert collector.refused == len(wrong)
    assert Collector(pattern="t/*").take([event("1")]) == ([], {})


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 400), st.integers(1, 5))
def test_a_torn_end_is_taken_off_and_what_is_whole_is_known(tmp_path_factory, cut, number):
    path: Path = tmp_path_factory.mktemp("c") / "events.jsonl"
    with EventFile(path) as events:
        lines, _ = Collector().take([event(str(n)) for n in range(number)])
        events.add(lines)
    raw = path.read_bytes()
    path.write_bytes(raw[: max(0, len(raw) - cut)])
    with EventFile(path) as events:
        known = events.recover()
        collector = Collector(known)
        lines, ids = collector.take([event(str(n)) for n in range(number)])
        events.add(lines)
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == [str(n) for n in range(number)]
    assert ids == {"s/b": tuple(str(n) for n in range(number))}
