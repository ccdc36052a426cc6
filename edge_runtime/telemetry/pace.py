"""A token bucket without rounding: at most `burst` at once, and `per_s` over any longer time.

Method: the generic cell rate algorithm, as virtual scheduling. It keeps one moment, at which the bucket would be full
again, instead of a count that is refilled: nothing is lost however often, or however late, it is asked.
"""

from __future__ import annotations

import math


class Bucket:
    """Times are seconds of one monotonic clock."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._full_at_s = float("-inf")

    def room(self, now_s: float) -> int:
        """How many may go now."""
        return max(0, math.floor(self._burst - self._owed(now_s) + 1e-9))

    def take(self, n: int, now_s: float) -> None:
        """They went."""
        self._full_at_s = max(self._full_at_s, now_s) + n / self._per_s

    def wait_s(self, now_s: float, n: int = 1) -> float:
        """Until `n` may go."""
        return max(0.0, (self._owed(now_s) + n - self._burst) / self._per_s)

    def _owed(self, now_s: float) -> float:
        return max(0.0, self._full_at_s - now_s) * self._per_s
