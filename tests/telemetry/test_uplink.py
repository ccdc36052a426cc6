"""The uplink against a broker in memory: nothing durable is lost, the newest state comes first, nobody waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fleet.memory_broker import MemoryBroker, MemoryLink, MemoryReceipt

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.courier import DOUBT_S, MOST_DOUBT_S, CourierSettings
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.retained import DOUBTS
from edge_runtime.telemetry.spool import Entry, Grade, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.uplink import Uplink, UplinkSettings


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def event(n: int) -> Entry:
    return Entry(f"e{n}", Grade.EVENT, "t/event", json.dumps({"id": f"e{n}"}).encode())


def parts(
    settings: UplinkSettings | None = None,
) -> tuple[MemoryBroker, MemoryLink, Uplink, Clock]:
    broker, clock = MemoryBroker(), Clock()
    link = MemoryLink(broker)
    return broker, link, Uplink(link, MemorySpool(clock=clock), settings, clock), clock


def ids(broker: MemoryBroker) -> list[str]:
    return [json.loads(message.payload)["id"] for message in broker.published if message.topic == "t/event"]


def settle(uplink: Uplink, clock: Clock, seconds: float = 3.0) -> None:
    for _ in range(int(seconds / 0.1)):
        uplink.step()
        clock.now_s += 0.1


def test_after_an_outage_the_newest_state_comes_first_and_then_the_backlog_in_order() -> None:
    broker, link, uplink, clock = parts()
    uplink.retain("t/shelf/cam", b"old shelf")
    for n in range(40):
        uplink.offer(event(n))
    uplink.retain("t/status", b"status", first=True)
    uplink.retain("t/shelf/cam", b"new shelf")
    settle(uplink, clock)
    assert broker.published == []
    link.connect()
    settle(uplink, clock)
    assert broker.topics()[:2] == ["t/status", "t/shelf/cam"]
    assert broker.retained["t/shelf/cam"] == b"new shelf"
    assert ids(broker) == [f"e{n}" for n in range(40)]
    assert (uplink.counts().acknowledged, uplink.counts().events) == (40, 40)


def test_retained_state_is_said_again_at_every_connect_and_only_then() -> None:
    broker, link, uplink, clock = parts()
    uplink.retain("t/info", b"info")
    for _ in range(3):
        link.connect()
        settle(uplink, clock)
        broker.cut()
    assert broker.topics() == ["t/info"] * 3


def test_what_was_not_acknowledged_before_the_cut_is_sent_again_under_its_id() -> None:
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.offer(event(1))
    uplink.retain("t/status", b"s")
    settle(uplink, clock, 1.0)
    assert uplink.counts().acknowledged == 0
    broker.cut()
    settle(uplink, clock, 1.0)
    broker.acknowledges = True
    link.connect()
    settle(uplink, clock)
    assert ids(broker) == ["e1", "e1"]
    assert (uplink.counts().acknowledged, uplink.counts().retained) == (1, 1)


def test_a_silent_broker_is_asked_again_after_the_timeout() -> None:
    broker, link, uplink, clock = parts(UplinkSettings(CourierSettings(ack_timeout_s=5.0)))
    link.connect()
    broker.acknowledges = False
    uplink.offer(event(1))
    settle(uplink, clock, 4.0)
    assert ids(broker) == ["e1"]
    broker.acknowledges = True
    settle(uplink, clock, 5.0)
    assert ids(broker) == ["e1", "e1"]
    assert uplink.counts().acknowledged == 1


def test_the_backlog_goes_out_at_a_limited_rate() -> None:
    broker, link, uplink, clock = parts(
        UplinkSettings(CourierSettings(window=12, reserve=2, backlog_events_per_s=20.0))
    )
    for n in range(200):
        uplink.offer(event(n))
    uplink.step()
    link.connect()
    settle(uplink, clock, 4.0)
    assert 80 <= len(ids(broker)) <= 100
    settle(uplink, clock, 8.0)
    assert len(ids(broker)) == 200


def test_72_hours_without_a_network() -> None:
    """Bounded, newest status first, every event, then as many of the newest figures as there was room for."""
    broker, clock = MemoryBroker(), Clock()
    link = MemoryLink(broker)
    limits = SpoolLimits(max_bytes=600_000, telemetry_share=0.5)
    uplink = Uplink(
        link,
        MemorySpool(limits, clock),
        UplinkSettings(CourierSettings(backlog_events_per_s=50.0, backlog_telemetry_per_s=50.0)),
        clock,
    )
    for n in range(72 * 30):
        clock.now_s += 120.0
        uplink.retain("t/status", f"status {n}".encode(), first=True)
        uplink.offer(Entry(f"f{n}", Grade.TELEMETRY, "t/telemetry", json.dumps({"id": f"f{n}"}).encode() + b" " * 900))
        if n % 5 == 0:
            uplink.offer(event(n))
        uplink.step()
        assert uplink.counts().spool.bytes <= limits.max_bytes
    link.connect()
    began_s = clock.now_s
    while uplink.counts().spool.events + uplink.counts().spool.telemetry or clock.now_s - began_s < 3.0:
        uplink.step()
        clock.now_s += 0.1
        assert clock.now_s - began_s < 60.0
    assert broker.published[0].payload == b"status 2159"
    assert ids(broker) == [f"e{n}" for n in range(0, 2160, 5)]
    figures = [json.loads(m.payload)["id"] for m in broker.published if m.topic == "t/telemetry"]
    assert figures == [f"f{n}" for n in range(2160 - len(figures), 2160)]
    assert uplink.counts().spool.dropped == {"telemetry_full": 2160 - len(figures)}
    assert clock.now_s - began_s >= (432 + len(figures) - 32) / 50.0


def test_a_message_that_can_never_be_sent_does_not_hold_up_the_others() -> None:
    broker, link, uplink, clock = parts()
    link.connect()
    uplink.offer(Entry("bad", Grade.EVENT, "t/#", b"x"))
    uplink.offer(event(1))
    settle(uplink, clock)
    assert ids(broker) == ["e1"]
    assert uplink.counts().spool.dropped == {"rejected": 1}


def test_a_full_inbox_drops_its_oldest_and_counts_them() -> None:
    broker, link, uplink, clock = parts(UplinkSettings(inbox=10))
    for n in range(15):
        uplink.offer(event(n))
    link.connect()
    settle(uplink, clock)
    assert ids(broker)[0] == "e5"
    assert uplink.counts().inbox_dropped == 5
    assert uplink.counts().spool.dropped == {"inbox_full": 5}


def test_a_spool_that_fails_keeps_the_messages_in_the_inbox() -> None:
    class Failing(MemorySpool):
        broken = True

        def add(self, entries: object) -> int:
            if self.broken:
                raise TryAgain("no space left on device")
            return super().add(entries)  # type: ignore[arg-type]

    broker, clock = MemoryBroker(), Clock()
    link, spool = MemoryLink(broker), Failing(clock=clock)
    uplink = Uplink(link, spool, clock=clock)
    link.connect()
    uplink.offer(event(1))
    settle(uplink, clock)
    assert ids(broker) == []
    spool.broken = False
    settle(uplink, clock)
    assert ids(broker) == ["e1"]


def test_a_spool_that_fails_to_forget_is_asked_again_and_sends_nothing_meanwhile() -> None:
    class Forgetful(MemorySpool):
        full = True

        def end(
            self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
        ) -> None:
            if self.full:
                raise TryAgain("no space left on device")
            super().end(accepted, rejected, kept, why)

    broker, clock, spool = MemoryBroker(), Clock(), Forgetful()
    link = MemoryLink(broker)
    uplink = Uplink(link, spool, clock=clock)
    link.connect()
    uplink.offer(event(1))
    settle(uplink, clock)
    uplink.offer(event(2))
    settle(uplink, clock)
    assert ids(broker) == ["e1"]
    spool.full = False
    settle(uplink, clock)
    assert ids(broker) == ["e1", "e2"]
    assert spool.counts().events == 0


def test_offering_never_waits_for_the_spool() -> None:
    held, going = threading.Event(), threading.Event()

    class Slow(MemorySpool):
        def add(self, entries: object) -> int:
            held.set()
            going.wait(10.0)
            return super().add(entries)  # type: ignore[arg-type]

    broker = MemoryBroker()
    link = MemoryLink(broker)
    uplink = Uplink(link, Slow())
    link.connect()
    uplink.start()
    try:
        uplink.offer(event(0))
        assert held.wait(5.0)
        for n in range(1, 100):
            uplink.offer(event(n))
            uplink.retain("t/status", str(n).encode())
            uplink.counts()
        assert ids(broker) == []
    finally:
        going.set()
        uplink.stop(5.0)
    assert len(ids(broker)) == 100


def test_stop_sends_what_waits_and_keeps_the_rest_for_the_next_start(tmp_path: Path) -> None:
    broker = MemoryBroker()
    link = MemoryLink(broker)
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    link.connect()
    uplink.start()
    uplink.offer(event(1))
    uplink.stop(5.0)
    assert ids(broker) == ["e1"]

    broker.cut()
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    uplink.start()
    uplink.offer(event(2))
    uplink.stop(0.2)
    assert ids(broker) == ["e1"]

    again = Uplink(link, SqliteSpool(tmp_path / "spool.sqlite"))
    link.connect()
    again.start()
    again.stop(5.0)
    assert ids(broker) == ["e1", "e2"]


def test_a_stop_at_once_keeps_what_came_last_and_forgets_what_has_arrived(tmp_path: Path) -> None:
    link = MemoryLink(MemoryBroker())
    uplink = Uplink(link, SqliteSpool(tmp_path / "spool.db"))
    link.connect()
    uplink.offer(event(1))
    uplink.step()
    uplink.offer(event(2))
    uplink.stop(0.0)
    assert [entry.id for entry in SqliteSpool(tmp_path / "spool.db").begin(9)] == ["e2"]


def test_what_is_new_does_not_wait_behind_the_backlog() -> None:
    settings = UplinkSettings(CourierSettings(window=8, reserve=2, backlog_events_per_s=5.0))
    broker, link, uplink, clock = parts(settings)
    for n in range(100):
        uplink.offer(event(n))
    settle(uplink, clock)
    link.connect()
    settle(uplink, clock, 2.0)
    uplink.offer(event(1000))
    settle(uplink, clock, 0.2)
    assert "e1000" in ids(broker)
    assert len(ids(broker)) < 30
    settle(uplink, clock, 30.0)
    assert [key for key in ids(broker) if key != "e1000"] == [f"e{n}" for n in range(100)]


def test_what_is_new_does_not_wait_for_a_backlog_that_nobody_acknowledges() -> None:
    settings = UplinkSettings(CourierSettings(window=8, reserve=2))
    broker, link, uplink, clock = parts(settings)
    for n in range(100):
        uplink.offer(event(n))
    settle(uplink, clock)
    broker.acknowledges = False
    link.connect()
    settle(uplink, clock, 2.0)
    assert len(ids(broker)) == 6
    uplink.offer(event(1000))
    settle(uplink, clock, 0.3)
    assert ids(broker)[-1] == "e1000"


def test_figures_of_the_backlog_wait_for_its_events() -> None:
    settings = UplinkSettings(
        CourierSettings(window=8, reserve=0, backlog_events_per_s=10.0, backlog_telemetry_per_s=5.0)
    )
    broker, link, uplink, clock = parts(settings)
    for n in range(30):
        uplink.offer(Entry(f"f{n}", Grade.TELEMETRY, "t/telemetry", b"f"))
        uplink.offer(event(n))
    settle(uplink, clock)
    link.connect()
    settle(uplink, clock, 20.0)
    assert broker.topics() == ["t/event"] * 30 + ["t/telemetry"] * 30


def test_each_record_ends_for_itself() -> None:
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.offer(event(1))
    settle(uplink, clock, 0.2)
    broker.acknowledges = True
    for n in range(2, 60):
        uplink.offer(event(n))
    settle(uplink, clock, 1.5)
    assert uplink.counts().acknowledged == 58
    assert uplink.counts().spool.events == 1


class SelectiveLink(MemoryLink):
    """Fails what goes to `held` topics while the connection stands, as a link does that sees no proof."""

    held: frozenset[str] = frozenset()
    tried = 0

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> MemoryReceipt:
        if topic in self.held:
            self.tried += 1
            return MemoryReceipt(Delivery.FAILED)
        return super().publish(topic, payload, qos, retain)


def test_a_topic_that_the_broker_does_not_take_is_tried_rarely_and_holds_up_no_other() -> None:
    broker, clock = MemoryBroker(), Clock()
    link = SelectiveLink(broker)
    uplink = Uplink(link, MemorySpool(clock=clock), clock=clock)
    link.held = frozenset({"t/held"})
    link.connect()
    for n in range(100):
        uplink.offer(Entry(f"h{n}", Grade.EVENT, "t/held", json.dumps({"id": f"h{n}"}).encode()))
        uplink.offer(event(n))
    settle(uplink, clock, 60.0)
    assert ids(broker) == [f"e{n}" for n in range(100)]
    assert uplink.counts().spool.events == 100
    assert link.tried < 32 + 10, "the first window, then one record at a time"
    link.held = frozenset()
    settle(uplink, clock, 30.0)
    assert len(broker.published) == 200
    assert uplink.counts().spool.events == 0


def test_a_connection_that_was_away_between_two_looks_leaves_no_doubt() -> None:
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.offer(event(1))
    settle(uplink, clock, 0.5)
    assert ids(broker) == ["e1"]
    link.lose()
    broker.acknowledges = True
    link.connect()
    settle(uplink, clock, 0.5)
    assert ids(broker) == ["e1", "e1"] and uplink.counts().acknowledged == 1


def test_a_window_that_fails_together_is_one_doubt() -> None:
    """The next try comes soon, however many records told that the topic is not taken; and never very late."""
    broker, clock = MemoryBroker(), Clock()
    link = SelectiveLink(broker)
    uplink = Uplink(link, MemorySpool(clock=clock), clock=clock)
    link.held = frozenset({"t/held"})
    link.connect()
    for n in range(100):
        uplink.offer(Entry(f"h{n}", Grade.EVENT, "t/held", b"{}"))
    settle(uplink, clock, 0.5)
    window = link.tried
    assert window > 4
    settle(uplink, clock, DOUBT_S + 0.5)
    assert link.tried == window + 1
    settle(uplink, clock, 600.0)
    link.held = frozenset()
    settle(uplink, clock, MOST_DOUBT_S + 0.5)
    assert broker.published


def test_a_new_connection_doubts_nothing() -> None:
    """It may be to another node, or the access list is mended: what is new goes at once."""
    broker, clock = MemoryBroker(), Clock()
    link = SelectiveLink(broker)
    uplink = Uplink(link, MemorySpool(clock=clock), clock=clock)
    link.held = frozenset({"t/held"})
    link.connect()
    uplink.offer(Entry("h0", Grade.EVENT, "t/held", b"{}"))
    settle(uplink, clock, 60.0)
    assert not broker.published
    link.held = frozenset()
    link.lose()
    settle(uplink, clock, 0.2)
    link.connect()
    settle(uplink, clock, 1.0)
    assert len(broker.published) == 1


def test_retained_state_goes_at_a_limited_rate_and_the_first_first() -> None:
    broker, link, uplink, clock = parts(UplinkSettings(retained_per_s=10.0, retained_burst=5))
    for n in range(40):
        uplink.retain(f"t/shelf/{n}", b"s")
    uplink.retain("t/status", b"s", first=True)
    link.connect()
    uplink.step()
    assert broker.topics() == ["t/status", *(f"t/shelf/{n}" for n in range(4))]
    settle(uplink, clock, 2.0)
    assert 20 <= len(broker.published) <= 26
    settle(uplink, clock, 2.0)
    assert len(broker.published) == 41


class Bomb(MemorySpool):
    """A spool with a fault of the programmer."""

    armed = False

    def add(self, entries: Iterable[Entry]) -> int:
        if self.armed:
            raise AssertionError("boom")
        return super().add(entries)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_is_told_and_started_again() -> None:
    broker, clock, spool = MemoryBroker(), Clock(), Bomb()
    link = MemoryLink(broker)
    uplink = Uplink(link, spool, clock=clock)
    assert uplink.watch() == ""
    link.connect()
    uplink.start()
    assert (uplink.alive, uplink.watch()) == (True, "")
    spool.armed = True
    uplink.offer(event(1))
    until(lambda: not uplink.alive)
    assert "boom" in uplink.watch()
    assert not uplink.alive, "not at once"
    spool.armed = False
    clock.now_s += 2.0
    uplink.watch()
    assert (uplink.alive, uplink.watch(), uplink.counts().restarts) == (True, "", 1)
    until(lambda: ids(broker) == ["e1"])
    uplink.stop(1.0)
    assert uplink.watch() == ""


def test_a_thread_that_hangs_is_told() -> None:
    held, going = threading.Event(), threading.Event()

    class Slow(MemorySpool):
        def add(self, entries: object) -> int:
            held.set()
            going.wait(10.0)
            return super().add(entries)  # type: ignore[arg-type]

    clock = Clock()
    uplink = Uplink(MemoryLink(MemoryBroker()), Slow(), clock=clock)
    uplink.start()
    uplink.offer(event(1))
    assert held.wait(5.0)
    assert uplink.watch() == ""
    clock.now_s += 31.0
    assert "hangs" in uplink.watch()
    assert uplink.age_s > 30.0
    going.set()
    until(lambda: uplink.watch() == "")
    uplink.stop(1.0)


def until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


def test_retained_state_that_is_never_acknowledged_is_said_again_though_the_connection_stands() -> None:
    """A cluster whose leader dies forgets what it was about to store, and keeps the connection."""
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.retain("t/status", b"now")
    settle(uplink, clock, 20.0)
    assert broker.topics().count("t/status") == 1
    broker.acknowledges = True
    settle(uplink, clock, 20.0)
    assert broker.topics().count("t/status") == 2 and uplink.counts().retained == 1


def test_an_acknowledgement_that_comes_late_is_doubted_for_a_while() -> None:
    """A cluster without a leader gives up storing after five seconds, and acknowledges nevertheless."""
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.retain("t/status", b"now")
    settle(uplink, clock, 5.0)
    broker.acknowledges = True
    link.acknowledge_all()
    settle(uplink, clock, 1.0)
    assert broker.topics().count("t/status") == 1 and uplink.counts().retained == 0
    settle(uplink, clock, 5.0)
    assert broker.topics().count("t/status") == 2 and uplink.counts().retained == 1
    settle(uplink, clock, 60.0)
    assert broker.topics().count("t/status") == 2


def test_a_line_that_is_always_slow_is_believed_in_the_end() -> None:
    broker, link, uplink, clock = parts()
    link.connect()
    broker.acknowledges = False
    uplink.retain("t/status", b"now")
    for _ in range(6):
        settle(uplink, clock, 25.0)
        link.acknowledge_all()
    assert broker.topics().count("t/status") == 1 + DOUBTS and uplink.counts().retained == 1
