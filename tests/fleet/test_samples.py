"""Read backs: state that the broker acknowledges and does not keep is noticed."""

from __future__ import annotations

from edge_runtime.fleet.samples import EVERY_S, FIRST_S, SAY_S, WAIT_S, Samples, Told
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics

TOPICS = Topics("store", "box")


class Broker:
    """Keeps what is retained and hands it to who subscribes; `drops` are acknowledged and forgotten."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.drops: set[str] = set()
        self.kept: dict[str, bytes] = {}
        self.subscribed: set[str] = set()
        self.reads: list[str] = []

    def publish(self, topic: str, payload: bytes, retained: bool = True) -> None:
        self._samples.published(topic, payload, retained)
        if topic in self.drops:
            return
        if retained:
            self.kept[topic] = payload
        if topic in self.subscribed:
            self._samples.heard(topic, payload)

    def obey(self) -> None:
        step = self._samples.step()
        if step is None:
            return
        self.subscribed.discard(step.unsubscribe)
        if step.subscribe:
            self.reads.append(step.subscribe)
            self.subscribed.add(step.subscribe)
            if step.subscribe in self.kept:
                self._samples.heard(step.subscribe, self.kept[step.subscribe])
        if step.publish:
            self.publish(step.subscribe, step.publish)


class Day:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.samples = Samples(TOPICS, lambda: self.now_s)
        self.broker = Broker(self.samples)
        self.samples.connected()

    def say(self) -> None:
        for topic in (TOPICS.availability, TOPICS.status, TOPICS.shelf("cam")):
            self.broker.publish(topic, topic.encode())

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self.broker.obey()


def test_each_topic_is_read_back_soon_after_the_connect_and_then_in_turn_and_rarely() -> None:
    day = Day()
    day.say()
    day.run(60)
    assert sorted(day.broker.reads) == sorted([TOPICS.availability, TOPICS.status, TOPICS.shelf("cam")])
    assert day.samples.problems() == () and day.broker.subscribed == set()
    day.broker.reads.clear()
    day.run(2.9 * EVERY_S)
    assert len(day.broker.reads) == 2 and len(set(day.broker.reads)) == 2


def test_what_the_broker_drops_is_said_within_a_minute_and_put_right_when_it_is_mended() -> None:
    day = Day()
    day.broker.drops = {TOPICS.status}
    day.say()
    day.run(8 * FIRST_S + 2 * WAIT_S + 20)
    (problem,) = day.samples.problems()
    assert TOPICS.status in problem and "read back" in problem and "Allow" in problem
    day.broker.drops.clear()
    day.run(120)
    assert day.samples.problems() == ()
    assert day.broker.kept[TOPICS.status] == TOPICS.status.encode(), "what was dropped was said again"


def test_figures_are_awaited_at_their_own_pace() -> None:
    day = Day()
    day.broker.publish(TOPICS.telemetry, b"1", retained=False)
    day.run(30)
    assert TOPICS.telemetry in day.broker.subscribed
    assert day.samples.problems() == ()
    day.broker.publish(TOPICS.telemetry, b"2", retained=False)
    day.run(5)
    assert day.broker.subscribed == set()
    day.broker.drops = {TOPICS.telemetry}
    for n in range(60):
        day.broker.publish(TOPICS.telemetry, str(n).encode(), retained=False)
        day.run(60)
    assert TOPICS.telemetry in day.samples.problems()[0]


def test_figures_that_are_never_said_do_not_hold_up_the_others() -> None:
    day = Day()
    day.broker.publish(TOPICS.telemetry, b"1", retained=False)
    day.run(10)
    day.say()
    day.run(2 * SAY_S)
    assert TOPICS.status in day.broker.reads
    assert not any(TOPICS.telemetry in problem for problem in day.samples.problems())


def test_a_denial_is_said_at_once_and_until_it_goes_through() -> None:
    day = Day()

    class Carried:
        denied = True
        state = Delivery.REFUSED

        def delivery(self) -> Delivery:
            return self.state

    carried = Carried()
    receipt = Told(day.samples, TOPICS.status, carried)
    assert receipt.delivery() is Delivery.REFUSED
    assert "does not let this device publish" in day.samples.problems()[0]
    carried.denied, carried.state = False, Delivery.ACKNOWLEDGED
    assert Told(day.samples, TOPICS.status, carried).delivery() is Delivery.ACKNOWLEDGED
    assert day.samples.problems() == ()


def test_a_topic_that_was_cleared_is_not_awaited() -> None:
    day = Day()
    day.say()
    day.broker.publish(TOPICS.shelf("cam"), b"")
    day.run(120)
    assert TOPICS.shelf("cam") not in day.broker.reads


def test_what_belongs_to_others_is_not_read_back() -> None:
    day = Day()
    day.broker.publish("homeassistant/sensor/box/config", b"x")
    day.run(60)
    assert day.broker.reads == []
