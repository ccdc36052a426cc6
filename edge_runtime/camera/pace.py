"""When the next picture is due, and waiting that another thread can end."""

from __future__ import annotations

import threading
import time


def next_due_s(due_s: float, now_s: float, interval_s: float) -> float:
    """When the picture after the one taken at `now_s`, due at `due_s`, is due: on the grid, or a new grid after a gap."""
    return due_s + interval_s if now_s < due_s + 0.5 * interval_s else now_s + interval_s


class Pace:
    """At most one picture an interval, on a steady grid: a late picture does not push the next one back."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_s = float("-inf")
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """End every wait, now and later."""
        self._closed.set()

    def take(self, now_s: float) -> bool:
        """True if a picture at `now_s` (monotonic) is due; the next one is then due an interval later."""
        # A tenth of the interval early is in time: cameras jitter, and waiting for the next picture would halve the rate.
        if now_s < self._due_s - 0.1 * self._interval_s:
            return False
        self._due_s = next_due_s(self._due_s, now_s, self._interval_s)
        return True

    def wait_until(self, at_s: float) -> bool:
        """Sleep until `at_s` (monotonic). False if closed meanwhile."""
        return not self._closed.wait(max(0.0, at_s - time.monotonic()))

    def wait_due(self) -> bool:
        """Sleep until the next picture is due, and take it. False if closed meanwhile."""
        if not self.wait_until(self._due_s if self._due_s > 0 else 0.0):
            return False
        self.take(max(time.monotonic(), self._due_s))
        return True
