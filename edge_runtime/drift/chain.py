"""One signal's whole way: against its hour, whitened, summed."""

from __future__ import annotations

from collections.abc import Mapping

from edge_runtime.drift.baseline import HourlyBaseline
from edge_runtime.drift.cusum import Cusum
from edge_runtime.drift.detector import Direction, Saved
from edge_runtime.drift.whiten import Whitener

CLIP = 4.0
"""Of an innovation, in standard deviations: where a signal has a long memory, whitening makes one wild value several
times as wild, and three values (a shopper who stands there) must never alarm."""


class Chain:
    """Hour-of-day z-score, AR(1) whitening, CUSUM: a detector alone alarms at the rhythm of the day."""

    def __init__(self, floor: float, learn: int = 60, learn_memory: int = 120) -> None:
        self._baseline = HourlyBaseline(floor, learn)
        self._whitener = Whitener(learn_memory)
        self._cusum = Cusum()
        self._z: float | None = None
        self._learning = True

    @property
    def z(self) -> float | None:
        """The newest value in standard deviations from its hour's normal; None while that is learned."""
        return self._z

    @property
    def learning(self) -> bool:
        """Whether the newest value could not be judged yet."""
        return self._learning

    def update(self, value: float, hour: int) -> Direction:
        """Take the next value, of local hour 0..23. Raises ValueError for what is not a finite number."""
        self._z = self._baseline.update(value, hour)
        innovation = None if self._z is None else self._whitener.update(self._z)
        self._learning = innovation is None
        return Direction.STEADY if innovation is None else self._cusum.update(min(CLIP, max(-CLIP, innovation)))

    def reset(self) -> None:
        for part in (self._baseline, self._whitener, self._cusum):
            part.reset()
        self._z, self._learning = None, True

    def to_dict(self) -> dict[str, dict[str, float]]:
        return {
            "baseline": self._baseline.to_dict(),
            "whiten": self._whitener.to_dict(),
            "cusum": self._cusum.to_dict(),
        }

    def restore(self, saved: Mapping[str, Saved]) -> None:
        """Go on where `to_dict` was taken. Raises ValueError or KeyError for what is not such a state."""
        self._baseline.restore(saved["baseline"])
        self._whitener.restore(saved["whiten"])
        self._cusum.restore(saved["cusum"])
