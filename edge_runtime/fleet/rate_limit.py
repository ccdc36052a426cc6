"""How much of what strangers send is looked at, and how much is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


class RateLimit:
    """A token bucket: `per_s` on the long run, `burst` at once."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock = per_s, float(burst), clock
        self._tokens, self._at_s = float(burst), clock()

    def allows(self, count: int = 1) -> bool:
        """Take so many tokens if they are there."""
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def refund(self) -> None:
        """Give the last token back: what it let in was good."""
        self._tokens = min(self._burst, self._tokens + 1.0)


@dataclass(frozen=True, slots=True)
class Rate:
    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """One number for each thing that a message can cost the device."""

    reading: Rate = Rate(20.0, 100)
    """Messages that are read and come to nothing, for each topic root: those to this device, its site, each group.
    What is beyond is dropped unread. A command that is taken gives its token back."""
    checks: Rate = Rate(2.0, 8)
    """Signatures, which cost milliseconds each."""
    taking: Rate = Rate(5.0, 20)
    """Commands of those who may command."""
    refusals: Rate = Rate(1.0, 20)
    """Receipts that say `refused` to who knows whom; the rest is only counted."""
    repeats: Rate = Rate(2.0, 20)
    """Receipts that are sent again because a command came again."""


OPEN = Limits(*(Rate(1e9, 10**9) for _ in range(5)))
"""No limits, for campaigns that ask what the rules alone do."""


class Budgets:
    """The buckets of one device."""

    def __init__(self, limits: Limits, roots: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        """`roots`: how the topics of each class begin; the rest shares one bucket."""

        def bucket(rate: Rate) -> RateLimit:
            return RateLimit(rate.per_s, rate.burst, clock)

        self._reading = {root: bucket(limits.reading) for root in (*roots, "")}
        self.checks = bucket(limits.checks)
        self.taking = bucket(limits.taking)
        self.refusals = bucket(limits.refusals)
        self.repeats = bucket(limits.repeats)

    def reading(self, topic: str) -> RateLimit:
        """Of the class of a topic."""
        root = topic[: topic.rfind("/") + 1]
        return self._reading.get(root) or self._reading[""]
