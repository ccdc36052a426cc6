"""A look at the whole fleet: subscribe, and read until the retained messages are in. One subscription, no polling."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_runtime.fleet.operator.connection import Arrived, Connection

PARTIAL = "the broker has not sent all that it retains in time: something may be missing"
QUIET_S = 0.5
"""No retained message for this long after the broker has caught up: all have come, from a broker that does not answer in
order too."""


def survey(connection: Connection, take: Callable[[Arrived], object], limit_s: float = 20.0) -> bool:
    """Hand over what the broker retains, and what else comes meanwhile. It is over after `limit_s` at the latest.

    False: by then not all of it had come, as far as can be told."""
    began_s = last_s = time.monotonic()
    caught_up = False
    while True:
        for message in connection.drain(0.1):
            take(message)
            if message.retained:
                last_s = time.monotonic()
        now_s = time.monotonic()
        if not caught_up and connection.caught_up.is_set():
            caught_up, last_s = True, now_s
        if caught_up and now_s - last_s >= QUIET_S:
            return True
        if now_s - began_s >= limit_s:
            return False
