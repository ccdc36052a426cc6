"""`model.*` commands: what they ask the device for, and the receipts of work that outlasts a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from telemetry.asyncapi import check

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.commands import AcceptUnsigned, Command, CommandGate
from edge_runtime.fleet.handlers import feedback
from edge_runtime.fleet.model_handlers import ModelChoice, model_handlers
from edge_runtime.fleet.rate_limit import OPEN
from edge_runtime.fleet.session import Incoming
from edge_runtime.records import ModelId, State
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.topics import Topics
from fleet.memory_broker import MemoryBroker, MemoryLink

NOW = 1_760_000_000.0
TOPICS = Topics("store", "box")
DIGEST = "ab" * 32


@dataclass
class Job:
    """Runs until the test gives it an end."""

    end: Mapping[str, Scalar] | EdgeError | None = None

    def outcome(self) -> Mapping[str, Scalar] | None:
        if isinstance(self.end, EdgeError):
            raise self.end
        return self.end


@dataclass
class Switch:
    """The device's models, as far as commands see them."""

    asked: list[tuple[object, ...]] = field(default_factory=list)
    job: Job = field(default_factory=Job)
    busy: bool = False

    def rollback(self, why: str) -> ModelId | None:
        self.asked.append(("rollback", why))
        return None

    def install(self, name: str, version: str) -> Job:
        return self._begin("install", name, version)

    def activate(self, model: ModelChoice, shadow_s: float | None, trial_s: float | None, why: str) -> Job:
        return self._begin("activate", model, shadow_s, trial_s, why)

    def commit(self, why: str) -> Job:
        return self._begin("commit", why)

    def release(self, sha256: str) -> Job:
        return self._begin("release", sha256)

    def _begin(self, *asked: object) -> Job:
        if self.busy:
            raise TryAgain("another job runs", "Ask again when it is done")
        self.busy = True
        self.asked.append(asked)
        return self.job


class Bench:
    """A queue with model commands, and an operator who reads the receipts."""

    def __init__(self) -> None:
        self.switch, self.broker = Switch(), MemoryBroker()
        link = MemoryLink(self.broker)
        link.connect()
        handlers = model_handlers(self.switch)
        gate = CommandGate(TOPICS, frozenset(handlers), AcceptUnsigned())
        self.queue = CommandQueue(gate, Stamp(TOPICS, 1), link, handlers, OPEN, wall=lambda: NOW)
        self.sent = 0

    def send(self, verb: str, **args: object) -> list[str]:
        """Send a command and take the loop around once; all receipts so far."""
        self.sent += 1
        body = {"id": f"c-{self.sent}", "verb": verb, "audience": "store/box", "seq": self.sent, "args": args}
        body |= {"issued_at": NOW - 1, "expires_at": NOW + 60}
        self.queue.arrived(Incoming(TOPICS.command(verb), json.dumps(body).encode(), False))
        self.queue.drain()
        return self.states()

    def receipts(self) -> list[dict[str, object]]:
        return [check(m.topic, m.payload) for m in self.broker.published if "/resp/" in m.topic]

    def states(self) -> list[str]:
        return [str(receipt["state"]) for receipt in self.receipts()]


def test_a_long_job_is_accepted_then_runs_then_ends_while_frames_go_on() -> None:
    bench = Bench()
    assert bench.send("model.install", name="shelf-occupancy", version="1.1.0") == ["accepted", "running"]
    assert bench.switch.asked == [("install", "shelf-occupancy", "1.1.0")]
    for _ in range(5):
        bench.queue.drain()
    assert bench.states() == ["accepted", "running"], "it is told once that it runs"
    bench.switch.job.end = {"version": "1.1.0", "sha256": DIGEST}
    bench.queue.drain()
    bench.queue.drain()
    assert bench.states() == ["accepted", "running", "succeeded"]
    assert bench.receipts()[-1]["result"] == {"version": "1.1.0", "sha256": DIGEST}


def test_a_second_job_is_told_to_wait_and_the_first_goes_on() -> None:
    bench = Bench()
    bench.send("model.install")
    bench.send("model.activate", sha256=DIGEST)
    assert bench.states() == ["accepted", "running", "accepted", "failed"]
    assert bench.receipts()[-1]["reason"] == "TryAgain"
    bench.switch.job.end = {}
    bench.queue.drain()
    assert bench.states()[-1] == "succeeded" and bench.receipts()[-1]["id"] == "c-1"


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (Refused("the release is below the floor"), "refused", "handler"),
        (Unavailable("the repository does not answer"), "failed", "Unavailable"),
    ],
)
def test_a_job_that_fails_says_why(fault: EdgeError, state: str, reason: str) -> None:
    bench = Bench()
    bench.send("model.install")
    bench.switch.job.end = fault
    bench.queue.drain()
    last = bench.receipts()[-1]
    assert (last["state"], last["reason"], last["detail"]) == (state, reason, str(fault))


def test_a_device_that_ends_answers_those_who_wait() -> None:
    bench = Bench()
    bench.send("model.install")
    bench.queue.abandon("the device stops")
    assert bench.states()[-1] == "failed" and bench.receipts()[-1]["detail"] == "the device stops"


def test_activate_takes_a_digest_or_a_name_with_its_version_and_terms_of_its_own() -> None:
    bench = Bench()
    bench.send("model.activate", name="shelf-occupancy", version="1.1.0", shadow_s=0, trial_s=60, why="pilot store")
    assert bench.switch.asked == [
        ("activate", ModelChoice("", "shelf-occupancy", "1.1.0"), 0.0, 60.0, "pilot store"),
    ]


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("model.install", {"url": "http://evil"}),
        ("model.install", {"name": "../../etc"}),
        ("model.install", {"version": 3}),
        ("model.activate", {}),
        ("model.activate", {"name": "shelf"}),
        ("model.activate", {"sha256": DIGEST, "version": "1.0.0"}),
        ("model.activate", {"sha256": "xyz"}),
        ("model.activate", {"sha256": DIGEST, "trial_s": -1}),
        ("model.activate", {"sha256": DIGEST, "shadow_s": True}),
        ("model.activate", {"sha256": DIGEST, "shadow_s": "soon"}),
        ("model.release", {}),
        ("model.release", {"sha256": 7}),
        ("model.commit", {"sha256": DIGEST}),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_begins(verb: str, args: dict[str, object]) -> None:
    bench = Bench()
    assert bench.send(verb, **args) == ["accepted", "refused"]
    assert bench.switch.asked == []


class Taker:
    def feedback(self, camera: str, slot: str, state: State) -> State:
        if slot != "s1":
            raise Refused("no answer now")
        return State.STOCKED


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ({"camera": "a", "slot": "s1", "state": "stocked"}, {"said": "stocked", "right": True}),
        ({"camera": "a", "slot": "s1", "state": "empty"}, {"said": "stocked", "right": False}),
        ({"camera": "a", "slot": "s2", "state": "empty"}, None),
        ({"camera": "a", "slot": "s1", "state": "unknown"}, None),
        ({"camera": "a", "slot": "s1"}, None),
        ({"camera": "a", "slot": 1, "state": "empty"}, None),
        ({"camera": "a", "slot": "s1", "state": "empty", "by": "me"}, None),
    ],
)
def test_what_somebody_sees_is_taken_as_feedback(args: dict[str, Scalar], result: dict[str, Scalar] | None) -> None:
    asked = Command("c", "feedback", "store/box", 1, NOW, NOW + 60, "", args)
    if result is None:
        with pytest.raises(Refused):
            feedback(Taker())(asked)
    else:
        assert feedback(Taker())(asked) == result
