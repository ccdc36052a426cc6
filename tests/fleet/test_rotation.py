from __future__ import annotations

import random

from edge_runtime.fleet.rotation import Rotation
from edge_runtime.fleet.settings import parse_url

NODES = tuple(parse_url(f"mqtt://node{n}") for n in range(3))


def test_devices_that_start_together_spread_over_the_nodes() -> None:
    chance = random.Random(1).random
    starts = [Rotation(NODES, chance).node for _ in range(300)]
    assert all(70 < starts.count(node) < 130 for node in NODES)


def test_a_node_that_fails_is_followed_by_the_next_at_once_and_a_whole_round_by_a_pause() -> None:
    rotation = Rotation(NODES, lambda: 0.4)
    seen, waits = [], []
    for _ in range(6):
        seen.append(rotation.node)
        waits.append(rotation.fail())
    assert seen == [NODES[1], NODES[2], NODES[0]] * 2
    assert waits == [False, False, True] * 2
    assert rotation.rounds == 2
    rotation.settled()
    assert rotation.rounds == 0 and rotation.fail() is False


def test_connections_that_do_not_last_are_a_failing_round_too() -> None:
    rotation = Rotation(NODES[:2], lambda: 0.0)
    assert [rotation.fail() for _ in range(4)] == [False, True, False, True]


def test_one_node_is_a_round_of_its_own() -> None:
    rotation = Rotation(NODES[:1], lambda: 0.99)
    assert rotation.fail() is True and rotation.node == NODES[0]


def test_a_broker_may_name_one_of_the_nodes_and_no_other() -> None:
    rotation = Rotation(NODES, lambda: 0.0)
    assert rotation.prefer("node2:1883") and rotation.node == NODES[2]
    assert rotation.prefer("node1") and rotation.node == NODES[1]
    assert not rotation.prefer("evil:1883") and rotation.node == NODES[1]
    assert not rotation.prefer("")
