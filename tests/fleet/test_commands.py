"""The gate and the queue: what is carried out, what is refused and why, and that nothing is carried out twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.asyncapi import check

from edge_runtime.errors import ModelFault, Refused
from edge_runtime.fleet.command_queue import WAITING, CommandQueue
from edge_runtime.fleet.commands import REMEMBERED, AcceptUnsigned, Command, CommandGate
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.handlers import Picture, standard_handlers
from edge_runtime.fleet.journal import CommandJournal
from edge_runtime.fleet.rate_limit import OPEN, Limits
from edge_runtime.fleet.session import Incoming
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.records import ModelId
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics
from fleet.memory_broker import MemoryBroker, MemoryLink

NOW = 1_760_000_000.0
TOPICS = Topics("store", "box")
STAMP = Stamp(TOPICS, 1)
TO_ALL = "edge/v1/store/_all/cmd/ping"


def command(**changes: object) -> dict:
    base = {
        "id": "c-1", "verb": "ping", "audience": "store/box", "seq": 1, "issued_at": NOW - 1, "expires_at": NOW + 60,
    }  # fmt: skip
    return base | changes


class Coming:
    """A picture that is ready when it is asked for the second time."""

    def __init__(self, camera: str) -> None:
        self.camera, self.asked = camera, 0

    def picture(self) -> Picture | None:
        self.asked += 1
        return Picture(self.camera, NOW, 8, 6, b"\xff\xd8", "slots", 1) if self.asked > 1 else None


class Desk:
    """A device's commands, with the operator's eyes on its receipts."""

    def __init__(self, limits: Limits = OPEN, state: Path | None = None, conclusions: dict | None = None) -> None:
        self.now = NOW
        self.broker = MemoryBroker()
        self.link = MemoryLink(self.broker)
        self.link.connect()
        self.done: list[str] = []
        self.fault: Exception | None = None
        self.went_to = ModelId("shelf", "0.9.0", "cd" * 32)
        handlers = standard_handlers(STAMP, self.link, self, self, clock=lambda: 5.0)
        handlers = {verb: self._watched(handler) for verb, handler in handlers.items()}
        floors = CommandFloors(Floors(state) if state else None)
        journal = CommandJournal(state / "commands.json" if state else None)
        gate = CommandGate(TOPICS, frozenset(handlers), AcceptUnsigned(), floors, journal)
        self.queue = CommandQueue(
            gate, STAMP, self.link, handlers, limits, lambda: self.now, None, conclusions, lambda: 0.0
        )
        self.link.listen(TOPICS.command_filters, self.queue.arrived)

    def _watched(self, handler):
        def carry_out(asked: Command):
            self.done.append(asked.id)
            return handler(asked)

        return carry_out

    def snapshot(self, camera: str) -> Coming:
        if camera != "cam":
            raise Refused(f"there is no camera {camera!r}")
        return Coming(camera)

    def rollback(self, why: str) -> ModelId | None:
        if self.fault:
            raise self.fault
        return self.went_to

    def send(self, payload: dict | bytes, topic: str | None = None, retained: bool = False) -> None:
        if isinstance(payload, dict):
            topic = topic or TOPICS.command(payload["verb"])
            payload = json.dumps(payload).encode()
        self.queue.arrived(Incoming(topic or TOPICS.command("ping"), payload, retained))

    def receipts(self) -> list[dict]:
        return [check(m.topic, m.payload) for m in self.broker.published if "/resp/" in m.topic]

    def states(self) -> list[str]:
        return [f"{r['state']}:{r['reason']}" if r.get("reason") else r["state"] for r in self.receipts()]


def test_ping_is_accepted_and_carried_out_between_two_frames() -> None:
    desk = Desk()
    desk.send(command())
    assert desk.states() == ["accepted"]
    assert desk.done == []
    assert desk.queue.drain() == 1
    assert desk.states() == ["accepted", "succeeded"]
    assert desk.receipts()[1]["result"]["version"]
    assert desk.queue.drain() == 0


def test_a_command_to_all_devices_of_the_site() -> None:
    desk = Desk()
    desk.send(command(audience="store/_all"), TO_ALL)
    desk.queue.drain()
    assert desk.states() == ["accepted", "succeeded"]


def test_a_snapshot_goes_to_its_topic() -> None:
    desk = Desk()
    desk.send(command(verb="snapshot", args={"camera": "cam"}))
    desk.queue.drain()
    assert desk.states() == ["accepted", "running"]
    while desk.states()[-1] == "running":
        desk.queue.drain()
    picture = next(m for m in desk.broker.published if m.topic == TOPICS.snapshot("cam"))
    assert check(picture.topic, picture.payload)["id"] == "c-1"
    result = desk.receipts()[-1]["result"]
    assert (result["topic"], result["policy"], result["faces"]) == (TOPICS.snapshot("cam"), "slots", 1)


@pytest.mark.parametrize("args", [{}, {"camera": 7}, {"camera": "a/b"}, {"camera": "none"}, {"camera": "cam", "x": 1}])
def test_a_snapshot_of_what_is_not_there_is_refused(args: dict) -> None:
    desk = Desk()
    desk.send(command(verb="snapshot", args=args))
    desk.queue.drain()
    assert desk.states() == ["accepted", "refused:handler"]


def test_a_rollback_names_the_model_that_runs_then() -> None:
    desk = Desk()
    desk.send(command(verb="model.rollback", args={"why": "too many empties"}))
    desk.queue.drain()
    assert desk.receipts()[1]["result"]["version"] == "0.9.0"


def test_a_handler_that_fails_says_so_and_the_next_command_is_carried_out() -> None:
    desk = Desk()
    desk.fault = ModelFault("the previous bundle does not load")
    desk.send(command(verb="model.rollback"))
    desk.send(command(id="c-2", seq=2))
    desk.queue.drain()
    assert desk.states() == ["accepted", "accepted", "failed:ModelFault", "succeeded"]


@pytest.mark.parametrize(
    ("changes", "topic", "reason"),
    [
        ({"expires_at": NOW}, None, "expired"),
        ({"expires_at": NOW - 1000, "issued_at": NOW - 2000}, None, "expired"),
        ({"issued_at": NOW + 1000, "expires_at": NOW + 1100}, None, "from_the_future"),
        ({"expires_at": NOW + 10**6}, None, "too_long_lived"),
        ({"audience": "store/other"}, None, "wrong_audience"),
        ({"audience": "elsewhere/box"}, None, "wrong_audience"),
        ({"audience": "store/_all"}, None, "wrong_audience"),
        ({}, TO_ALL, "wrong_audience"),
        ({}, "edge/v1/store/box/cmd/snapshot", "wrong_verb"),
        ({"verb": "format.disk"}, None, "unknown_verb"),
        ({"reply_to": "edge/v1/store/box/shelf/cam"}, None, "wrong_reply_to"),
        ({"reply_to": "edge/v1/store/box/resp/"}, None, "wrong_reply_to"),
        ({"reply_to": "edge/v1/store/box/resp/#"}, None, "wrong_reply_to"),
        ({"reply_to": "edge/v1/store/box/resp/../x/"}, None, "wrong_reply_to"),
        ({"seq": 0}, None, "malformed"),
        ({"seq": 2**60}, None, "malformed"),
        ({"id": ""}, None, "malformed"),
        ({"id": "a b"}, None, "malformed"),
        ({"id": "a\n"}, None, "malformed"),
        ({"surprise": 1}, None, "malformed"),
        ({"args": {"deep": {"er": 1}}}, None, "malformed"),
        ({"issued_at": "now"}, None, "malformed"),
    ],
)
def test_what_is_not_right_is_refused_with_the_reason(changes: dict, topic: str | None, reason: str) -> None:
    desk = Desk()
    desk.send(command(**changes), topic)
    assert desk.states() == [f"refused:{reason}"]
    assert desk.receipts()[0]["detail"]
    assert desk.queue.drain() == 0
    assert desk.queue.counts().refused == {reason: 1}


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 16_000, b'{"a":' * 3_000, b'{"id":NaN}', b"1e999"]
)
def test_bytes_that_are_no_command_are_refused(payload: bytes) -> None:
    desk = Desk()
    desk.send(payload)
    assert desk.states() == ["refused:malformed"]


def test_an_oversize_command_is_refused_unread() -> None:
    desk = Desk()
    desk.send(b" " * 16_385)
    assert desk.states() == ["refused:oversize"]


def test_a_retained_command_is_refused_at_every_connect() -> None:
    desk = Desk()
    desk.broker.retained[TOPICS.command("ping")] = json.dumps(command()).encode()
    for _ in range(3):
        desk.broker.cut()
        desk.link.connect()
    assert desk.states() == ["refused:retained"] * 3
    assert desk.queue.drain() == 0


def test_the_same_command_again_gets_its_stored_receipt_and_is_not_carried_out_again() -> None:
    desk = Desk()
    desk.send(command())
    desk.send(command())
    desk.queue.drain()
    desk.send(command())
    desk.queue.drain()
    assert desk.states() == ["accepted", "accepted", "succeeded", "succeeded"]
    assert desk.done == ["c-1"]


def test_a_command_is_not_carried_out_again_after_a_restart(tmp_path: Path) -> None:
    for done in (["c-1"], []):
        desk = Desk(state=tmp_path)
        desk.send(command(seq=10))
        desk.queue.drain()
        assert desk.done == done
    assert desk.states() == ["succeeded"], "the stored receipt"
    desk.send(command(id="c-other", seq=10))
    desk.send(command(id="c-2", audience="store/_all", seq=1), TO_ALL)
    desk.send(command(id="c-3", seq=11))
    desk.queue.drain()
    assert desk.done == ["c-2", "c-3"]
    assert "refused:replayed" in desk.states()


def test_floor_and_receipt_are_on_the_disk_before_the_command_is_carried_out(tmp_path: Path) -> None:
    desk = Desk(state=tmp_path)
    desk.send(command(seq=10))
    assert not desk.done
    assert list(Floors(tmp_path).commands().values()) == [10]
    assert CommandJournal(tmp_path / "commands.json").records()[0].seq == 10


@pytest.mark.parametrize("damage", ["floors.json", "models/floors.json", "commands.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 500, b"\xff" * 9_000])
def test_one_damaged_file_opens_no_replay(tmp_path: Path, damage: str, content: bytes) -> None:
    """The floor comes from its second copy, and even the journal alone would know."""
    first = Desk(state=tmp_path)
    first.send(command(seq=10))
    first.queue.drain()
    (tmp_path / damage).write_bytes(content)
    again = Desk(state=tmp_path)
    again.send(command(seq=10))
    again.send(command(id="c-2", seq=9))
    again.send(command(id="c-3", seq=11))
    again.queue.drain()
    assert again.done == ["c-3"]
    assert list(Floors(tmp_path).commands().values()) == [11]
    if damage == "commands.json":
        assert (tmp_path / "commands.json.corrupt").read_bytes() == content


def test_with_both_floors_lost_the_journal_still_knows(tmp_path: Path) -> None:
    first = Desk(state=tmp_path)
    first.send(command(seq=10))
    first.queue.drain()
    for path in Floors(tmp_path).paths:
        path.unlink()
    again = Desk(state=tmp_path)
    again.send(command(id="c-2", seq=10))
    assert again.states() == ["refused:replayed"]


def test_what_would_change_something_is_refused_while_the_disk_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    desk = Desk(state=tmp_path / "file" / "state")
    caplog.clear()
    for n, verb in enumerate(("model.rollback", "ping", "model.rollback", "ping")):
        desk.send(command(id=f"c-{n}", verb=verb, seq=n + 1))
    desk.send(command(id="c-9", seq=4))
    desk.queue.drain()
    assert desk.done == ["c-1", "c-3"], "the technician needs an answer now"
    assert desk.states().count("refused:not_kept") == 2
    assert "refused:replayed" in desk.states()
    assert caplog.text.count("what was commanded can not be kept") == 1
    assert len(desk.queue.problems) == 2


def test_a_command_that_was_under_way_when_the_process_died_is_told_as_interrupted(tmp_path: Path) -> None:
    Desk(state=tmp_path).send(command(seq=10))
    again = Desk(state=tmp_path)
    assert again.states() == ["failed:interrupted"]
    again.send(command(seq=10))
    again.queue.drain()
    assert again.done == []
    assert again.states() == ["failed:interrupted"] * 2


def test_a_restart_is_concluded_at_the_next_start(tmp_path: Path) -> None:
    first = Desk(state=tmp_path)
    first.send(command(seq=10))
    for ended in (["succeeded"], []):
        again = Desk(state=tmp_path, conclusions={"ping": lambda asked: {"restarted": asked.id == "c-1"}})
        again.now += 3600
        again.queue.drain()
        assert again.states() == ended
        assert all(receipt["result"] == {"restarted": True} for receipt in again.receipts())


def test_at_the_end_those_who_wait_are_told_but_for_those_whom_the_next_start_tells(tmp_path: Path) -> None:
    desk = Desk(state=tmp_path, conclusions={"model.rollback": lambda asked: {}})
    desk.send(command())
    desk.send(command(id="c-2", verb="model.rollback", seq=2))
    desk.queue.abandon("the device stopped")
    assert desk.states() == ["accepted", "accepted", "failed:TryAgain"]
    again = Desk(state=tmp_path, conclusions={"model.rollback": lambda asked: {}})
    again.queue.drain()
    assert again.states() == ["succeeded"]


def test_a_last_receipt_that_the_broker_did_not_get_is_told_at_the_next_connect() -> None:
    desk = Desk()
    desk.link.on_connect(desk.queue.connected)
    desk.send(command())
    desk.link.lose()
    desk.queue.drain()
    assert desk.states() == ["accepted"]
    for _ in range(3):
        desk.link.connect()
    assert desk.states() == ["accepted", "succeeded"]


def test_an_older_sequence_number_is_a_replay() -> None:
    desk = Desk()
    desk.send(command(seq=10))
    desk.send(command(id="c-2", seq=10))
    desk.send(command(id="c-3", seq=9))
    desk.send(command(id="c-4", seq=11))
    desk.queue.drain()
    assert desk.done == ["c-1", "c-4"]
    assert desk.queue.counts().refused == {"replayed": 2}


def test_a_refused_command_does_not_block_those_after_it() -> None:
    desk = Desk()
    desk.send(command(seq=10**9, expires_at=NOW - 1, issued_at=NOW - 2))
    desk.send(command(id="c-2", seq=2))
    desk.queue.drain()
    assert desk.done == ["c-2"]


def test_a_command_whose_receipt_is_forgotten_is_still_not_carried_out_again() -> None:
    desk = Desk()
    for n in range(REMEMBERED + 10):
        desk.send(command(id=f"c-{n}", seq=n + 1))
        desk.queue.drain()
    desk.send(command(id="c-0", seq=1))
    desk.queue.drain()
    assert desk.done.count("c-0") == 1
    assert desk.states()[-1] == "refused:replayed"


def test_a_command_that_expires_in_the_queue_is_not_carried_out() -> None:
    desk = Desk()
    desk.send(command())
    desk.now += 61
    desk.queue.drain()
    assert desk.done == []
    assert desk.states() == ["accepted", "refused:handler"]


def test_more_commands_than_fit_between_two_frames_are_refused() -> None:
    desk = Desk()
    for n in range(WAITING + 2):
        desk.send(command(id=f"c-{n}", seq=n + 1))
    assert desk.states()[-2:] == ["refused:busy"] * 2
    while desk.queue.drain():
        pass
    assert len(desk.done) == WAITING


def test_a_flood_is_dropped_unread_and_counted() -> None:
    limits = Limits()
    desk = Desk(limits)
    for _ in range(1_000):
        desk.send(b"noise")
    counts = desk.queue.counts()
    assert counts.limited == 1_000 - limits.reading.burst
    assert counts.refused == {"malformed": limits.reading.burst}
    assert len(desk.broker.published) == limits.refusals.burst
    assert counts.unanswered == limits.reading.burst - limits.refusals.burst
    assert counts.total == 1_000


def test_a_flood_under_one_topic_leaves_the_others_open() -> None:
    desk = Desk(Limits())
    for _ in range(1_000):
        desk.send(b"noise", TO_ALL)
    desk.send(command())
    desk.queue.drain()
    assert desk.done == ["c-1"]


def test_who_may_command_is_not_stopped_by_the_limit_for_noise() -> None:
    desk = Desk(Limits())
    sent = 10 * Limits().reading.burst
    for n in range(sent):
        desk.queue._budgets.taking.refund()
        desk.send(command(id=f"c-{n}", seq=n + 1))
        desk.queue.drain()
    assert len(desk.done) == sent


def test_a_command_that_finds_the_queue_full_may_come_again_as_it_is() -> None:
    desk = Desk()
    for n in range(WAITING + 1):
        desk.send(command(id=f"c-{n}", seq=n + 1))
    while desk.queue.drain():
        pass
    desk.send(command(id=f"c-{WAITING}", seq=WAITING + 1))
    desk.queue.drain()
    assert len(desk.done) == WAITING + 1


def test_an_answer_goes_where_it_was_asked_to() -> None:
    desk = Desk()
    topic = TOPICS.response("ping") + "/operator-7"
    desk.send(command(reply_to=topic))
    assert desk.broker.topics() == [topic]


def test_unsigned_commands_are_announced_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        AcceptUnsigned()
    assert "whoever may publish" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
hostile = (
    st.binary(max_size=300)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({}, optional=dict.fromkeys(command(), json_values) | {"args": json_values}).map(
        lambda changes: json.dumps(command() | changes).encode()
    )
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(hostile, st.text(max_size=12), st.booleans()), max_size=5))
def test_no_message_makes_the_device_stumble(messages: list[tuple[bytes, str, bool]]) -> None:
    desk = Desk()
    for payload, tail, retained in messages:
        desk.send(payload, TOPICS.base + "/cmd/" + tail.encode("utf-8", "replace").decode(), retained)
        desk.queue.drain()
    desk.send(command(id="honest", seq=2**53))
    desk.queue.drain()
    assert "honest" in desk.done
