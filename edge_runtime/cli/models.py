"""`model`: the verbs about models, and `model list`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge_runtime.cli import model_changes, model_files, model_place
from edge_runtime.cli.bench import register_model_bench
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Unavailable

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.lifecycle.entries import Entry

_COLOURS = {"current": "green", "trial": "yellow", "shadow": "yellow", "quarantined": "red", "damaged": "red"}


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    parser = add_verb(
        verbs,
        "model",
        "the models of a device: list, install, activate, take back; and bundle files: show, verify, bench",
        "A bundle is one zip with one model version: the ONNX file, its manifest, golden answers and licence.\n"
        "On a device a model goes: installed -> proved -> beside the current one (shadow) -> in charge under watch\n"
        "(trial) -> kept (current). A bad one gives way by itself, and is quarantined.",
        "  edge-runtime model list --config device.toml\n"
        "  edge-runtime model install shelf-occupancy --config device.toml\n"
        "  edge-runtime model activate 1.1.0 --config device.toml\n"
        "  edge-runtime model rollback --config device.toml\n"
        "  edge-runtime model verify shelf-occupancy-1.1.0.zip",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = add_verb(
        kinds,
        "list",
        "the models of a device: which runs, which is on trial, which may never run again, and why",
        "Lists the bundles that ship with the runtime; with --config or --state also those in a device's store.",
        "  edge-runtime model list\n  edge-runtime model list --config device.toml --json",
    )
    model_place.add_device(listing)
    add_json(listing)
    listing.set_defaults(act=_list)
    model_changes.register(kinds)
    model_files.register(kinds)
    register_model_bench(kinds)


def _list(args: argparse.Namespace) -> int:
    import msgspec

    store = model_place.open_store(args)
    entries = store.list()
    if not entries:
        raise Unavailable("no bundle is installed", "Install the runtime from its wheel, or build one: make bundle")
    if args.json:
        for entry in entries:
            emit(msgspec.to_builtins(entry))
    else:
        rows = [_row(entry) for entry in entries]
        say(table(("name", "version", "status", "from", "release", "runs", "sha256", "why"), rows, _COLOURS))
        for problem in store.problems:
            complain(problem)
    return EXIT_PROBLEM if any(entry.status in ("quarantined", "damaged") for entry in entries) else EXIT_OK


def _row(entry: Entry) -> tuple[str, ...]:
    release = str(entry.origin.release or "-")
    runs = entry.proof.variant if entry.proof else "not proved here"
    return (
        entry.name,
        entry.version,
        entry.status,
        entry.origin.kind,
        release,
        runs,
        entry.sha256[:12],
        entry.reason,
    )
