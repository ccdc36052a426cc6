"""Fault 21: hostile commands are refused with a reason, nothing is carried out, and nothing of them stays.

A slice of `python -m benchmarks.faults --only hostile`, and what hypothesis makes of valid commands.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle.disks import FaultyFiles, Killed

from benchmarks.faults import hostile, hostile_brokers
from benchmarks.faults.hostile_mint import KINDS, NOW, TOPICS, Mint
from edge_runtime.fleet.rate_limit import OPEN, Limits
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.valve import BRAKE_S, CALM_S, FIRST_S, GRACE, HEARING, LONGEST_S, Valve
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust import envelope
from edge_runtime.lifecycle.trust.envelope import COMMAND


@pytest.mark.parametrize("part", [hostile.one_by_one, hostile.as_a_flood, hostile.memory])
def test_a_slice_of_the_campaign(part: Callable[[int], hostile.Row]) -> None:
    row = part(700)
    assert row.held == row.points, row.note


def test_fault_22_a_damaged_journal_or_floor_opens_no_replay() -> None:
    row = hostile.damage(60)
    assert row.points > 60 and row.held == row.points, row.note


@pytest.mark.parametrize("fault", ["kill", "kill_half", "kill_after"])
def test_killed_at_every_step_of_taking_a_command_it_is_carried_out_once_at_most(tmp_path: Path, fault: str) -> None:
    """Journal before floor before action: after a kill it is interrupted, or as if it had never come."""
    outcomes = set()
    for nth in range(1, 40):
        state = tmp_path / str(nth)
        mint = Mint(state / "keys", 7)
        before = hostile.Target(state / "state", mint, OPEN)
        before.queue.arrived(mint.honest())
        before.queue.drain()
        message = mint.honest()
        first = hostile.Target(state / "state", mint, OPEN, files=FaultyFiles(nth, fault))
        try:
            first.queue.arrived(message)
            first.queue.drain()
        except Killed:
            pass
        else:
            break
        again = hostile.Target(state / "state", mint, OPEN)
        again.queue.arrived(message)
        again.queue.drain()
        assert len(first.done) + len(again.done) <= 1
        outcomes.add((len(first.done), len(again.done)))
        again.queue.arrived(mint.honest())
        again.queue.drain()
        assert again.done, "it serves on"
    assert nth > 8 and (0, 1) in outcomes and (0, 0) in outcomes and (1, 0) in outcomes


@pytest.mark.parametrize(
    ("clock", "reasons"),
    [
        ("at boot it is 1970", {"from_the_future"}),
        ("a year back", {"from_the_future"}),
        ("five years forward", {"expired"}),
        ("an hour forward, and the command lives for longer", set()),
    ],
)
def test_a_device_whose_clock_is_wrong(tmp_path: Path, clock: str, reasons: set[str]) -> None:
    """It refuses rather than to believe what it can not judge, says what its clock says, and takes commands again as
    soon as the clock is right."""
    mint = Mint(tmp_path / "keys", 8)
    target = hostile.Target(tmp_path / "state", mint, OPEN)
    year_s = 365 * 86_400.0
    target.now = {"at": 0.0, "a": NOW - year_s, "five": NOW + 5 * year_s, "an": NOW + 3600}[clock.split()[0]]
    command = mint.command(expires_at=NOW + 7200)
    target.queue.arrived(mint.signed(command))
    target.queue.drain()
    assert set(target.queue.counts().refused) == reasons
    target.now = NOW
    target.queue.arrived(mint.signed(command))
    target.queue.drain()
    assert target.done == [command["id"]]


@pytest.mark.parametrize("kind", ["expired", "misaddressed", "a key without the right", "another command's signature"])
def test_a_stranger_can_not_answer_for_a_command_that_was_taken(kind: str) -> None:
    """What borrows its id is refused without naming it: whoever waits for the receipt is not misled."""
    with hostile.scene(OPEN) as (mint, target, _):
        said: list[tuple[str, str]] = []
        target.queue._receipts.refuse = lambda denied: said.append((denied.id, denied.reason))  # type: ignore[method-assign,func-returns-value]
        taken, fresh = target.done[0], mint.command
        mint.command = lambda **changes: fresh(**{"id": taken} | changes)  # type: ignore[method-assign]
        target.queue.arrived(KINDS[kind][0](mint))
        target.queue.drain()
        assert [name for name, _ in said] == [""] and len(target.done) == 10


def test_an_expired_command_stays_expired_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """The time floor is what the update metadata vouched for; the clock may say what it likes."""
    mint = Mint(tmp_path / "keys", 9)
    Floors(tmp_path / "state").raise_time(NOW + 7200)
    target = hostile.Target(tmp_path / "state", mint, OPEN)
    target.queue.arrived(mint.signed(mint.command(expires_at=NOW + 3600)))
    target.queue.drain()
    assert target.queue.counts().refused == {"expired": 1}


def test_two_operators_with_clocks_apart_do_not_lock_each_other_out(tmp_path: Path) -> None:
    """One floor for all would: who is ahead by four minutes would be the only one to be heard for four minutes."""
    mint = Mint(tmp_path / "keys", 10)
    target = hostile.Target(tmp_path / "state", mint, OPEN)
    ahead = mint.command(seq=int((NOW + 240) * 1000))
    behind = mint.command(seq=int((NOW - 240) * 1000))
    for key, command in ((mint.operator, ahead), (mint.reader, behind)):
        target.queue.arrived(mint.signed(command, key))
        target.queue.drain()
    assert target.done == [ahead["id"], behind["id"]]
    target.queue.arrived(mint.signed(mint.command(seq=int(NOW * 1000)), mint.operator))
    assert target.queue.counts().refused == {"replayed": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone(kind: str) -> None:
    make, reasons = KINDS[kind]
    with hostile.scene(OPEN) as (mint, target, _):
        before = target.counted()
        for _ in range(8):
            target.queue.arrived(make(mint))
            target.queue.drain()
        new = target.counted() - before
        assert set(new) <= set(reasons.split()) and new.total() == 8
        assert len(target.done) == 10


@pytest.mark.undocumented("hostile messages")
@pytest.mark.integration
@pytest.mark.parametrize("name", ["nats-server", "mosquitto"])
def test_through_a_real_broker(name: str, tmp_path: Path, program: Callable[[str, str], str]) -> None:
    if name == "mosquitto":
        program("mosquitto", "mosquitto")
    with hostile_brokers.brokers()[name](tmp_path / "broker") as port:
        row = hostile_brokers.through(name, port, tmp_path, 250)
    assert row.points > 200 and row.held == row.points, row.note


def scattered(raw: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """Bytes inserted, replaced or removed, anywhere."""
    changed = bytearray(raw)
    for what, place, piece in edits:
        at = place % (len(changed) + 1)
        changed[at : at if what == "insert" else at + max(1, len(piece))] = b"" if what == "remove" else piece
    return bytes(changed)


edit = st.tuples(st.sampled_from(("insert", "replace", "remove")), st.integers(0, 10**6), st.binary(max_size=6))


@settings(max_examples=250, deadline=None)
@given(st.lists(edit, min_size=1, max_size=4), st.booleans())
def test_nothing_is_carried_out_but_what_was_signed_byte_by_byte(
    edits: list[tuple[str, int, bytes]], inside: bool
) -> None:
    """Changes to a valid envelope, or to the payload under its old signature."""
    with tempfile.TemporaryDirectory() as name:
        mint = Mint(Path(name) / "keys", 3)
        target = hostile.Target(Path(name) / "state", mint, OPEN)
        good = mint.honest()
        if inside:
            envelope = json.loads(good.payload)
            text = scattered(envelope["payload"].encode(), edits).decode("utf-8", "replace")
            raw = json.dumps(envelope | {"payload": text}).encode()
        else:
            raw = scattered(good.payload, edits)
        target.queue.arrived(Incoming(good.topic, raw, False))
        target.queue.drain()
        if target.done:
            assert json.loads(raw)["payload"].translate({45: 43, 95: 47}) == json.loads(good.payload)["payload"]
        assert target.queue.counts().total == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from(("id", "verb", "audience", "seq", "args", "reply_to", "x")), json_values))
def test_whatever_is_signed_is_taken_or_refused_and_never_stumbled_over(changes: dict[str, object]) -> None:
    """An operator's program may be wrong, too."""
    with tempfile.TemporaryDirectory() as name:
        mint = Mint(Path(name) / "keys", 4)
        target = hostile.Target(Path(name) / "state", mint, OPEN)
        raw = mint.operator.sign(COMMAND, json.dumps(mint.command() | changes).encode())
        target.queue.arrived(Incoming(TOPICS.command("ping"), raw, False))
        target.queue.drain()
        assert target.queue.counts().total == 1


@pytest.mark.parametrize("kind", ["another command's signature", "many signatures"])
def test_under_the_limits_as_they_ship_signatures_cost_what_was_agreed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dearest messages there are: all is right but the signature, or there are several."""
    limits = Limits()
    with hostile.scene(limits) as (mint, target, _):
        checks = []
        monkeypatch.setattr(envelope, "is_signed", lambda *asked: checks.append(1))
        messages = [KINDS[kind][0](mint) for _ in range(200)]
        for n in range(20_000):
            target.clock_s += 1 / 2_000
            target.queue.arrived(messages[n % 200])
            if n % 100 == 0:
                target.queue.drain()
        assert limits.checks.burst <= len(checks) <= limits.checks.burst + 10 * limits.checks.per_s
        counts = target.queue.counts()
        assert counts.limited > 19_000
        monkeypatch.undo()
        target.clock_s += 60.0
        for _ in range(20):
            target.clock_s += 1.0
            target.queue.drain()
        target.queue.arrived(mint.honest())
        target.queue.drain()
        assert len(target.done) == 11


class Flooded:
    """A valve over two subscriptions, by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.left: list[str] = []
        self.rested_s = 0.0
        self.valve = Valve(self._hush, ("a/cmd/+", "all/cmd/+", "a/desired"), lambda: self.now_s, self._rest)

    def _hush(self, seconds: float, names: tuple[str, ...]) -> None:
        self.pauses.append(seconds)
        self.left += names

    def _rest(self, seconds: float) -> None:
        self.rested_s += seconds

    def pour(self, topic: str = "a/cmd/ping", count: int = 2_000) -> int:
        return sum(self.valve.admits(topic) for _ in range(count))


def test_a_flood_is_stopped_at_the_broker_and_listened_to_again() -> None:
    flooded = Flooded()
    heard = 0
    for _ in range(3):
        heard += flooded.pour()
        assert "a/cmd/+" in flooded.valve.problem
        flooded.now_s += flooded.pauses[-1]
        assert not flooded.valve.problem
    assert flooded.pauses == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert HEARING.burst <= heard <= 3 * HEARING.burst and flooded.valve.dropped == 6_000 - heard
    for _ in range(10):
        flooded.pour()
        flooded.now_s += flooded.pauses[-1]
    assert flooded.pauses[-1] == LONGEST_S
    flooded.now_s += CALM_S
    flooded.pour()
    assert flooded.pauses[-1] == FIRST_S
    assert flooded.valve.floods == len(flooded.pauses)


@pytest.mark.parametrize(("topic", "name"), [("a/cmd/ping", "a/cmd/+"), ("a/desired", "a/desired")])
def test_only_what_is_flooded_is_left(topic: str, name: str) -> None:
    flooded = Flooded()
    flooded.pour(topic)
    assert flooded.left == [name]
    assert flooded.pour("all/cmd/ping", 100) == 100
    assert flooded.pour("elsewhere", 1_000) == 1_000, "what nobody strange may send is not measured"


def test_a_broker_that_goes_on_sending_what_nobody_wants_is_read_slowly() -> None:
    flooded = Flooded()
    flooded.pour(count=HEARING.burst + GRACE)
    assert not flooded.rested_s
    flooded.pour(count=100)
    assert flooded.rested_s >= 99 * BRAKE_S


def test_who_sends_in_reason_is_never_shut_out() -> None:
    flooded = Flooded()
    chance = random.Random(5)
    for _ in range(5_000):
        flooded.now_s += chance.expovariate(0.8 * HEARING.per_s)
        assert flooded.pour(count=1)
    assert not flooded.pauses
