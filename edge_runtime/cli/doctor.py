"""`doctor`: is this device fit to run, line by line, with the mend."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, emit, paint, say
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM

if TYPE_CHECKING:
    from edge_runtime.cli.checks import Check
    from edge_runtime.cli.output import Verbs

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    verb = add_verb(
        verbs,
        "doctor",
        "check the machine, the installation and, with --config, the cameras, the broker and the repository",
        "Looks at everything that must be right before a device is left alone. Exit code 1 if anything fails.",
        "  edge-runtime doctor\n  edge-runtime doctor --config /etc/edge-runtime/device.toml --json",
    )
    verb.add_argument("--config", type=Path, metavar="FILE", help="device.toml: also check what it names")
    verb.add_argument("--offline", action="store_true", help="do not contact cameras, broker and repository")
    add_json(verb)
    verb.set_defaults(act=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    failed = 0
    for check in _checks(args.config, args.offline):
        failed += check.verdict == "fail"
        if args.json:
            emit({"check": check.name, "verdict": check.verdict, "found": check.found, "mend": check.mend})
            continue
        say(f"{paint(check.verdict.ljust(4), _COLOURS[check.verdict])}  {check.name.ljust(12)}  {check.found}")
        if check.mend:
            say(f"{'':20}{paint('-> ', 'grey')}{check.mend}")
    return EXIT_PROBLEM if failed else EXIT_OK


def _checks(config: Path | None, offline: bool) -> Iterator[Check]:
    from edge_runtime.cli import checks, checks_remote

    yield checks.machine()
    yield checks.memory()
    yield checks.clock()
    yield from checks.packages()
    yield checks.opencv()
    yield checks.onnxruntime()
    yield from checks.bundles()
    if config is None:
        yield checks.disk(Path())
        return
    read, check = checks.configuration(config)
    yield check
    if read is None:
        return
    yield checks.disk(read.storage.state_dir)
    yield from checks_remote.certificates(read.mqtt)
    yield checks_remote.commands(read)
    if not offline:
        yield from map(checks.camera, read.cameras)
        yield checks_remote.broker(read.mqtt)
        yield checks_remote.repository(read)
