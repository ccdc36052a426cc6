"""A rollout between the disk and the broker: records, owners, tampering; with devices that live in memory."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from edge_runtime.errors import Refused
from edge_runtime.fleet.desired import Desired, DesiredModel, decode_desired, encode_desired
from edge_runtime.fleet.operator.rollouts.cohort import outcome
from edge_runtime.fleet.operator.rollouts.engine import Rollout
from edge_runtime.fleet.operator.rollouts.journal import Journal
from edge_runtime.fleet.operator.rollouts.ledger import Ledger, merged
from edge_runtime.fleet.operator.rollouts.plan import Plan, parse_rings
from edge_runtime.fleet.operator.rollouts.records import Head
from edge_runtime.fleet.operator.rollouts.run import FILTERS, Overtaken, RolloutRun, Watchtower
from edge_runtime.fleet.operator.signer import Unsigned
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import DESIRED, ROLLOUT, EnvelopeVerifier
from edge_runtime.workshop.enrolment.signing import OperatorKey
from fleet.memory_broker import MemoryBroker, Published
from fleet.operator.memory_connection import MemoryConnection
from fleet.operator.worlds import NEW, OLD

HEAD_TOPIC = "edge/v1/_rollout/spring"


class Village:
    """Devices that take what is retained for them and tell it at once, and send two figures whenever nobody speaks."""

    def __init__(self, broker: MemoryBroker, names: list[str], opener: object, bad: bool = False) -> None:
        self.broker, self.names, self.opener, self.bad = broker, names, opener, bad
        self.model = dict.fromkeys(names, OLD)
        self.count = 0
        self.seqs: dict[str, list[int]] = {name: [] for name in names}
        for name in names:
            self._tell(name, "availability", "availability", state="online", reason="connected", connection=1)
            self._status(name)

    def live(self) -> None:
        self.count += 1
        for name in self.names:
            self._converge(name)
            model = self.model[name]
            accuracy = 0.6 if self.bad and model.version == NEW.version else 0.95
            figures = {"frames": 9, "estimated_accuracy": accuracy + 0.0001 * (self.count % 7), "unknown_share": 0.02}
            self._tell(
                name, "telemetry", "telemetry", retain=False, seq=self.count, id=f"t{self.count}", interval_s=1, rss_mb=90, cpu_s=0.1,
                model=f"shelf-{model.version}", cameras={"cam": figures | {"usable": 9, "ms": {"total": [100.0, 120.0]}}},
            )  # fmt: skip

    def _converge(self, name: str) -> None:
        raw = self.broker.retained.get(f"edge/v1/{name}/desired")
        if not raw:
            return
        wish = decode_desired(self.opener.open(raw, DESIRED).payload)
        if self.seqs[name] and wish.seq <= self.seqs[name][-1]:
            return
        self.seqs[name].append(wish.seq)
        self.model[name] = wish.model
        self._status(name)
        self._tell(name, "reported", "reported", seq=wish.seq, state="converged")

    def _status(self, name: str) -> None:
        model = self.model[name]
        self._tell(
            name, "status", "status", seq=1, state="ok",
            model={"name": model.name, "version": model.version, "sha256": "ab" * 32, "phase": "committed"},
        )  # fmt: skip

    def _tell(self, name: str, kind: str, schema: str, retain: bool = True, **said: object) -> None:
        site, device = name.split("/")
        head = {"schema": f"edge/{schema}/1", "site": site, "device": device, "session": 1, "at": 1.0}
        self.broker.take(Published(f"edge/v1/{name}/{kind}", json.dumps(head | said).encode(), retain))


PLAN = Plan(
    model=NEW, rings=parse_rings("canary=3,100%"), gates={"accuracy_drop": 0.03, "failed_share": 0.1}, seed="s",
    soak_s=0.2, settle_s=30.0, patience_s=30.0,
)  # fmt: skip


class Office:
    """A broker, its devices, and operators who come and go."""

    def __init__(self, folder: Path, bad: bool = False, signed: bool = True) -> None:
        self.broker = MemoryBroker()
        self.folder = folder
        if signed:
            self.signer = OperatorKey.create(folder / "key.pem", "ops")
            keys = CommandKeys((self.signer.public_entry(),))
            self.opener = EnvelopeVerifier(lambda: keys)
        else:
            self.signer = self.opener = Unsigned()
        names = [f"s{n % 3}/d{n:02d}" for n in range(9)]
        self.village = Village(self.broker, names, self.opener, bad)

    def sit(self, owner: str = "a", journal: str = "desk") -> RolloutRun:
        """An operator with the rollout as the broker and this journal have it, or a new one."""
        connection = MemoryConnection(self.broker, FILTERS)
        connection.idle = self.village.live
        tower = Watchtower(self.opener)
        for message in connection.drain(0.0):
            tower.hear(message)
        desk = Journal(self.folder / journal, "spring")
        local, remote = desk.read(), tower.ledger.rollouts.get("spring")
        if local.head is None and remote is None and HEAD_TOPIC not in tower.ledger.refused:
            now = time.time()
            head = Head(
                name="spring", plan=PLAN, generation=1, owner=owner, revision=1, began_at=now, at=now, phase="baseline",
                since=now,
            )  # fmt: skip
            self.rollout, self.batches = Rollout(head), {}
        else:
            known, self.remarks = merged(local, remote, tower.ledger.refused.get(HEAD_TOPIC, ""))
            self.rollout, self.batches = Rollout(known.head, known.batches.values()), known.batches
            self.rollout.take(self.rollout.claimed(owner, time.time()))
        return RolloutRun(connection, tower, self.rollout, desk, self.signer, step_s=0.01)

    def carry(self, run: RolloutRun) -> Head:
        run.claim(run.rollout.head, self.batches)
        return run.run()

    def versions(self) -> set[str]:
        return {model.version for model in self.village.model.values()}


@pytest.fixture(autouse=True)
def quick_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.fleet.operator.rollouts.run.CLAIM_S", 0.05)
    monkeypatch.setattr("edge_runtime.fleet.operator.rollouts.engine.HEARD_S", 0.05)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_an_answer_that_a_cluster_left_out_is_asked_for(office, monkeypatch):
    monkeypatch.setattr("edge_runtime.fleet.operator.rollouts.run.ASK_S", 0.02)
    run = office.sit()
    name = office.village.names[0]
    run._connection.deaf = {f"edge/v1/{name}/{kind}" for kind in ("reported", "status")}
    assert office.carry(run).phase == "completed"
    touched, sight = run.rollout.cohort.touched, run._tower.sight
    assert {outcome(each, sight.seen(device)) for device, each in touched.items()} == {"done"}
    assert sight.seen(name).model.version == "1.1.0"


def test_a_good_model_goes_to_all_and_every_word_of_it_is_signed(office):
    assert office.carry(office.sit()).phase == "completed"
    assert office.versions() == {"1.1.0"}
    assert all(len(seqs) == 1 for seqs in office.village.seqs.values())
    for topic, raw in office.broker.retained.items():
        if topic.startswith(HEAD_TOPIC):
            office.opener.open(raw, ROLLOUT)


def test_a_bad_model_is_taken_back_to_what_was_desired_before(tmp_path):
    office = Office(tmp_path, bad=True)
    for name in office.village.names:
        wish = Desired(audience=name, seq=5, issued_at=1.0, model=OLD, config={"telemetry.interval_s": 60})
        envelope = office.signer.sign(DESIRED, encode_desired(wish))
        office.broker.take(Published(f"edge/v1/{name}/desired", envelope, True))
    assert office.carry(office.sit()).phase == "restored"
    assert office.versions() == {"1.0.0"}
    touched = [name for name, seqs in office.village.seqs.items() if len(seqs) > 1]
    assert len(touched) == 3
    for name in touched:
        now = decode_desired(office.opener.open(office.broker.retained[f"edge/v1/{name}/desired"], DESIRED).payload)
        assert (now.model, now.config) == (OLD, {"telemetry.interval_s": 60})


class Dies(Exception):
    pass


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("journal", ["desk", "another computer"])
@pytest.mark.parametrize("after", range(1, 22, 4))
def test_killed_after_any_publish_it_goes_on_from_the_journal_or_from_the_broker_alone(tmp_path, after, journal, bad):
    office = Office(tmp_path, bad=bad)
    run = office.sit()
    link, left = run._connection.link, [after]
    publish = link.publish

    def counted(*message: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            link.connected = False
            raise Dies
        return publish(*message)

    link.publish = counted
    try:
        office.carry(run)
    except Dies:
        last = office.carry(office.sit("b", journal))
    else:
        last = run.rollout.head
    assert last.phase == ("restored" if bad else "completed")
    assert office.versions() == ({"1.0.0"} if bad else {"1.1.0"})
    if not bad:
        assert all(len(seqs) == 1 for seqs in office.village.seqs.values())


def test_of_two_operators_the_later_one_goes_on_and_the_first_one_stops(office):
    first = office.sit("a")
    first.claim(first.rollout.head, {})
    second = office.sit("b", "another computer")
    second.claim(second.rollout.head, {})
    with pytest.raises(Overtaken, match="taken over"):
        first.run()
    assert second.run().phase == "completed"
    assert all(len(seqs) == 1 for seqs in office.village.seqs.values())


def test_of_two_who_claim_at_the_same_moment_one_wins(office):
    first = office.sit("a")
    first.claim(first.rollout.head, {})
    left, right = office.sit("b", "left"), office.sit("c", "right")
    right.keep(right.rollout.head)
    with pytest.raises(Overtaken):
        left.claim(left.rollout.head, {})
    right.claim(right.rollout.head, {})
    assert right.run().phase == "completed"


def halted_in_the_middle(office: Office) -> RolloutRun:
    run = office.sit()
    run.claim(run.rollout.head, {})
    while not run.rollout.cohort.touched:
        run._pump(0.01)
        run._step()
    return run


@pytest.mark.undocumented("what an attacker might retain")
@pytest.mark.parametrize("what", ["unsigned", "another key", "another name", "noise", "deleted"])
def test_a_state_at_the_broker_that_is_not_to_be_believed_is_refused(office, tmp_path, what):
    run = halted_in_the_middle(office)
    good = office.broker.retained[HEAD_TOPIC]
    payload = office.opener.open(good, ROLLOUT).payload
    forged = {
        "unsigned": payload,
        "another key": OperatorKey.create(tmp_path / "other.pem", "x").sign(ROLLOUT, payload),
        "another name": office.signer.sign(ROLLOUT, payload.replace(b'"spring"', b'"autumn"')),
        "noise": b"\xff{",
        "deleted": b"",
    }[what]
    run._connection.link.connected = False
    office.broker.take(Published(HEAD_TOPIC, forged, True))
    with pytest.raises(Refused):
        fresh = Ledger(office.opener)
        for topic, raw in office.broker.retained.items():
            if topic.startswith(HEAD_TOPIC):
                fresh.take(topic, raw)
        merged(
            Journal(tmp_path / "nowhere", "spring").read(),
            fresh.rollouts.get("spring"),
            fresh.refused.get(HEAD_TOPIC, ""),
        )
    assert office.carry(office.sit("b")).phase == "completed", "the journal of this computer counts"
    office.opener.open(office.broker.retained[HEAD_TOPIC], ROLLOUT)


def test_an_older_state_at_the_broker_gives_way_to_the_journal(office):
    run = halted_in_the_middle(office)
    run._connection.link.connected = False
    old = next(m.payload for m in office.broker.published if m.topic == HEAD_TOPIC)
    office.broker.take(Published(HEAD_TOPIC, old, True))
    again = office.sit("b")
    assert any("older than the journal" in remark for remark in office.remarks)
    assert office.carry(again).phase == "completed"
    assert all(len(seqs) == 1 for seqs in office.village.seqs.values())


def test_without_a_batch_that_the_head_names_nobody_goes_on(office):
    run = halted_in_the_middle(office)
    run._connection.link.connected = False
    for topic in [topic for topic in office.broker.retained if "/batch/" in topic]:
        del office.broker.retained[topic]
    with pytest.raises(Refused, match="missing"):
        office.sit("b", "another computer")
    assert office.carry(office.sit("c")).phase == "completed", "the journal has it"
    assert any("/batch/" in topic for topic in office.broker.retained)


def test_a_forged_wish_at_the_broker_is_no_past_to_go_back_to(tmp_path):
    office = Office(tmp_path, bad=True)
    for name in office.village.names:
        evil = Desired(audience=name, seq=7, issued_at=1.0, model=DesiredModel(name="shelf", version="6.6.6"))
        office.village.seqs[name].append(7)
        office.broker.retained[f"edge/v1/{name}/desired"] = encode_desired(evil)
    office.village._converge = lambda name: None
    run = halted_in_the_middle(office)
    assert all(touched.model.version == "1.0.0" for touched in run.rollout.cohort.touched.values())


def test_the_journal_survives_being_torn_at_every_byte(office, tmp_path):
    run = halted_in_the_middle(office)
    journal = run._journal
    raw = journal.path.read_bytes()
    whole = journal.read()
    lines = raw.splitlines(keepends=True)
    start = len(raw) - len(lines[-1])
    for end in range(start, len(raw), 7):
        torn = Journal(tmp_path / "torn", "spring")
        torn.path.parent.mkdir(parents=True, exist_ok=True)
        torn.path.write_bytes(raw[:end])
        before = torn.read()
        assert before.head is not None
        torn.append(whole.envelopes[HEAD_TOPIC])
        assert torn.read().head == whole.head
