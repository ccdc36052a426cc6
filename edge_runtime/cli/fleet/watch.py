"""`fleet watch`: the fleet as it is now, on a terminal that follows it; for programs a line a message."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, screen
from edge_runtime.cli.fleet.ls import add_filters, chosen
from edge_runtime.cli.fleet.watch_frame import Frame
from edge_runtime.cli.output import add_json, add_verb, emit, say, watched
from edge_runtime.errors import EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.connection import Arrived, Connection
    from edge_runtime.fleet.operator.directory import Directory

REDRAW_S = 0.5
KEPT_EVENTS = 200


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs,
        "watch",
        "a live table of the fleet with its events; for programs every message as a line",
        "On a terminal: arrows and PgUp, PgDn scroll, p shows only devices with a problem, q or Ctrl-C ends it.\n"
        "Elsewhere: a line an event. With --json: one line a message, with its topic.",
        "  edge-runtime fleet watch --fleet fleet\n  edge-runtime fleet watch 'lyon/*' --degraded\n"
        "  edge-runtime fleet watch --json | jq -r .topic",
    )
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="which devices: 'lyon/*', till-3")
    add_filters(parser)
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="end after so long (0: never)")
    place.add_fleet(parser)
    add_json(parser)
    parser.set_defaults(act=_watch)


def _watch(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.directory import SHELF_FILTER, STATE_FILTERS
    from edge_runtime.telemetry.topics import ROOT

    where = place.find_place(args)
    more = [(f"{ROOT}/+/+/event/#", 0)]
    if args.json:
        more += [(f"{ROOT}/+/+/telemetry", 0), (f"{ROOT}/+/+/resp/#", 0)]
    filters = (*STATE_FILTERS, SHELF_FILTER, *more)
    with Connection(where.reach, "watch", filters) as connection, contextlib.suppress(KeyboardInterrupt):
        _follow(connection, args)
    return EXIT_OK


def _follow(connection: Connection, args: argparse.Namespace) -> None:
    if args.json:
        _lines(connection, args)
    elif watched():
        _live(connection, args)
    else:
        _plain(connection, args)


def _lines(connection: Connection, args: argparse.Namespace) -> None:
    """Every message of the devices that are meant, as it comes. What is no JSON is told as such."""
    from edge_runtime.fleet.operator.directory import address, matches

    for message in _messages(connection, args.duration):
        where = address(message.topic) if message is not None else None
        if message is None or where is None or not matches(args.pattern, where.site, where.device):
            continue
        try:
            said = json.loads(message.payload) if message.payload else None
        except (ValueError, RecursionError):
            said = {"unreadable": len(message.payload)}
        emit(
            {
                "at": round(message.at, 3),
                "topic": message.topic,
                "site": where.site,
                "device": where.device,
                "kind": where.kind,
                "retained": message.retained,
                "message": said if _finite(said) else {"unreadable": len(message.payload)},
            }
        )


def _plain(connection: Connection, args: argparse.Namespace) -> None:
    """A line an event, where nobody watches."""
    for message in _messages(connection, args.duration):
        told = event_line(message, args.pattern) if message is not None else ""
        if told:
            say(told)


def _live(connection: Connection, args: argparse.Namespace) -> None:
    from edge_runtime.cli.fleet.terminal import Terminal
    from edge_runtime.fleet.operator.directory import Directory

    directory, events = Directory(), deque[str](maxlen=KEPT_EVENTS)
    frame, drawn_s = Frame(only_problems=args.degraded), 0.0
    with Terminal() as terminal:
        for message in _messages(connection, args.duration):
            if message is not None:
                directory.hear(message)
                if told := event_line(message, args.pattern):
                    events.append(told)
            key = terminal.key()
            if key in ("q", "Q"):
                return
            frame.press(key)
            if key or time.monotonic() - drawn_s >= REDRAW_S:
                drawn_s = time.monotonic()
                terminal.draw(_picture(frame, directory, events, connection, args))


def _picture(
    frame: Frame, directory: Directory, events: deque[str], connection: Connection, args: argparse.Namespace
) -> list[str]:
    from edge_runtime.fleet.operator.problems import problems

    now = time.time()
    found = chosen(directory.chosen(args.pattern, args.group), args, now)
    bad = {device.id for device in found if problems(device, now)}
    trouble = "" if connection.connected else f"not connected: {connection.problem}"
    return frame.lines(found, bad, events, trouble, now, screen.width(), screen.height())


def event_line(message: Arrived, pattern: str) -> str:
    """`12:30:05  lyon/till-3  slot s04: stocked -> empty`; empty for what is no event of a device that is meant."""
    import msgspec

    from edge_runtime.fleet.operator.directory import address, matches
    from edge_runtime.fleet.operator.views import EventView

    where = address(message.topic)
    if where is None or where.kind != "event" or not matches(pattern, where.site, where.device):
        return ""
    try:
        event = msgspec.json.decode(message.payload, type=EventView)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    what = " ".join(filter(None, (event.kind, event.camera, event.slot, event.sku)))
    change = " -> ".join(filter(None, (event.was, event.now)))
    clock = time.strftime("%H:%M:%S", time.localtime(message.at))
    told = f"{clock}  {where.site}/{where.device}  {what}" + (f": {change}" if change else "")
    return screen.cut(told, screen.WIDE)


def _messages(connection: Connection, duration_s: float) -> Iterator[Arrived | None]:
    """Messages as they come, and None a few times a second while none come; until the duration is over, if there is one."""
    began_s = time.monotonic()
    while not duration_s or time.monotonic() - began_s < duration_s:
        yield connection.take(0.1)


def _finite(said: object) -> bool:
    """Whether it is JSON again: Python reads NaN, which is none."""
    try:
        json.dumps(said, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True
