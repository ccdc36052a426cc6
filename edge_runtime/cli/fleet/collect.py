"""`fleet collect`: all events of the fleet into a file, and the word to the devices that they are safe there."""

from __future__ import annotations

import argparse
import contextlib
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say
from edge_runtime.errors import EXIT_OK

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.collector import Collector, EventFile
    from edge_runtime.fleet.operator.connection import Connection

AT_ONCE = 500
"""Events of one fsync."""
TELL_S = 10.0
DROPPED_S = 15.0
"""An acknowledgement that has not come back by then was dropped."""


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs,
        "collect",
        "write all events to a file, and tell the devices that they are stored",
        "A durable reader: the broker keeps events for it while it is away. Each event is a line, written and fsynced\n"
        'before the device is told; what comes twice is written once. Devices with [mqtt] receipts = "collector" keep\n'
        "an event until they are told. Runs until Ctrl-C. One file has one collector.",
        "  edge-runtime fleet collect --fleet fleet --to events.jsonl\n"
        "  edge-runtime fleet collect --to lyon.jsonl 'lyon/*' --name lyon",
    )
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="only of these devices")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the file, one JSON object a line")
    parser.add_argument("--name", default="collector", help="of the session at the broker; another for another file")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="end after so long (0: never)")
    place.add_fleet(parser)
    add_json(parser)
    parser.set_defaults(act=_collect)


def _collect(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.collector import FILTERS, Collector, EventFile
    from edge_runtime.fleet.operator.connection import Connection

    where = place.find_place(args)
    with EventFile(args.to) as events:
        collector = Collector(events.recover(), args.pattern, f"{where.reach.name}-{args.name}")
        with Connection(where.reach, args.name, FILTERS, durable=True) as connection:
            if not args.json:
                say(f"collecting into {args.to}; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                _carry_on(connection, collector, events, args)
    _tell(collector, args, last=True)
    return EXIT_OK


def _carry_on(connection: Connection, collector: Collector, events: EventFile, args: argparse.Namespace) -> None:
    began_s = told_s = time.monotonic()
    first_s = float("inf")
    while not args.duration or time.monotonic() - began_s < args.duration:
        messages = list(islice(connection.drain(0.2), AT_ONCE))
        lines, ids = collector.take(messages)
        if lines:
            events.add(lines)
        for topic, ack in collector.acks(ids, time.time()):
            connection.publish(topic, ack, 1, False)
            first_s = min(first_s, time.monotonic())
        for message in messages:
            connection.done(message)
        if not collector.heard_back and time.monotonic() - first_s > DROPPED_S:
            complain(
                "the broker drops the acknowledgements: devices will send everything again. This takes a collector's "
                "certificate: edge-runtime fleet enrol _collector/NAME"
            )
            first_s = float("inf")
        if time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
            _tell(collector, args)


def _tell(collector: Collector, args: argparse.Namespace, last: bool = False) -> None:
    if args.json:
        found = {"written": collector.written, "repeated": collector.repeated, "refused": collector.refused}
        emit(found | ({"summary": True} if last else {}))
    elif last:
        complain(f"{collector.written} events written, {collector.repeated} came again, {collector.refused} were none")
