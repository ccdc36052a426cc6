"""Many connections in one thread: they come, come back, rotate over nodes, and say goodbye or do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, free_port
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import BrokerAddress, parse_url
from edge_runtime.fleet.swarm import Swarm, SwarmLink
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Availability, decode
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.topics import Topics


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        with LocalBroker(tmp_path) as found:
            yield found
    except Unavailable as fault:
        pytest.skip(str(fault))


class Crowd:
    """Links that hear one another's topics."""

    def __init__(self, nodes: list[BrokerAddress], count: int = 5) -> None:
        self.swarm = Swarm(lambda: 0.1)
        self.heard: list[Incoming] = []
        self.connects: list[int] = []
        self.links = [self.link(nodes, number) for number in range(count)]

    def link(self, nodes: list[BrokerAddress], number: int) -> SwarmLink:
        stamp = Stamp(Topics("s", f"d{number}"), 7)
        found = SwarmLink(self.swarm, nodes, f"c{number}", lambda: stamp, time.time)
        found.listen(("edge/v1/s/+/#",), self.heard.append)
        found.on_connect(lambda: self.connects.append(number))
        found.enter()
        return found

    def until(self, holds: Callable[[], bool]) -> None:
        ends_s = time.monotonic() + 30.0
        while not holds():
            assert time.monotonic() < ends_s, dict(self.swarm.counts)
            self.swarm.turn(0.02)

    @property
    def whole(self) -> bool:
        return all(link.connected for link in self.links)

    def availability(self, number: int) -> list[tuple[str, str, int]]:
        said = [decode(m.payload) for m in self.heard if m.topic == f"edge/v1/s/d{number}/availability"]
        return [(m.state, m.reason, m.connection) for m in said if isinstance(m, Availability)]


@pytest.mark.undocumented("plain words on event topics")
def test_publishes_are_acknowledged_and_heard(broker: LocalBroker) -> None:
    crowd = Crowd([parse_url(broker.url)])
    crowd.until(
        lambda: {message.topic for message in crowd.heard} == {f"edge/v1/s/d{n}/availability" for n in range(5)}
    )
    probes = [link.publish("edge/v1/s/d0/event/probe", b"?", 1, False) for link in crowd.links]
    crowd.until(lambda: all(probe.delivery() is Delivery.ACKNOWLEDGED for probe in probes))  # so are the subscriptions
    sent = crowd.links[0].publish("edge/v1/s/d0/event/x", b"hello", 1, False)
    crowd.until(lambda: sent.delivery() is Delivery.ACKNOWLEDGED)
    crowd.until(lambda: sum(message.payload == b"hello" for message in crowd.heard) == 5)


@pytest.mark.undocumented("plain words on event topics")
def test_a_broker_that_dies_fails_what_was_on_its_way_and_all_come_back(broker: LocalBroker) -> None:
    crowd = Crowd([parse_url(broker.url)])
    crowd.until(lambda: crowd.whole)
    broker.kill()
    sent = crowd.links[1].publish("edge/v1/s/d1/event/x", b"lost", 1, False)
    crowd.until(lambda: not any(link.connected for link in crowd.links))
    assert sent.delivery() is Delivery.FAILED
    assert crowd.links[1].publish("edge/v1/s/d1/event/x", b"lost", 1, False).delivery() is Delivery.FAILED
    broker.start()
    crowd.until(lambda: crowd.whole)
    assert sorted(crowd.connects) == sorted([*range(5), *range(5)])
    assert all(link.connection == 2 for link in crowd.links)


def test_a_dead_node_is_passed_over(broker: LocalBroker) -> None:
    nodes = [BrokerAddress("127.0.0.1", free_port(), False), parse_url(broker.url)]
    crowd = Crowd(nodes)
    crowd.until(lambda: crowd.whole)
    assert crowd.swarm.counts["failed_unreachable"] >= 1


def test_goodbye_and_sudden_end_are_told_apart(broker: LocalBroker) -> None:
    crowd = Crowd([parse_url(broker.url)], 3)
    crowd.until(lambda: crowd.whole)
    crowd.links[0].leave()
    crowd.links[1].drop()
    crowd.until(lambda: ("offline", "stopped", 1) in crowd.availability(0))
    crowd.until(lambda: ("offline", "lost", 1) in crowd.availability(1))
    crowd.links[1].enter()
    crowd.until(lambda: ("online", "connected", 2) in crowd.availability(1))
    assert not crowd.links[0].connected and crowd.connects.count(0) == 1
