"""What a limited key, or one device that lies, can do to a rollout: nothing but to itself."""

from __future__ import annotations

import json

import msgspec
import pytest

from edge_runtime.errors import Refused
from edge_runtime.fleet.desired import Desired, DesiredModel, encode_desired
from edge_runtime.fleet.operator.connection import Arrived
from edge_runtime.fleet.operator.directory import Directory
from edge_runtime.fleet.operator.rollouts.cohort import touch, wanted
from edge_runtime.fleet.operator.rollouts.evidence import Evidence, means
from edge_runtime.fleet.operator.rollouts.ledger import FILTER, MAX_ENVELOPE_BYTES, Known, Ledger, merged
from edge_runtime.fleet.operator.rollouts.plan import Plan, parse_rings
from edge_runtime.fleet.operator.rollouts.records import Batch, Head, decode_record, encode_record, topic_of
from edge_runtime.fleet.operator.rollouts.run import Watchtower
from edge_runtime.fleet.operator.rollouts.sight import LAST_SEQ, FleetSight
from edge_runtime.fleet.operator.signer import Unsigned
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import ROLLOUT, EnvelopeVerifier
from edge_runtime.workshop.enrolment.signing import OperatorKey

NEW, EVIL = DesiredModel(name="shelf", version="1.1.0"), DesiredModel(name="shelf", version="9.9.9")
HERE = "lyon/d1"


def plan(model: DesiredModel = NEW) -> Plan:
    return Plan(model=model, rings=parse_rings("100%"), gates={}, seed="s")


def head(model: DesiredModel = NEW, generation: int = 1, name: str = "spring") -> Head:
    return Head(
        name=name, plan=plan(model), generation=generation, owner="zed", revision=1, began_at=1.0, at=1.0, phase="writing"
    )  # fmt: skip


@pytest.mark.parametrize(
    "rights",
    [(("ping",), ("*",)), (("desired", "model.*"), ("*",)), (("*",), ("lyon/*",)), (("rollout",), ("autumn",))],
)
def test_the_head_of_a_key_that_may_not_roll_out_changes_nothing_of_what_is_known(tmp_path, rights):
    boss, limited = OperatorKey.create(tmp_path / "a.pem"), OperatorKey.create(tmp_path / "b.pem")
    keys = CommandKeys((boss.public_entry(), limited.public_entry(*rights)))
    ledger = Ledger(EnvelopeVerifier(lambda: keys))
    topic = topic_of(head())
    assert ledger.take(topic, boss.sign(ROLLOUT, encode_record(head()))) == head()
    forged = Batch(name="spring", id="1-0", ring=0, at=1.0, touched=())
    for record in (head(EVIL, generation=7), forged):
        assert ledger.take(topic_of(record), limited.sign(ROLLOUT, encode_record(record))) is None
    known = ledger.rollouts["spring"]
    assert known.head == head() and not known.batches and list(known.envelopes) == [topic]
    assert merged(known, known, "")[0].head == head()


def test_a_head_that_lies_elsewhere_changes_nothing_either(tmp_path):
    boss = OperatorKey.create(tmp_path / "a.pem")
    keys = CommandKeys((boss.public_entry(),))
    ledger = Ledger(EnvelopeVerifier(lambda: keys))
    ledger.take(topic_of(head()), boss.sign(ROLLOUT, encode_record(head())))
    other = head(EVIL, generation=7)
    for topic in (FILTER[:-1] + "spring/batch/1-0", FILTER[:-1] + "autumn"):
        assert ledger.take(topic, boss.sign(ROLLOUT, encode_record(other))) is None
    assert ledger.rollouts["spring"].head == head() and "autumn" not in ledger.rollouts


@pytest.mark.parametrize("ring", [1, -1, 2**62])
def test_a_head_in_a_ring_that_its_plan_does_not_have_is_none(ring):
    with pytest.raises(Refused, match="no ring"):
        decode_record(encode_record(msgspec.structs.replace(head(), ring=ring)))


def sight_of(directory: Directory, wishes: dict[str, Desired] | None = None) -> FleetSight:
    return FleetSight(directory, Evidence(), wishes or {})


def says(directory: Directory, kind: str, device: str = HERE, **said: object) -> None:
    assert directory.take(f"edge/v1/{device}/{kind}", json.dumps({"at": 1.0, "session": 1} | said).encode(), True, 2.0)


@pytest.mark.parametrize("seq", [2**53, 2**53 - 1, 2**63, 2**64 - 1, -(2**62), LAST_SEQ])
def test_a_device_that_reports_a_number_at_the_end_of_all_numbers_stops_no_rollout(seq):
    directory = Directory()
    says(directory, "reported", seq=seq, state="converged")
    says(directory, "status", state="ok")
    wishes = {HERE: Desired(audience=HERE, seq=seq, issued_at=1.0)} if 0 < seq <= 2**53 else {}
    touched = touch(HERE, plan(), sight_of(directory, wishes), 1.8e9)
    for phase in ("writing", "restoring"):
        encode_desired(wanted(msgspec.structs.replace(head(), phase=phase), touched))


@pytest.mark.parametrize(
    "model",
    [
        {"name": "no model at all", "version": "1.0.0"},
        {"name": "shelf", "version": "1.0.0; rm"},
        {"name": "shelf", "version": "1.0.0", "sha256": "x" * 64},
        {"name": "", "version": ""},
    ],
)
def test_a_device_that_says_it_runs_what_can_be_no_model_leaves_records_that_can_be_read(model):
    directory = Directory()
    says(directory, "status", state="ok", model=model)
    touched = touch(HERE, plan(), sight_of(directory), 1.8e9)
    batch = Batch(name="spring", id="1-0", ring=0, at=1.0, touched=(touched,))
    assert decode_record(encode_record(batch)) == batch
    encode_desired(wanted(head(), touched))


def test_a_device_whose_name_no_wish_could_be_sent_to_takes_no_part():
    directory = Directory()
    for device in (HERE, "lyon/" + "x" * 300, "lyon/a b", "lyon/\x1b[31m"):
        says(directory, "status", device, state="ok")
    assert sight_of(directory).eligible(plan()) == [HERE]


@pytest.mark.parametrize(
    "figures",
    [
        [(10**18, 1e308, 1e308), (10**18, -1e308, -1e308)],
        [(10**18, 1e308, 1e308), (10**18, 1e308, 1e308)],
        [(1, -1.0, -5.0)],
        [(1, 1e9, 1e300)],
    ],
)
def test_figures_that_no_device_can_measure_tell_nothing_and_stop_nothing(figures):
    evidence = Evidence()
    cameras = {
        f"c{n}": {"frames": frames, "estimated_accuracy": share, "unknown_share": share, "ms": {"total": [ms, ms]}}
        for n, (frames, share, ms) in enumerate(figures)
    }
    evidence.telemetry(HERE, json.dumps({"at": 1.0, "model": "shelf-1.0.0", "cameras": cameras}).encode(), 1.0)
    assert means(evidence.of(HERE, lambda window: True)) == {}


def test_without_any_record_nobody_goes_on(tmp_path):
    limited = OperatorKey.create(tmp_path / "b.pem")
    keys = CommandKeys((limited.public_entry(("ping",)),))
    ledger = Ledger(EnvelopeVerifier(lambda: keys))
    topic = topic_of(head())
    assert ledger.take(topic, limited.sign(ROLLOUT, encode_record(head()))) is None
    with pytest.raises(Refused, match="may not roll out"):
        merged(Known("spring"), ledger.rollouts.get("spring"), ledger.refused[topic])


def test_a_broker_that_makes_up_devices_and_rollouts_fills_no_memory(monkeypatch):
    monkeypatch.setattr("edge_runtime.fleet.operator.directory.MAX_DEVICES", 10)
    monkeypatch.setattr("edge_runtime.fleet.operator.rollouts.ledger.MAX_TOPICS", 10)
    tower = Watchtower(Unsigned())
    for number in range(50):
        device = f"lyon/d{number}"
        figures = {"c": {"frames": 9, "unknown_share": 0.1}}
        wish = encode_desired(Desired(audience=device, seq=5, issued_at=1.0))
        for kind, raw in (
            ("status", b'{"state": "ok"}'),
            ("telemetry", json.dumps({"at": 1.0, "model": "shelf-1.0.0", "cameras": figures}).encode()),
            ("desired", wish),
        ):
            tower.hear(Arrived(f"edge/v1/{device}/{kind}", raw, False, 1.0))
        tower.hear(Arrived(topic_of(head(name=f"r{number}")), encode_record(head(name=f"r{number}")), True, 1.0))
    known = {f"lyon/d{number}" for number in range(10)}
    assert {device.id for device in tower.directory} == known == set(tower.wishes)
    assert all(bool(tower.sight.windows(f"lyon/d{n}")) == (n < 10) for n in range(50))
    assert len(tower.ledger.newest) == len(tower.ledger.rollouts) == 10
    tower.hear(Arrived(topic_of(head(name="r1")), b"x" * (MAX_ENVELOPE_BYTES + 1), True, 1.0))
    assert (
        tower.ledger.rollouts["r1"].head == head(name="r1")
        and len(tower.ledger.newest[topic_of(head(name="r1"))]) < 9_999
    )
