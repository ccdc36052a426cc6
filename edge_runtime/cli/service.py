"""`run` and `status`: the daemon, and how it is."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import STATE_COLOURS, add_json, add_verb, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.daemon.status_file import (
        AfarLine,
        BrokerLine,
        CameraLine,
        CandidateLine,
        ModelLine,
        StatusRecord,
    )

SHORT_DAYS = 60
"""A certificate that ends sooner is told."""
STALE_S = 60.0
"""The daemon writes every ten seconds; one that has not for this long does not run, or hangs."""


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    run = add_verb(
        verbs,
        "run",
        "run the device: all cameras of a device.toml, until told to stop",
        "Reads every camera, normalizes, infers, and publishes states and events. Without a broker, or with a camera\n"
        "that is away, it goes on and says so. SIGTERM stops it, SIGHUP reads the configuration again.",
        "  edge-runtime run --config device.toml\n  systemctl start edge-runtime",
    )
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="device.toml; default: $EDGE_RUNTIME_CONFIG, ./device.toml"
    )
    run.add_argument(
        "--development", action="store_true", help="unsigned models may run: for a bench, never in a store"
    )
    run.set_defaults(act=_run)
    status = add_verb(
        verbs,
        "status",
        "how a running daemon is: cameras, slots, model, broker",
        "Reads what the daemon writes into its state folder. Exit code 1 if it is degraded, 69 if it does not run.",
        "  edge-runtime status --config device.toml\n  edge-runtime status --state /var/lib/edge-runtime --json",
    )
    place = status.add_mutually_exclusive_group()
    place.add_argument("--state", type=Path, metavar="DIR", help="the daemon's state folder")
    place.add_argument(
        "--config", type=Path, metavar="FILE", help="device.toml; default: $EDGE_RUNTIME_CONFIG, ./device.toml"
    )
    add_json(status)
    status.set_defaults(act=_status)


def _run(args: argparse.Namespace) -> int:
    from edge_runtime.daemon.service import serve

    return serve(config_path(args.config), development=args.development)


def config_path(given: Path | None) -> Path:
    """The device.toml that is meant. Raises Usage if none is named and none is there."""
    from edge_runtime.config import read_environment

    path = given or read_environment().config or Path("device.toml")
    if given is None and not path.exists():
        raise Usage(f"no --config was given, and {path} is not there", "Make one with `edge-runtime config init`")
    return path


def _status(args: argparse.Namespace) -> int:
    import msgspec

    from edge_runtime.config import read_config
    from edge_runtime.daemon.status_file import read_status

    folder = args.state or read_config(config_path(args.config)).storage.state_dir
    record = read_status(folder)
    age_s = time.time() - record.written_at
    trouble = not_running(record, age_s)
    if args.json:
        emit({"running": not trouble, "age_s": round(age_s, 1), "status": msgspec.to_builtins(record)})
    if trouble:
        raise Unavailable(trouble, "Start it with `edge-runtime run`, or see its log: journalctl -u edge-runtime")
    if not args.json:
        _say(record, age_s)
    return EXIT_PROBLEM if record.state == "degraded" else EXIT_OK


def not_running(record: StatusRecord, age_s: float) -> str:
    """Why the daemon that wrote this does not run, or seems to hang; empty if it is well."""
    if record.state == "stopped":
        return f"the daemon of {record.device} was stopped {_ago(age_s)}"
    if not Path("/proc", str(record.pid)).exists():
        return f"the daemon of {record.device} ended without a word; its last status is from {_ago(age_s)}"
    if age_s > STALE_S:
        return f"the daemon of {record.device} (process {record.pid}) has written no status since {_ago(age_s)}"
    return ""


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _say(record: StatusRecord, age_s: float) -> None:
    colour = {"ok": "green", "degraded": "red"}.get(record.state, "yellow")
    say(f"{paint(f'{record.site}/{record.device}', 'bold')}: {paint(record.state, colour)}, as of {_ago(age_s)}")
    for reason in record.reasons:
        say(f"  {reason}")
    model, broker = record.model, record.broker
    say(f"model   {_model(model) if model else 'none: safe mode, every slot is unknown'}")
    if record.candidate is not None:
        say(f"        {_candidate(record.candidate)}")
        if record.candidate.ask:
            say(
                f"        the models differ on {', '.join(record.candidate.ask[:4])}: somebody's feedback there decides"
            )
    say(f"broker  {_broker(broker)}")
    if record.afar is not None:
        for line in _afar(record.afar):
            say(line)
    if record.view:
        say(f"view    {record.view}")
    for camera in record.cameras:
        _say_camera(camera)


def _broker(line: BrokerLine) -> str:
    """State, where and how, what waits, what is wrong."""
    where = f", {line.address} (MQTT {line.protocol})" if line.protocol else ""
    waits = f", {line.spool.events} events wait" if line.spool and line.spool.events else ""
    doubt = (
        f", {line.unconfirmed} of them taken by the broker and not proven ({line.receipts})" if line.unconfirmed else ""
    )
    days = line.certificate_days
    ends = f", the certificate ends in {days:.0f} days" if days is not None and days < SHORT_DAYS else ""
    return f"{line.state}{where}{waits}{doubt}{ends}{f': {line.problem}' if line.problem else ''}"


def _afar(line: AfarLine) -> Iterator[str]:
    yield f"afar    commands {line.commands}, pictures {line.snapshots}"
    if line.settings:
        trial = f" (on trial, {line.on_trial})" if line.on_trial else ""
        yield f"        set: {', '.join(f'{key} = {value}' for key, value in line.settings.items())}{trial}"
    if line.desired is not None:
        said = "; ".join(text for text in (line.desired.reason, line.desired.detail) if text)
        yield f"        desired {line.desired.seq}: {line.desired.state}{f' ({said})' if said else ''}"


def _model(model: ModelLine) -> str:
    release = f", release {model.release}" if model.release else ""
    return f"{model.name} {model.version} ({model.variant}, from {model.origin}{release}): {model.phase}"


def _candidate(line: CandidateLine) -> str:
    agreed = "" if line.agreement is None else f", {line.agreement:.1%} of {line.slots} slots as the other model"
    left = f", {line.left_s:.0f} s left at least" if line.left_s else ""
    return f"{line.name} {line.version}: {line.phase}, {line.said}, {line.frames} frames{agreed}{left}"


def _say_camera(camera: CameraLine) -> None:
    seen = "no picture yet" if camera.age_s is None else f"{camera.frames} frames, the newest {camera.age_s:.0f} s old"
    say(f"\n{paint(camera.name, 'bold')}: {camera.state}{f' ({camera.reason})' if camera.reason else ''}, {seen}")
    if not camera.slots:
        return
    rows = [
        (
            f"  {s.slot}",
            s.state.value,
            f"{s.confidence:.0%}",
            time.strftime("%d %b %H:%M", time.localtime(s.since)),
            s.sku,
        )
        for s in camera.slots
    ]
    say(table(("  slot", "state", "confidence", "since", "sku"), rows, STATE_COLOURS))
