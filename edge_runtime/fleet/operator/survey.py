"""A look at the whole fleet: subscribe, and read until the retained messages are in. One subscription, no polling."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_runtime.fleet.operator.connection import Arrived, Connection

QUIET_S = 0.6
"""No retained message for this long: all have come."""
AT_LEAST_S = 1.0
"""For the first of them to come, over a slow line or from a busy broker."""


def survey(connection: Connection, take: Callable[[Arrived], object], limit_s: float = 20.0) -> None:
    """Hand over what the broker retains, and what else comes meanwhile. It is over after `limit_s` at the latest."""
    began_s = last_s = time.monotonic()
    while True:
        for message in connection.drain(0.1):
            take(message)
            if message.retained:
                last_s = time.monotonic()
        now_s = time.monotonic()
        if now_s - began_s >= limit_s or (now_s - last_s >= QUIET_S and now_s - began_s >= AT_LEAST_S):
            return
