"""Two devices with one name: noticed by the broker's word (MQTT 5), or by what lies on the device's own topic.

The birth and the will of a device are retained on its availability topic. Once it has said its birth in this session,
nothing else but its own words can lie there at a later connect; if they are of another session, somebody else speaks.
Pure: no thread, no network.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.errors import Refused
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Availability, decode

REMEMBERED_S = 3_600.0
"""For so long after the last sign of it, the other one is believed to be there."""


class Twins:
    """Whether somebody else speaks under this device's name."""

    def __init__(self, stamp: Stamp, clock: Callable[[], float]) -> None:
        self._stamp, self._clock = stamp, clock
        self._born_at: float | None = None
        self._seen_s = float("-inf")
        self.count = 0
        """Signs of it in a row, none of them older than `REMEMBERED_S` than the next."""

    @property
    def suspected(self) -> bool:
        return self._clock() - self._seen_s < REMEMBERED_S

    def seen_since(self, clock_s: float) -> bool:
        return self._seen_s >= clock_s

    def born(self, at: float) -> None:
        """A connection in which the device has said its birth, at this wall time, is over."""
        if self._born_at is None:
            self._born_at = at

    def found(self, payload: bytes) -> None:
        """What was retained on the availability topic when this device came."""
        if self._born_at is None:
            return
        try:
            message = decode(payload)
        except Refused:
            return
        if not isinstance(message, Availability) or message.session == self._stamp.session:
            return
        if message.session > self._stamp.session or message.at > self._born_at:
            self.sign()  # an older session of its own comes back from a broker that has lost its newest state

    def sign(self) -> None:
        """Somebody else was there."""
        self.count = self.count + 1 if self.suspected else 1
        self._seen_s = self._clock()
