"""`spool show | export`: what waits for the broker, and what became of the rest."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.telemetry.spool_look import Held, SpoolLook

SPOOL = "spool.db"


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    family = add_verb(
        verbs,
        "spool",
        "what waits for the broker: show, export",
        "Reads what a device has not delivered yet; changes nothing.",
        "  edge-runtime spool show --config device.toml\n  edge-runtime spool export --config device.toml > events.jsonl",
    )
    kinds = family.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = add_verb(
        kinds,
        "show",
        "what a spool holds, and what it dropped and why",
        "Reads beside a running daemon and changes nothing. Exit code 1 if the file is damaged.",
        "  edge-runtime spool show --config device.toml\n"
        "  edge-runtime spool show --state /var/lib/edge-runtime --json",
    )
    _add_place(show)
    add_json(show)
    show.set_defaults(act=_show)
    export = add_verb(
        kinds,
        "export",
        "the messages that wait, one JSON object a line",
        "Writes every message that waits: id, grade, topic, age and payload, events first, each grade oldest first. Reads\n"
        "beside a running daemon and changes nothing; of a damaged file it reads what is whole. Exit code 1 if it is one.",
        "  edge-runtime spool export --config device.toml --grade event > events.jsonl\n"
        "  edge-runtime spool export /var/lib/edge-runtime/spool.db.corrupt-1 > events.jsonl",
    )
    _add_place(export)
    export.add_argument("--grade", choices=("event", "telemetry"), help="only these")
    add_json(export)
    export.set_defaults(act=_export)


def _add_place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group()
    place.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a spool file, also one that was set aside")
    place.add_argument("--state", type=Path, metavar="DIR", help="the daemon's state folder")
    place.add_argument(
        "--config", type=Path, metavar="FILE", help="device.toml; default: $EDGE_RUNTIME_CONFIG, ./device.toml"
    )


def _path(args: argparse.Namespace) -> Path:
    given: Path | None = args.file
    if given is not None:
        return given
    if args.state is not None:
        return Path(args.state, SPOOL)
    from edge_runtime.cli.service import config_path
    from edge_runtime.config import read_config

    return read_config(config_path(args.config)).storage.state_dir / SPOOL


def _show(args: argparse.Namespace) -> int:
    from edge_runtime.telemetry.spool_look import look

    found = look(_path(args))
    if args.json:
        emit(_record(found))
    else:
        _say(found)
    return EXIT_PROBLEM if found.damage else EXIT_OK


def _record(found: SpoolLook) -> dict[str, object]:
    return {
        "path": str(found.path),
        "size_bytes": found.size_bytes,
        "damage": found.damage,
        "entries": {grade.label: n for grade, n in found.entries.items()},
        "bytes": found.bytes,
        "oldest_s": {grade.label: round(age_s, 1) for grade, age_s in found.oldest_s.items()},
        "accepted": found.accepted,
        "dropped": dict(found.dropped),
        "salvaged": found.salvaged,
        "set_aside": [str(path) for path in found.set_aside],
    }


def _say(found: SpoolLook) -> None:
    say(paint(str(found.path), "bold") + f": {found.size_bytes / 1e6:.2f} MB")
    if found.damage:
        say(paint(f"damaged: {found.damage}; what follows is what could still be read", "red"))
    rows = [(grade.label, str(n), _age(found.oldest_s.get(grade))) for grade, n in found.entries.items()]
    say(table(("waits", "messages", "the oldest for"), rows))
    say(f"accepted  {found.accepted}")
    say(f"dropped   {', '.join(f'{n} {reason}' for reason, n in found.dropped.items()) or 'nothing'}")
    if found.salvaged:
        say(f"salvaged  {found.salvaged} out of damaged files")
    for path in found.set_aside:
        say(f"set aside {path}: `edge-runtime spool export {path}` reads it")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


def _export(args: argparse.Namespace) -> int:
    from edge_runtime.telemetry.spool_look import entries_of, look

    path = _path(args)
    damage = look(path).damage
    for held in entries_of(path):
        if args.grade in (None, held.entry.grade.label):
            emit(_line(held))
    if damage:
        complain(f"{path} is damaged ({damage}): these are the messages that could still be read")
    return EXIT_PROBLEM if damage else EXIT_OK


def _line(held: Held) -> dict[str, object]:
    entry = held.entry
    line: dict[str, object] = {
        "id": entry.id,
        "grade": entry.grade.label,
        "topic": entry.topic,
        "age_s": round(held.age_s, 1),
    }
    try:
        line["payload"] = json.loads(entry.payload, parse_constant=_no_number)
    except ValueError:
        line["payload_base64"] = base64.b64encode(entry.payload).decode("ascii")
    return line


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
