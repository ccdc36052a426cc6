"""Stops a flood at the broker: a device that hears too much unsubscribes for a while, and its frames go on undisturbed.

Reading a message costs the interpreter more than judging it, so a limit behind the socket can not save it. Nothing is
lost for good: commands are sent again until they are answered, and the desired state is retained. While the flood goes
on the device listens for a moment now and then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge_runtime.fleet.rate_limit import Rate, RateLimit

log = logging.getLogger(__name__)

HEARING = Rate(20.0, 200)
"""Messages that are heard before it is a flood. Operators send a few a minute."""
FIRST_S, LONGEST_S = 5.0, 40.0
"""How long it stays shut: twice as long each time ..."""
CALM_S = 120.0
"""... until it was open for so long."""


class Valve:
    """Stands before whoever takes what strangers may send; in paho's thread."""

    def __init__(
        self, hush: Callable[[float], None], hearing: Rate = HEARING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`hush`: `MqttLink.hush`, unsubscribes for so many seconds."""
        self._hush, self._clock = hush, clock
        self._bucket = RateLimit(hearing.per_s, hearing.burst, clock)
        self._shut_until_s = self._calm_at_s = clock()
        self._pause_s = FIRST_S
        self.dropped = 0
        """Messages that were thrown away unread."""
        self.floods = 0
        """How often it shut."""

    @property
    def problem(self) -> str:
        """In words, while it is shut; empty otherwise."""
        if self._clock() >= self._shut_until_s:
            return ""
        return "more messages arrive than anybody has reason to send; commands are heard only now and then"

    def admits(self, topic: str) -> bool:
        """Whether a message under this topic is to be looked at at all."""
        if self._bucket.allows():
            return True
        self.dropped += 1
        now_s = self._clock()
        if now_s >= self._shut_until_s:
            self._shut(now_s, topic)
        return False

    def _shut(self, now_s: float, topic: str) -> None:
        self._pause_s = FIRST_S if now_s >= self._calm_at_s else min(LONGEST_S, 2 * self._pause_s)
        self._shut_until_s = now_s + self._pause_s
        self._calm_at_s = self._shut_until_s + CALM_S
        self.floods += 1
        log.log(
            logging.WARNING if self._pause_s == FIRST_S else logging.DEBUG,
            "a flood of messages, the last one to %r: nothing is listened to for %.0f s",
            topic[:120],
            self._pause_s,
        )
        self._hush(self._pause_s)
