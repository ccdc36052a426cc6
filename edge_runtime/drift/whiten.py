"""Takes the memory out of a signal: AR(1) whitening. Correlated values would alarm a CUSUM at nothing."""

from __future__ import annotations

import math

from edge_runtime.drift.detector import Saved, finite

LARGEST = 0.95
"""Of the coefficient: beyond it a level shift would be whitened away."""


class Whitener:
    """x -> (x_t - phi x_(t-1)) / spread, where phi is the lag-1 correlation of the first `learn` values.

    A negative correlation counts as none. The values should be standardized: the mean is taken as 0. The spread is
    that of the first innovations, but at least sqrt(1 - phi^2), what theory says: a baseline that was learned from few
    or correlated values makes z-scores too large, and this takes it back.
    """

    _before: float
    _count: int
    _products: float
    _squares: float
    _newer_squares: float

    def __init__(self, learn: int = 120) -> None:
        if learn < 2:
            raise ValueError(f"learn is {learn}, at least 2 was expected")
        self._learn = learn
        self.reset()

    @property
    def phi(self) -> float:
        """The coefficient, within [0, LARGEST]."""
        return min(LARGEST, max(0.0, self._products / self._squares)) if self._squares > 0 else 0.0

    def update(self, value: float) -> float | None:
        """The innovation, of about the same spread as the values; None while phi is being learned."""
        x, before, self._before = finite(value), self._before, finite(value)
        if self._count < self._learn:
            self._count += 1
            self._products += x * before
            self._squares += before * before
            self._newer_squares += x * x
            return None
        return (x - self.phi * before) / self._spread()

    def _spread(self) -> float:
        phi = self.phi
        innovations = self._newer_squares - 2 * phi * self._products + phi * phi * self._squares
        return math.sqrt(max(1.0 - phi * phi, innovations / self._count))

    def reset(self) -> None:
        self._before = 0.0
        self._count = 0
        self._products = self._squares = self._newer_squares = 0.0

    def to_dict(self) -> dict[str, float]:
        return {
            "before": self._before,
            "count": float(self._count),
            "products": self._products,
            "squares": self._squares,
            "newer_squares": self._newer_squares,
        }

    def restore(self, saved: Saved) -> None:
        """Go on where `to_dict` was taken. Raises ValueError or KeyError for what is not such a state."""
        self._before, self._count = finite(saved["before"]), int(finite(saved["count"]))
        self._products, self._squares = finite(saved["products"]), finite(saved["squares"])
        self._newer_squares = finite(saved["newer_squares"])
