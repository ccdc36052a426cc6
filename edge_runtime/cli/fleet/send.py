"""`fleet send`: ask devices to do something, and wait until they have said what became of it."""

from __future__ import annotations

import argparse
import json
import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, screen
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say, watched
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, EXIT_TRY_AGAIN, Refused, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.directory import Directory
    from edge_runtime.fleet.operator.sending import Answer, Order, Sending

_COLOURS = {"succeeded": "green", "failed": "red", "refused": "red", "no answer": "yellow"}
ALONE = 1
"""Devices that a pattern may mean without --yes."""


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs,
        "send",
        "a command to a device, a site, a group or a pattern of devices; waits for the receipts",
        "TARGET is site/device, site/_all (all of a site), _group/NAME, or a pattern of devices ('lyon/*').\n"
        'Values: 3 and 0.5 are numbers, true, false and null are what they say, all else is text; "3" in its own\n'
        "quotes is text. A command is signed once and sent again until it is answered: devices do it once.\n"
        "Exit code: 0 all succeeded, 1 some failed or refused, 75 some gave no answer.",
        "  edge-runtime fleet send lyon/till-3 ping\n"
        "  edge-runtime fleet send lyon/till-3 model.activate name=shelf-occupancy version=1.2.0 --wait 600\n"
        "  edge-runtime fleet send 'lyon/*' config.set telemetry.interval_s=60 --yes\n"
        "  edge-runtime fleet send _group/canary status --json",
    )
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("verb", metavar="VERB", help="ping, status, snapshot, model.install ... (docs/commands.md)")
    parser.add_argument("args", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="for the last receipt (30)")
    parser.add_argument("--id", default="", metavar="ID", help="the command's id; the same again is never done twice")
    parser.add_argument("--yes", action="store_true", help="a pattern may mean many devices")
    place.add_fleet(parser, signs=True)
    add_json(parser)
    parser.set_defaults(act=_send)


def scalar(text: str) -> str | int | float | bool | None:
    """What `text` stands for: a JSON number, true, false, null or quoted text; anything else is itself."""
    try:
        found = json.loads(text, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, float) and not math.isfinite(found):
        return text
    return found if isinstance(found, str | int | float | bool | None) else text


def arguments(pairs: list[str]) -> dict[str, str | int | float | bool | None]:
    """KEY=VALUE of the command line. Raises Usage for anything else, and for a key that comes twice."""
    found: dict[str, str | int | float | bool | None] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Usage(f"{pair!r} is no KEY=VALUE", "Write version=1.2.0")
        if key in found:
            raise Usage(f"{key} is given twice")
        found[key] = scalar(value)
    return found


def _send(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.asking import carry_out
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.directory import Directory
    from edge_runtime.fleet.operator.sending import Sending
    from edge_runtime.fleet.operator.survey import PARTIAL, survey

    where = place.find_place(args)
    _check(args)
    wanted = arguments(args.args)
    directory = Directory()
    filters = _filters(args.target, args.verb)
    with Connection(where.reach, "send", filters) as connection:
        if not survey(connection, directory.hear):
            complain(PARTIAL)
        name, orders = _orders(args, where, wanted, directory)
        sending = Sending(name, orders)
        if not args.json:
            say(f"{args.verb} to {_told(sending)}, id {name}")
        carry_out(connection, sending, args.wait, _progress(args))
    return _conclude(args, sending, directory)


def _check(args: argparse.Namespace) -> None:
    """Raises Usage. A script whose variable is empty means nobody by it, and not everybody."""
    from edge_runtime.telemetry.topics import segment_fault

    if not args.target:
        raise Usage(
            "TARGET is empty", "Name site/device, site/_all, _group/name, or a pattern; '*/*' means all devices"
        )
    if segment_fault(args.verb):
        raise Usage(f"{args.verb!r} is no verb", "Write ping, status ... (docs/commands.md)")
    if not 0.0 < args.wait <= 86_400.0:
        raise Usage(f"--wait {args.wait:g}", "Give seconds: more than 0, at most 86400")


def _filters(target: str, verb: str) -> tuple[tuple[str, int], ...]:
    """What is to be heard: of one device, if the target is one, or of all."""
    from edge_runtime.telemetry.topics import ROOT, segment_fault

    parts = target.split("/")
    one = len(parts) == 2 and not any(map(segment_fault, parts)) and not any(sign in target for sign in "*?[")
    base = f"{ROOT}/{target}" if one else f"{ROOT}/+/+"
    return ((f"{base}/availability", 0), (f"{base}/info", 0), (f"{base}/resp/{verb}", 0))


def _orders(
    args: argparse.Namespace, where: place.Place, wanted: dict[str, str | int | float | bool | None], known: Directory
) -> tuple[str, tuple[Order, ...]]:
    """The signed commands, as they were sent before if the id is an old one."""
    from edge_runtime.fleet.operator import sent_file
    from edge_runtime.fleet.operator.sending import Request, sign

    name = args.id or f"{where.reach.name}-{int(time.time())}-{secrets.token_hex(3)}"
    if args.id:
        _check_id(args.id)
        before = sent_file.sent_before(where.state_dir, name, args.target, args.verb, wanted)
        if before is not None:
            return name, before
    audiences = audiences_of(args.target, known, args.yes)
    signer = where.signer(args.passphrase_file)
    request = Request(name, args.verb, wanted, round(time.time(), 3), min(86_400.0, max(args.wait, 30.0)))
    orders = tuple(sign(request, audience, devices, signer) for audience, devices in audiences.items())
    if args.id:
        sent_file.keep(where.state_dir, name, args.target, args.verb, wanted, orders)
    return name, orders


def audiences_of(target: str, known: Directory, yes: bool) -> dict[str, list[str]]:
    """Audience -> the devices that are to answer. Raises Refused for a target that is nobody, Usage for many without --yes."""
    place_name, slash, name = target.partition("/")
    if place_name == "_group" and slash:
        return {target: [d.id for d in known.chosen(group=name)]}
    if name == "_all":
        return {target: [d.id for d in known if d.site == place_name]}
    if known.get(target) is not None:
        return {target: [target]}
    if slash and not any(sign in target for sign in "*?["):
        raise Refused(f"the broker knows no device {target!r}", "See fleet ls; it must have been online once")
    found = [device.id for device in known.chosen(target)]
    if not found:
        raise Refused(f"no device matches {target!r}", "See fleet ls")
    if len(found) > ALONE and not yes:
        raise Usage(f"{target!r} means {len(found)} devices: {', '.join(found[:5])} ...", "Add --yes if that is meant")
    return {device: [device] for device in found}


def _check_id(name: str) -> None:
    if not (
        0 < len(name) <= 64 and name[0].isalnum() and all(c.isascii() and (c.isalnum() or c in "._:-") for c in name)
    ):
        raise Usage(f"--id {name!r} can not be an id", "Up to 64 letters, digits and . _ : -, a letter or digit first")
    if Path(name).name != name:
        raise Usage(f"--id {name!r} can not be an id")


def _told(sending: Sending) -> str:
    devices = list(sending.answers)
    return devices[0] if len(devices) == 1 else f"{len(devices)} devices"


def _progress(args: argparse.Namespace) -> Callable[[str, Answer], None]:
    """Every receipt as it comes: for people who watch only; programs get the last ones."""
    if args.json or not watched():
        return lambda device, answer: None
    return lambda device, answer: (
        None if answer.final else complain(screen.clean(f"{device}: {answer.state} {answer.detail}".rstrip()))
    )


def _conclude(args: argparse.Namespace, sending: Sending, known: Directory) -> int:
    """Say what became of it, device by device."""
    now = time.time()
    lines = []
    for device, answer in sorted(sending.answers.items()):
        found = known.get(device)
        state = answer.state if answer.final else "no answer"
        why = answer.detail or answer.reason
        if not answer.final:
            why = why or (
                f"offline for {screen.age(found.last_seen(now))}" if found and not found.online else "it said nothing"
            )
        lines.append((device, state, why, dict(answer.result)))
    if args.json:
        for device, _state, why, result in lines:
            answer = sending.answers[device]
            emit(
                {
                    "device": device,
                    "state": answer.state or None,
                    "reason": answer.reason,
                    "detail": why,
                    "result": result,
                }
            )
    else:
        shown = [(d, s, " ".join(filter(None, (why, *(f"{k}={v}" for k, v in r.items()))))) for d, s, why, r in lines]
        for line in screen.grid(("DEVICE", "RECEIPT", ""), shown, screen.width(), _COLOURS):
            say(line)
    return _code([state for _, state, _, _ in lines], args)


def _code(states: list[str], args: argparse.Namespace) -> int:
    if any(state in ("failed", "refused") for state in states):
        return EXIT_PROBLEM
    silent = states.count("no answer")
    if not states:
        complain(
            f"the broker knows no device of {args.target!r}, and none answered within {args.wait:g} s. See fleet ls; "
            "a group's devices have it in [device] groups"
        )
        return EXIT_TRY_AGAIN
    if silent:
        complain(
            f"{silent} of {len(states)} gave no answer within {args.wait:g} s. Wait longer with --wait; see "
            'whether they are online with fleet ls, and whether [mqtt] commands is "off" there'
        )
        return EXIT_TRY_AGAIN
    return EXIT_OK
