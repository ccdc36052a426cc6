"""`fleet ls`: all devices, a row each, from what the broker retains."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, rows, screen
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say
from edge_runtime.errors import EXIT_OK, EXIT_TRY_AGAIN, TryAgain

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.directory import Device


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs,
        "ls",
        "all devices: online, model, what is wanted, how much is unknown or empty, what is wrong",
        "Reads what the broker retains, and ends. A PATTERN names devices as site/device, with * and ? as in a shell;\n"
        "without a slash it names sites or devices. SEEN is the time since a device was last heard of, as far as\n"
        "retained messages can tell it; CLOCK how far its clock is from this computer's, where that can be told.",
        "  edge-runtime fleet ls --fleet fleet\n"
        "  edge-runtime fleet ls 'lyon/*' --offline\n"
        "  edge-runtime fleet ls --group canary --model 1.2.0 --json",
    )
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="which devices: 'lyon/*', till-3")
    add_filters(parser)
    parser.add_argument("--settle", type=float, default=20.0, metavar="S", help="read for at most so long (20)")
    place.add_fleet(parser)
    add_json(parser)
    parser.set_defaults(act=_ls)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Which of them to show."""
    parser.add_argument("--offline", action="store_true", help="only those that are not connected")
    parser.add_argument("--degraded", action="store_true", help="only those with a problem")
    parser.add_argument("--group", default="", metavar="NAME", help="only those of a group")
    parser.add_argument("--model", default="", metavar="VERSION", help="only those that run it: 1.2.0, or name-1.2.0")


def chosen(found: list[Device], args: argparse.Namespace, now: float) -> list[Device]:
    """Those that the filters let through."""
    from edge_runtime.fleet.operator.problems import problems

    return [
        device
        for device in found
        if not (args.offline and device.online)
        and not (args.degraded and not problems(device, now))
        and not (args.model and not _runs(device, args.model))
    ]


def _runs(device: Device, wanted: str) -> bool:
    model = device.model
    return model is not None and wanted in (model.version, f"{model.name}-{model.version}")


def _ls(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.directory import SHELF_FILTER, STATE_FILTERS, Directory
    from edge_runtime.fleet.operator.survey import PARTIAL, survey

    where = place.find_place(args)
    directory = Directory()
    with Connection(where.reach, "ls", (*STATE_FILTERS, SHELF_FILTER)) as connection:
        whole = survey(connection, directory.hear, args.settle)
    if not len(directory):
        raise TryAgain("the broker knows no device", "Start one with [mqtt] url of this broker, or look at another")
    now = time.time()
    found = chosen(directory.chosen(args.pattern, args.group), args, now)
    if args.json:
        for device in found:
            emit(rows.record(device, now))
    else:
        _show(found, directory.unreadable, now)
    if not whole:
        complain(f"{PARTIAL}. Read for longer with --settle")
    return EXIT_OK if whole else EXIT_TRY_AGAIN


def _show(found: list[Device], unreadable: int, now: float) -> None:
    for line in screen.grid(rows.HEADER, [rows.row(device, now) for device in found], screen.width(), rows.COLOURS):
        say(line)
    offline = sum(not device.online for device in found)
    say(f"{len(found)} {'device' if len(found) == 1 else 'devices'}, {offline} offline")
    if unreadable:
        complain(f"{unreadable} messages could not be read: they are not edge/v1. See docs/mqtt.md")
