"""What the device says of being there: will, birth and farewell, and the birth once more where an older will came after it.

A broker may notice late that an older connection is gone: one that was half open, or at another node of a cluster. It
then says that connection's will after the birth of the new one, and a device that works would be retained as lost. What
comes on the own topic tells it; who does not subscribe to that says its birth again when all older connections must have
timed out. It also says it again where the broker's answer to it can not be believed, or does not come (`telemetry.retained`).
Rule-keeper: no thread, no network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edge_runtime.errors import Refused
from edge_runtime.telemetry import builders
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.messages import Availability, decode, encode
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.retained import DOUBTS, LATE_S, SLOW_S

AGAIN_S = 5.0
"""Between two births of one connection, at least: somebody else may go on saying the opposite."""
OUTLIVED = 2.0
"""Keep-alive intervals after which no older connection is left (MQTT says one and a half)."""


class Presence:
    """Of one device; `stamp` says in which session."""

    def __init__(
        self,
        stamp: Stamp,
        wall: Callable[[], float],
        clock: Callable[[], float],
        hears_itself: bool,
        keepalive_s: float,
    ) -> None:
        """`wall` in seconds since 1970; `clock` in seconds, never set back."""
        self._stamp, self._wall, self._clock = stamp, wall, clock
        self._outlived_s = math.inf if hears_itself else OUTLIVED * keepalive_s
        self._connection = 0
        self._born_s = -math.inf
        self._due_s = math.inf
        self._unanswered = False
        self._doubts = 0

    def will(self, connection: int) -> bytes:
        """For the connection of this number, which begins."""
        self._connection, self._unanswered, self._doubts = connection, False, 0
        self._due_s = self._clock() + self._outlived_s
        return self._words("offline", "lost")

    def birth(self) -> bytes:
        self._born_s, self._unanswered = self._clock(), True
        return self._words("online", "connected")

    def farewell(self) -> bytes:
        return self._words("offline", "stopped")

    def heard(self, payload: bytes) -> None:
        """Somebody has just said this on the device's own topic; what was retained there before is none of it."""
        try:
            message = decode(payload)
        except Refused:
            return
        if not isinstance(message, Availability) or message.state == "online":
            return
        if (message.session, message.connection) <= (self._stamp.session, self._connection):
            self._due_s = self._born_s + AGAIN_S

    def answered(self, outcome: Delivery) -> None:
        """What has become of the birth up to now. Ask at least every second, or just when the answer comes."""
        took_s = self._clock() - self._born_s
        if not self._unanswered or (outcome is Delivery.PENDING and took_s < LATE_S):
            return
        self._unanswered = False
        proven = outcome in (Delivery.REFUSED, Delivery.FAILED) or took_s < SLOW_S
        if not proven and self._doubts < DOUBTS:
            self._doubts += 1
            self._due_s = min(self._due_s, self._clock() + AGAIN_S * self._doubts)

    def due(self) -> bool:
        """Whether to say the birth once more, now; true once."""
        if self._clock() < self._due_s:
            return False
        self._due_s = math.inf
        return True

    def _words(self, state: str, reason: str) -> bytes:
        return encode(builders.availability(self._stamp, self._wall(), self._connection, state, reason))
