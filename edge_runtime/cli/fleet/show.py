"""`fleet show`: everything about one device, what is wrong first."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import place, rows, screen
from edge_runtime.cli.output import STATE_COLOURS, add_json, add_verb, emit, paint, say
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.cli.output import Verbs
    from edge_runtime.fleet.operator.directory import Device
    from edge_runtime.fleet.operator.views import CameraView


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs,
        "show",
        "everything about one device: its problems first, each with the mend",
        "Reads what the broker retains of the device, and ends. Exit code: 0 all is well, 1 there are problems.",
        "  edge-runtime fleet show lyon/till-3 --fleet fleet",
    )
    parser.add_argument("device", metavar="SITE/DEVICE")
    place.add_fleet(parser)
    add_json(parser)
    parser.set_defaults(act=_show)


def _show(args: argparse.Namespace) -> int:
    from edge_runtime.fleet.operator.connection import Connection
    from edge_runtime.fleet.operator.directory import Directory
    from edge_runtime.fleet.operator.problems import problems
    from edge_runtime.fleet.operator.survey import survey
    from edge_runtime.telemetry.topics import ROOT, segment_fault

    site, _, name = args.device.partition("/")
    if segment_fault(site) or segment_fault(name):
        raise Refused(f"{args.device!r} is no site/device", "See fleet ls")
    where, directory = place.find_place(args), Directory()
    with Connection(where.reach, "show", ((f"{ROOT}/{site}/{name}/#", 0),)) as connection:
        survey(connection, directory.hear)
    device = directory.get(args.device)
    if device is None:
        raise Refused(f"the broker knows no device {args.device!r}", "See fleet ls; it must have been online once")
    now = time.time()
    if args.json:
        emit(rows.record(device, now) | details(device, now))
    else:
        for line in lines(device, now):
            say(screen.clean(line))
    return EXIT_PROBLEM if problems(device, now) else EXIT_OK


def details(device: Device, now: float) -> dict[str, object]:
    """What `fleet show --json` says beyond a row of `fleet ls --json`."""
    import msgspec

    from edge_runtime.fleet.operator.problems import problems

    status = device.status
    return {
        "found": [{"word": p.word, "found": p.found, "mend": p.mend} for p in problems(device, now)],
        "uptime_s": status.uptime_s if status else None,
        "reasons": list(status.reasons) if status else [],
        "candidate": msgspec.to_builtins(status.candidate) if status else None,
        "cameras": msgspec.to_builtins(status.cameras) if status else {},
        "spool": msgspec.to_builtins(status.spool) if status else None,
        "shelves": {name: dict(shelf.counts) for name, shelf in sorted(device.shelves.items())},
        "reported_detail": device.reported.detail if device.reported else None,
    }


def lines(device: Device, now: float) -> Iterator[str]:
    """For people."""
    from edge_runtime.fleet.operator.problems import problems

    yield paint(device.id, "bold") + f"  {_presence(device, now)}"
    found = problems(device, now)
    for problem in found:
        yield f"  {paint('!', 'red')} {problem.found}. {problem.mend}".rstrip()
    if not found:
        yield f"  {paint('no problems', 'green')}"
    yield from _software(device)
    yield from _cameras(device)
    spool = device.status.spool if device.status else None
    if spool is not None:
        dropped = ", ".join(f"{count} {why}" for why, count in sorted(spool.dropped.items()))
        yield f"  spool      {spool.events} events wait" + (f"; dropped so far: {dropped}" if dropped else "")
    if device.skew_s is not None:
        yield f"  clock      {device.skew_s:+.1f} s against this computer"


def _presence(device: Device, now: float) -> str:
    seen = screen.age(device.last_seen(now))
    if device.availability is None:
        return "never heard"
    if not device.online:
        return paint("offline", "red") + f" ({device.availability.reason}), last heard of {seen} ago"
    since = screen.age(max(0.0, now - device.availability.at))
    return paint("online", "green") + f" for {since}, last heard of {seen} ago"


def _software(device: Device) -> Iterator[str]:
    status, reported = device.status, device.reported
    if status is not None:
        model = device.model
        running = "none: safe mode" if model is None else f"{model.name} {model.version} {model.phase}".rstrip()
        yield f"  model      {running}" + (f", {status.rollbacks} taken back so far" if status.rollbacks else "")
        if status.candidate is not None:
            yield f"  candidate  {status.candidate.name} {status.candidate.version} in {status.candidate.phase}"
    if device.desired is not None:
        record = rows.desired_record(device)
        told = f", rollout {record['rollout']}" if record["rollout"] else ""
        yield f"  desired    {record['model'] or 'settings only'}{told} (seq {record['seq']})"
    if reported is not None and reported.state != "none":
        why = reported.detail or reported.reason
        yield f"  reported   {reported.state}" + (f": {why}" if why else "")
    if device.info is not None:
        groups = f", groups {', '.join(device.groups)}" if device.groups else ""
        commands = f", commands {device.info.commands}"
        up = f", up for {screen.age(status.uptime_s)}" if status else ""
        yield f"  runtime    edge-runtime {device.info.version}{up}{commands}{groups}"


def _cameras(device: Device) -> Iterator[str]:
    cameras = device.status.cameras if device.status else {}
    for name in sorted({*cameras, *device.shelves}):
        shelf, camera = device.shelves.get(name), cameras.get(name)
        counts = shelf.counts if shelf else {}
        slots = ", ".join(
            f"{n} {paint(s, STATE_COLOURS[s]) if s in STATE_COLOURS else s}" for s, n in sorted(counts.items())
        )
        yield f"  camera     {name}: {_camera(camera)}" + (f"; {slots}" if slots else "")


def _camera(camera: CameraView | None) -> str:
    if camera is None:
        return "not told"
    told = [f"{camera.state} ({camera.reason})" if camera.reason else camera.state]
    if camera.estimated_accuracy is not None:
        told.append(f"estimated accuracy {camera.estimated_accuracy:.1%}")
    if camera.unknown_share is not None:
        told.append(f"unknown {camera.unknown_share:.1%}")
    if camera.p95_ms is not None:
        told.append(f"95 % of frames within {camera.p95_ms:.0f} ms")
    return ", ".join(told)
