"""Carries orders to the broker and receipts back, until all have answered or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from edge_runtime.fleet.operator.connection import Connection
from edge_runtime.fleet.operator.directory import address
from edge_runtime.fleet.operator.sending import Answer, Sending
from edge_runtime.fleet.operator.views import ResponseView

PER_ROUND = 20
"""Orders published at once, ten times a second: a fleet's broker is not to be flooded by its operator."""
ROUND_S = 0.1


def carry_out(
    connection: Connection,
    sending: Sending,
    wait_s: float,
    progress: Callable[[str, Answer], None] = lambda device, answer: None,
) -> None:
    """At the latest after `wait_s` it is over; `progress` hears of every receipt that says something new."""
    ends_s = time.monotonic() + wait_s
    while not sending.done and time.monotonic() < ends_s:
        if connection.connected:
            for order in sending.due(time.time(), PER_ROUND):
                connection.publish(order.topic, order.envelope, 1, False)
        for message in connection.drain(ROUND_S):
            where = address(message.topic)
            if where is None or where.kind != "resp" or message.retained:
                continue
            try:
                response = msgspec.json.decode(message.payload, type=ResponseView)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            device = f"{where.site}/{where.device}"
            if sending.heard(device, response):
                progress(device, sending.answers[device])
