"""Retained state of what is no more: a camera that left the configuration has a shelf that the broker still shows.

What the broker retains is the only list of it that survives everything, so it is asked, once a start: what comes under
one prefix and is not known is cleared with an empty retained message. Pure: no thread, no network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

LISTEN_S = 20.0
MAX_TOPICS = 256


class Leftovers:
    """Topics directly below `prefix` (which ends in /) that are retained and not among `known`."""

    def __init__(self, prefix: str, known: Collection[str], clock: Callable[[], float]) -> None:
        self.filter = f"{prefix}+"
        self._prefix, self._known, self._clock = prefix, frozenset(known), clock
        self._lock = threading.Lock()
        self._found: set[str] = set()
        self._until_s: float | None = None
        self.over = False
        """It was listened long enough."""

    def begin(self) -> bool:
        """A connection: whether to subscribe to `filter` now."""
        self._until_s = self._clock() + LISTEN_S
        return not self.over

    def heard(self, topic: str, payload: bytes, retained: bool) -> bool:
        """A message came: True if it is of this prefix, and so nobody else's."""
        if self.over or not topic.startswith(self._prefix):
            return False
        if retained and payload and topic not in self._known:
            with self._lock:
                if len(self._found) < MAX_TOPICS:
                    self._found.add(topic)
        return True

    def to_clear(self) -> tuple[str, ...]:
        """Topics that are to be cleared now, each said once."""
        with self._lock:
            found, self._found = tuple(sorted(self._found)), set()
        return found

    def finish(self) -> bool:
        """Whether to unsubscribe now, for good."""
        if self.over or self._until_s is None or self._clock() < self._until_s:
            return False
        self.over = True
        return True
