"""What the link listens to for others: the filters, which of them are hushed for a while, which the broker refuses.

Any method may be called from any thread. Rule-keeper: no thread, no network.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.fleet.client import matches
from edge_runtime.fleet.session import Filters


class Hearing:
    """Of one link."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds, never set back."""
        self._clock = clock
        self._filters: Filters = ()
        self._hushed: dict[str, float] = {}
        """Filter -> when it is subscribed to again."""
        self.refused: tuple[str, ...] = ()
        """By the broker, in this connection."""

    def want(self, names: tuple[str, ...], qos: int) -> None:
        """Listen to these, and to nothing else."""
        self._filters = tuple((name, qos) for name in names)

    def wants(self, topic: str) -> bool:
        """Whether one of the filters brings this topic."""
        return matches(topic, (name for name, _ in self._filters))

    def connected(self) -> Filters:
        """A new connection: what to subscribe to."""
        self.refused = ()
        return tuple(each for each in self._filters if each[0] not in self._hushed)

    def hush(self, seconds: float, names: tuple[str, ...]) -> tuple[str, ...]:
        """Not these (empty: none at all) for a while; what to unsubscribe from for that."""
        names = names or tuple(name for name, _ in self._filters)
        new = tuple(name for name in names if name not in self._hushed)
        self._hushed.update(dict.fromkeys(names, self._clock() + seconds))  # never replaced: others are in it
        return new

    def again(self) -> Filters:
        """What is hushed no longer: to be subscribed to now."""
        over = [name for name, until_s in tuple(self._hushed.items()) if self._clock() >= until_s]
        for name in over:
            self._hushed.pop(name, None)
        return tuple(each for each in self._filters if each[0] in over)

    def refuse(self, name: str) -> None:
        """The broker does not let this device subscribe to a filter; others than these are none of its business."""
        if any(name == wanted for wanted, _ in self._filters):
            self.refused = (*self.refused, name)
