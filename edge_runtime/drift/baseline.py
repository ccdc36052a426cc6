"""What is normal at this hour of the day: a z-score against a baseline that is learned once."""

from __future__ import annotations

import math

from edge_runtime.drift.detector import Saved, finite

HOURS = 24
CLIP = 10.0
"""A wild value must not spoil what is learned from the scores further on."""


class HourlyBaseline:
    """Mean and spread of one signal for each hour of the day (Welford), frozen after `learn` values of that hour.

    Frozen, so that a slow drift is not learned along; `reset` after a change that is meant (a new reference, a moved
    camera). `floor` is the smallest spread that matters, in the signal's unit: a signal that never moved while it was
    learned would otherwise alarm at nothing. For the same reason an hour's spread counts as at least that of the median
    hour: the values of an hour resemble one another, so that its own spread alone is often far too small.
    """

    def __init__(self, floor: float, learn: int = 60) -> None:
        if not floor > 0 or learn < 2:
            raise ValueError(f"floor is {floor} and learn {learn}; more than 0 and at least 2 were expected")
        self._floor, self._learn = floor, learn
        self.reset()

    def update(self, value: float, hour: int) -> float | None:
        """The z-score of `value`, within +-CLIP; None while `hour` (0..23) is still being learned."""
        number = finite(value)
        if not 0 <= hour < HOURS:
            raise ValueError(f"hour is {hour}, 0 to 23 was expected")
        if self._count[hour] < self._learn:
            self._take(number, hour)
            return None
        z = (number - self._mean[hour]) / max(self._spread(hour), self._typical_spread(), self._floor)
        return min(CLIP, max(-CLIP, z))

    @property
    def learned_hours(self) -> int:
        return sum(count >= self._learn for count in self._count)

    def reset(self) -> None:
        self._count = [0] * HOURS
        self._mean = [0.0] * HOURS
        self._squares = [0.0] * HOURS
        self._typical, self._typical_of = 0.0, 0

    def to_dict(self) -> dict[str, float]:
        saved: dict[str, float] = {}
        for hour in range(HOURS):
            if self._count[hour]:
                saved |= {
                    f"n{hour}": float(self._count[hour]),
                    f"m{hour}": self._mean[hour],
                    f"s{hour}": self._squares[hour],
                }
        return saved

    def restore(self, saved: Saved) -> None:
        """Go on where `to_dict` was taken. Raises ValueError for what is not such a state."""
        self.reset()
        for hour in range(HOURS):
            self._count[hour] = int(finite(saved.get(f"n{hour}", 0.0)))
            self._mean[hour] = finite(saved.get(f"m{hour}", 0.0))
            self._squares[hour] = max(0.0, finite(saved.get(f"s{hour}", 0.0)))

    def _spread(self, hour: int) -> float:
        return math.sqrt(self._squares[hour] / (self._learn - 1))

    def _typical_spread(self) -> float:
        """The median over the learned hours, kept until another hour is learned."""
        if self.learned_hours != self._typical_of:
            spreads = sorted(self._spread(hour) for hour in range(HOURS) if self._count[hour] >= self._learn)
            self._typical, self._typical_of = spreads[len(spreads) // 2], len(spreads)
        return self._typical

    def _take(self, value: float, hour: int) -> None:
        self._count[hour] += 1
        delta = value - self._mean[hour]
        self._mean[hour] += delta / self._count[hour]
        self._squares[hour] += delta * (value - self._mean[hour])
