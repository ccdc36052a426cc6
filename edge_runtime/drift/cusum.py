"""Two-sided CUSUM (Page 1954) on standardized values."""

from __future__ import annotations

from edge_runtime.drift.detector import Direction, Saved, finite


class Cusum:
    """Sums what exceeds the slack `k`, on both sides; an alarm where a sum exceeds `h`, and both begin anew.

    With k = 0.5 it is tuned to a shift of one standard deviation; h = 12 gives independent normal values a false alarm
    about every 5 x 10^5 updates (Siegmund's approximation), a year of minutes.
    """

    def __init__(self, k: float = 0.5, h: float = 12.0) -> None:
        self._k, self._h = k, h
        self._high = self._low = 0.0

    @property
    def level(self) -> float:
        """The larger sum as a share of the alarm's threshold, negative for a downward one; within (-1, 1)."""
        return (self._high if self._high >= self._low else -self._low) / self._h

    def update(self, value: float) -> Direction:
        z = finite(value)
        self._high = max(0.0, self._high + z - self._k)
        self._low = max(0.0, self._low - z - self._k)
        if self._high <= self._h and self._low <= self._h:
            return Direction.STEADY
        direction = Direction.UP if self._high >= self._low else Direction.DOWN
        self.reset()
        return direction

    def reset(self) -> None:
        self._high = self._low = 0.0

    def to_dict(self) -> dict[str, float]:
        return {"high": self._high, "low": self._low}

    def restore(self, saved: Saved) -> None:
        """Go on where `to_dict` was taken. Raises ValueError or KeyError for what is not such a state."""
        self._high, self._low = finite(saved["high"]), finite(saved["low"])
