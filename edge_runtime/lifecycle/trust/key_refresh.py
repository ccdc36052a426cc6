"""When to ask the repository for the command keys: at the start, every few hours, and when somebody signs with a new key."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

EVERY_S = 6 * 3600.0
"""A revoked key works for at most so long on a device that reaches its repository; ±10 %, so that a fleet spreads out."""
RETRY_S = 600.0
"""After a failure, and for strangers: whoever sends unknown keys does not decide how often the repository is asked."""


class KeyRefresh:
    """Pure but for its clock. The owner calls `due` now and then, and `began` when it sends for the keys."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self._clock, self._chance = clock, chance
        self._next_s = clock()
        self._earliest_s = clock()
        self._strangers = 0

    def due(self, wanting: bool = False, strangers: int = 0) -> bool:
        """`wanting`: of the KeyRing. `strangers`: how many messages named an unknown key so far, a counter."""
        now_s = self._clock()
        new, self._strangers = strangers > self._strangers, max(strangers, self._strangers)
        return now_s >= self._next_s or ((wanting or new) and now_s >= self._earliest_s)

    def began(self) -> None:
        now_s = self._clock()
        self._earliest_s = now_s + RETRY_S
        self._next_s = now_s + EVERY_S * (0.9 + 0.2 * self._chance())

    def failed(self) -> None:
        """The repository did not answer, or not with keys: try again soon."""
        self._next_s = self._earliest_s
