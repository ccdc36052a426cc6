"""A look at the whole fleet: subscribe, and read until the retained messages are in. One subscription, no polling."""

from __future__ import annotations

import time

from edge_runtime.fleet.operator.connection import Connection
from edge_runtime.fleet.operator.directory import Directory

QUIET_S = 0.6
"""No retained message for this long: all have come."""
AT_LEAST_S = 1.0
"""For the first of them to come, over a slow line or from a busy broker."""


def survey(connection: Connection, directory: Directory, limit_s: float = 20.0) -> None:
    """Fill the directory from what the broker retains. At the latest after `limit_s` it is what it is."""
    began_s = last_s = time.monotonic()
    while True:
        for message in connection.drain(0.1):
            directory.take(message.topic, message.payload, message.retained, message.at)
            if message.retained:
                last_s = time.monotonic()
        now_s = time.monotonic()
        if now_s - began_s >= limit_s or (now_s - last_s >= QUIET_S and now_s - began_s >= AT_LEAST_S):
            return
