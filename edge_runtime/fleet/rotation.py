"""Which node of a cluster to try next. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.fleet.settings import BrokerAddress


class Rotation:
    """The nodes in their order, from a random one on: devices that start together spread over them.

    A node that failed is followed by the next one at once; when each has failed since the last `settled`, the round is
    over and it is time to wait.
    """

    def __init__(self, nodes: tuple[BrokerAddress, ...], chance: Callable[[], float]) -> None:
        """`chance` gives numbers in [0, 1)."""
        self._nodes = nodes
        self._at = int(chance() * len(nodes)) % len(nodes)
        self._failed: set[BrokerAddress] = set()
        self._rounds = 0

    @property
    def node(self) -> BrokerAddress:
        return self._nodes[self._at]

    @property
    def rounds(self) -> int:
        """Whole rounds without a good connection."""
        return self._rounds

    def fail(self) -> bool:
        """The node failed: turn to the next. True if that was the last of the round."""
        self._failed.add(self.node)
        self._at = (self._at + 1) % len(self._nodes)
        if len(self._failed) < len(self._nodes):
            return False
        self._failed.clear()
        self._rounds += 1
        return True

    def settled(self) -> None:
        """The connection was a good one: the count begins anew."""
        self._failed.clear()
        self._rounds = 0

    def prefer(self, place: str) -> bool:
        """Turn to the node that a broker named as `host` or `host:port`, if it is one of the nodes."""
        for index, node in enumerate(self._nodes):
            if place in (str(node), node.host):
                self._at = index
                return True
        return False
