"""Stops a flood at the broker: a device that hears too much unsubscribes for a while, and its frames go on undisturbed.

Reading a message costs the interpreter more than judging it, so a limit behind the socket can not save it. Nothing is
lost for good: commands are sent again until they are answered, and the desired state is retained. While the flood goes
on the device listens for a moment now and then; and only what is flooded is left, so that commands to the site still
come through while those to the device drown. A broker that goes on sending what nobody subscribes to is read slowly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from edge_runtime.fleet.rate_limit import Rate, RateLimit

log = logging.getLogger(__name__)

HEARING = Rate(20.0, 100)
"""Messages of one subscription before it is a flood. Operators send a few a minute."""
FIRST_S, LONGEST_S = 5.0, 40.0
"""How long it stays shut: twice as long each time ..."""
CALM_S = 120.0
"""... until it was open for so long."""
GRACE = 2_000
"""Messages that may still come after it shut: they were on their way."""
BRAKE_S = 0.02
"""Between two messages that should not come at all."""


class Valve:
    """Stands before whoever takes what strangers may send; in paho's thread."""

    def __init__(
        self,
        hush: Callable[[float, tuple[str, ...]], None],
        filters: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        """`hush`: `MqttLink.hush`, unsubscribes from filters for so many seconds. `filters`: what is listened to."""
        self._gates = {name.removesuffix("+"): _Gate(name, hush, clock, rest) for name in filters}

    @property
    def dropped(self) -> int:
        """Messages that were thrown away unread."""
        return sum(gate.dropped for gate in self._gates.values())

    @property
    def floods(self) -> int:
        """How often a part of it shut."""
        return sum(gate.floods for gate in self._gates.values())

    @property
    def problem(self) -> str:
        """In words, while a part of it is shut; empty otherwise."""
        shut = sorted(gate.name for gate in self._gates.values() if gate.shut)
        if not shut:
            return ""
        return (
            f"more messages come to {', '.join(shut)} than anybody has reason to send; they are heard only now and then"
        )

    def admits(self, topic: str) -> bool:
        """Whether a message under this topic is to be looked at at all."""
        gate = self._gates.get(topic[: topic.rfind("/") + 1]) or self._gates.get(topic)
        return gate is None or gate.admits()


class _Gate:
    """One subscription."""

    def __init__(
        self,
        name: str,
        hush: Callable[[float, tuple[str, ...]], None],
        clock: Callable[[], float],
        rest: Callable[[float], None],
    ) -> None:
        self.name = name
        self._hush, self._clock, self._rest = hush, clock, rest
        self._bucket = RateLimit(HEARING.per_s, HEARING.burst, clock)
        self._shut_until_s = self._calm_at_s = clock()
        self._pause_s = FIRST_S
        self._uncalled = 0
        self.dropped = self.floods = 0

    @property
    def shut(self) -> bool:
        return self._clock() < self._shut_until_s

    def admits(self) -> bool:
        now_s = self._clock()
        if now_s >= self._shut_until_s:
            if self._bucket.allows():
                return True
            self._close(now_s)
        else:
            self._uncalled += 1
            if self._uncalled > GRACE:
                self._rest(BRAKE_S)
        self.dropped += 1
        return False

    def _close(self, now_s: float) -> None:
        calm = now_s >= self._calm_at_s
        self._pause_s = FIRST_S if calm else min(LONGEST_S, 2 * self._pause_s)
        if calm or self._uncalled <= GRACE:
            self._uncalled = 0
        self._shut_until_s = now_s + self._pause_s
        self._calm_at_s = self._shut_until_s + CALM_S
        self.floods += 1
        log.log(
            logging.WARNING if calm else logging.DEBUG,
            "a flood of messages to %s: it is not listened to for %.0f s",
            self.name,
            self._pause_s,
        )
        self._hush(self._pause_s, (self.name,))
