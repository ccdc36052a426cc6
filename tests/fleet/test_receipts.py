"""Application receipts: what proves that a record arrived, and what is said where no proof comes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from edge_runtime.fleet.receipts import COLLECTOR_S, PROOF_S, ReceiptBook
from edge_runtime.fleet.settings import Proof
from edge_runtime.telemetry.messages import MAX_ACK_BYTES, Ack, encode
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics

TOPICS = Topics("store", "box")
SLOT = TOPICS.event("slot")


@dataclass
class Carriage:
    """A publish in a session that tests drive by hand."""

    state: Delivery = Delivery.PENDING
    denied: bool = False

    def delivery(self) -> Delivery:
        return self.state


@dataclass
class Hand:
    """A book, and the clock that it reads."""

    proof: Proof = Proof.ECHO
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.book = ReceiptBook(TOPICS, self.proof, lambda: self.now_s)

    def send(self, payload: bytes, topic: str = SLOT):
        assert self.book.admit(topic, payload)
        carried = Carriage()
        return carried, self.book.sent(topic, payload, carried)


def record(key: str) -> bytes:
    return msgspec.json.encode({"id": key, "n": 1})


def test_an_echo_needs_the_acknowledgement_and_the_acknowledgement_the_echo() -> None:
    hand = Hand()
    carried, receipt = hand.send(record("a"))
    hand.book.heard(SLOT, record("a"))
    assert receipt.delivery() is Delivery.PENDING
    carried.state = Delivery.ACKNOWLEDGED
    assert receipt.delivery() is Delivery.ACKNOWLEDGED
    carried, receipt = hand.send(record("b"))
    carried.state = Delivery.ACKNOWLEDGED
    assert receipt.delivery() is Delivery.PENDING
    assert hand.book.unconfirmed == 1
    hand.book.heard(TOPICS.event("other"), record("b"))
    assert receipt.delivery() is Delivery.PENDING, "the echo of another topic is none"
    hand.book.heard(SLOT, record("b"))
    assert receipt.delivery() is Delivery.ACKNOWLEDGED
    assert hand.book.unconfirmed == 0


def test_what_is_acknowledged_and_dropped_fails_and_is_said_after_the_second_time() -> None:
    hand = Hand()
    for times in (1, 2):
        sent = [hand.send(record(str(n))) for n in range(32)]
        for carried, receipt in sent:
            carried.state = Delivery.ACKNOWLEDGED
            assert receipt.delivery() is Delivery.PENDING
        hand.now_s += PROOF_S + 0.1
        assert {receipt.delivery() for _, receipt in sent} == {Delivery.FAILED}
        assert len(hand.book.problems()) == times - 1
    (problem,) = hand.book.problems()
    assert SLOT in problem and "write and read 'edge/v1/store/box/#'" in problem and 'receipts = "broker"' in problem
    carried, receipt = hand.send(record("0"))
    carried.state = Delivery.ACKNOWLEDGED
    hand.book.heard(SLOT, record("0"))
    assert receipt.delivery() is Delivery.ACKNOWLEDGED
    assert hand.book.problems() == ()


def test_an_echo_that_comes_late_counts_and_nothing_is_sent_again() -> None:
    hand = Hand()
    carried, receipt = hand.send(record("slow"))
    carried.state = Delivery.ACKNOWLEDGED
    assert receipt.delivery() is Delivery.PENDING
    hand.now_s += PROOF_S + 1
    assert receipt.delivery() is Delivery.FAILED
    hand.book.heard(SLOT, record("slow"))
    assert not hand.book.admit(SLOT, record("slow"))
    assert hand.book.admit(SLOT, record("slow")), "once it is taken out it is forgotten"


def test_a_slow_connection_that_brings_proofs_is_waited_for() -> None:
    hand = Hand()
    sent = [hand.send(record(str(n))) for n in range(5)]
    for carried, receipt in sent:
        carried.state = Delivery.ACKNOWLEDGED
        assert receipt.delivery() is Delivery.PENDING
    for n, (_, receipt) in enumerate(sent):
        hand.now_s += PROOF_S - 1
        assert receipt.delivery() is Delivery.PENDING
        hand.book.heard(SLOT, record(str(n)))
        assert receipt.delivery() is Delivery.ACKNOWLEDGED


def test_what_is_dropped_is_noticed_though_other_topics_bring_proofs_all_the_time() -> None:
    hand = Hand()
    for times in (1, 2):
        carried, dropped = hand.send(record("a"), TOPICS.event("camera"))
        carried.state = Delivery.ACKNOWLEDGED
        assert dropped.delivery() is Delivery.PENDING
        for n in range(6):
            hand.now_s += PROOF_S / 5
            carried, receipt = hand.send(record(f"{times}-{n}"))
            carried.state = Delivery.ACKNOWLEDGED
            hand.book.heard(SLOT, record(f"{times}-{n}"))
            assert receipt.delivery() is Delivery.ACKNOWLEDGED
        assert dropped.delivery() is Delivery.FAILED
    (problem,) = hand.book.problems()
    assert TOPICS.event("camera") in problem


def test_an_echo_without_acknowledgement_is_kept_for_the_next_connection() -> None:
    hand = Hand()
    carried, receipt = hand.send(record("a"))
    hand.book.heard(SLOT, record("a"))
    carried.state = Delivery.FAILED
    assert receipt.delivery() is Delivery.FAILED
    carried, receipt = hand.send(record("a"))
    carried.state = Delivery.ACKNOWLEDGED
    assert receipt.delivery() is Delivery.ACKNOWLEDGED


def test_a_denial_is_said_at_once_and_never_gives_the_record_up() -> None:
    hand = Hand()
    carried, receipt = hand.send(record("a"))
    carried.state, carried.denied = Delivery.REFUSED, True
    assert receipt.delivery() is Delivery.FAILED
    (problem,) = hand.book.problems()
    assert f"does not let this device publish '{SLOT}'" in problem


def test_a_collector_confirms_by_id() -> None:
    hand = Hand(Proof.COLLECTOR)
    assert hand.book.filters == (TOPICS.ack,)
    carried, receipt = hand.send(record("7-1"))
    carried.state = Delivery.ACKNOWLEDGED
    assert not hand.book.heard(SLOT, record("7-1")), "the echo is nothing to it"
    assert receipt.delivery() is Delivery.PENDING
    hand.book.heard(TOPICS.ack, encode(Ack(ids=("7-0", "7-1"))))
    assert receipt.delivery() is Delivery.ACKNOWLEDGED
    carried, receipt = hand.send(record("7-2"))
    carried.state = Delivery.ACKNOWLEDGED
    for _ in range(2):
        receipt.delivery()
        hand.now_s += COLLECTOR_S + 1
        assert receipt.delivery() is Delivery.FAILED
        carried, receipt = hand.send(record("7-2"))
        carried.state = Delivery.ACKNOWLEDGED
    assert "no collector confirms it" in hand.book.problems()[0]


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 5_000, b"\xff\xfe", b'{"schema":"edge/ack/1","ids":[1]}'])
def test_no_nonsense_confirms_anything(raw: bytes) -> None:
    hand = Hand(Proof.COLLECTOR)
    carried, receipt = hand.send(record("a"))
    carried.state = Delivery.ACKNOWLEDGED
    assert hand.book.heard(TOPICS.ack, raw)
    assert hand.book.heard(TOPICS.ack, raw + b" " * MAX_ACK_BYTES)
    assert receipt.delivery() is Delivery.PENDING


def test_the_broker_alone_where_that_is_wanted() -> None:
    hand = Hand(Proof.BROKER)
    assert hand.book.filters == ()
    carried, receipt = hand.send(record("a"))
    carried.state = Delivery.ACKNOWLEDGED
    assert receipt.delivery() is Delivery.ACKNOWLEDGED
    assert not hand.book.heard(SLOT, record("a"))


def test_a_refused_subscription_is_said_until_the_next_connection() -> None:
    hand = Hand()
    hand.book.filter_refused(hand.book.filters[0])
    (problem,) = hand.book.problems()
    assert "subscribe" in problem and 'receipts = "broker"' in problem
    hand.book.connected()
    assert hand.book.problems() == ()


def test_memory_is_bounded() -> None:
    hand = Hand()
    for n in range(10_000):
        hand.send(record(str(n)))
    assert len(hand.book._records) <= 4_096
    for n in range(200):
        carried, receipt = hand.send(record("x"), TOPICS.event(f"kind{n}"))
        carried.state, carried.denied = Delivery.REFUSED, True
        assert receipt.delivery() is Delivery.FAILED
    assert len(hand.book.problems()) <= 64
