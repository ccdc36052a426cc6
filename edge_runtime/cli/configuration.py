"""`config init | check | show`: the device's one human-written file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say
from edge_runtime.errors import EXIT_BAD_CONFIG, EXIT_OK, EXIT_PROBLEM, BadConfig, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.config import DeviceConfig


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    parser = add_verb(
        verbs,
        "config",
        "write, check or show device.toml",
        "device.toml says what this device is and does. Secrets stay in files of their own.",
        "  edge-runtime config init --out device.toml\n  edge-runtime config check device.toml",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    init = add_verb(
        kinds,
        "init",
        "write a commented device.toml",
        "Writes a commented device.toml to standard output, or to a new file.",
        "  edge-runtime config init --device bay-7 --site store-042 --source rtsp://10.0.0.9/main --out device.toml",
    )
    init.add_argument("--device", default="shelf-cam-1", help="id of the device, unique within the site")
    init.add_argument("--site", default="store-001", help="the store")
    init.add_argument("--camera", default="aisle-1", help="name of the first camera")
    init.add_argument("--source", default="", help="its address; without it, fill it in afterwards")
    init.add_argument("--out", type=Path, help="write this file, which must not exist yet")
    init.set_defaults(act=_init)
    for name, act, summary in (
        ("check", _check, "say everything that is wrong with a device.toml, each with its line and the mend"),
        ("show", _show, "show the configuration with all defaults filled in, without secrets"),
    ):
        verb = add_verb(
            kinds, name, summary, f"{summary[0].upper()}{summary[1:]}.", f"  edge-runtime config {name} device.toml"
        )
        verb.add_argument("file", type=Path, nargs="?", default=Path("device.toml"), help="default: %(default)s")
        add_json(verb)
        verb.set_defaults(act=act)


def _init(args: argparse.Namespace) -> int:
    from edge_runtime.config import config_template

    text = config_template(args.device, args.site, args.camera, args.source)
    if args.out is None:
        say(text.rstrip("\n"))
        return EXIT_OK
    try:
        with args.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Usage(f"{args.out} is already there", "Name a new file with --out, or edit this one") from None
    except OSError as fault:
        raise Usage(f"{args.out} can not be written: {fault.strerror}", "Name a writable place with --out") from None
    say(f"{args.out} written; edit it, then: edge-runtime config check {args.out}")
    return EXIT_OK


def _check(args: argparse.Namespace) -> int:
    from edge_runtime.config import check_files, read_config

    try:
        config = read_config(args.file)
    except BadConfig as fault:
        if args.json:
            emit({"file": str(args.file), "ok": False, "faults": list(fault.faults), "missing": []})
        else:
            complain(str(fault))
        return EXIT_BAD_CONFIG
    missing = check_files(config) + layout_faults(config) + key_faults(config) + _tls_faults(config)
    if args.json:
        emit({"file": str(args.file), "ok": not missing, "faults": [], "missing": list(missing)})
    for fault_line in missing if not args.json else ():
        complain(fault_line)
    if not missing and not args.json:
        count = len(config.cameras)
        say(f"{args.file}: {paint('fine', 'green')}, {count} camera{'s' if count > 1 else ''}, site {config.site}")
    return EXIT_PROBLEM if missing else EXIT_OK


def layout_faults(config: DeviceConfig) -> tuple[str, ...]:
    """What is wrong inside the layouts that are there."""
    from edge_runtime.layout import read_layout

    faults: list[str] = []
    for camera in config.cameras:
        if not camera.layout.is_file():
            continue
        try:
            reference = read_layout(camera.layout).reference
        except BadConfig as fault:
            faults += [f"camera {camera.name!r}: {line}" for line in fault.faults]
            continue
        if not reference.is_file():
            faults.append(
                f"camera {camera.name!r}: reference picture {reference} is not there. Make it with `camera commission`"
            )
    return tuple(faults)


def key_faults(config: DeviceConfig) -> tuple[str, ...]:
    """What is wrong with a file of command keys that is there."""
    path = config.mqtt.command_keys if config.mqtt is not None else None
    if path is None or not path.is_file():
        return ()
    from edge_runtime.errors import EdgeError
    from edge_runtime.lifecycle.trust.command_keys import read_command_keys

    try:
        keys = read_command_keys(path)
    except EdgeError as fault:
        return (f"mqtt: command_keys: {fault}",)
    return () if len(keys) else (f"mqtt: command_keys: {path} lists no key: nobody can command this device",)


def _tls_faults(config: DeviceConfig) -> tuple[str, ...]:
    """What is wrong inside the files for TLS that are there."""
    mqtt = config.mqtt
    files = () if mqtt is None else (mqtt.ca_file, mqtt.cert_file, mqtt.key_file, mqtt.crl_file)
    if not all(path.is_file() for path in files if path is not None):
        return ()
    from edge_runtime.cli.checks_remote import certificates

    return tuple(f"mqtt: {check.found}. {check.mend}" for check in certificates(mqtt) if check.verdict == "fail")


def _show(args: argparse.Namespace) -> int:
    from edge_runtime.config import read_config

    record = plain(read_config(args.file))
    if args.json:
        emit(record)
        return EXIT_OK
    for section, value in record.items():
        if isinstance(value, dict):
            _say_section(f"[{section}]", value)
        elif isinstance(value, list):
            for one in value:
                _say_section(f"[[{section.removesuffix('s')}]]", one)
        else:
            say(f"{section} = {'(none)' if value is None else value}")
    return EXIT_OK


def _say_section(title: str, values: dict[str, object]) -> None:
    say(f"\n{paint(title, 'bold')}")
    for key, value in values.items():
        say(f"{key} = {'(none)' if value is None else value}")


def plain(config: DeviceConfig) -> dict[str, object]:
    """The configuration as JSON values; addresses without their credentials."""
    import dataclasses

    from edge_runtime.config import shown_url

    record: dict[str, object] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple):
            record[field.name] = [_section(one) | {"source": shown_url(one.source)} for one in value]
        elif dataclasses.is_dataclass(value):
            record[field.name] = _section(value)
        else:
            record[field.name] = str(value) if isinstance(value, Path) else value
    return record


def _section(value: object) -> dict[str, object]:
    import dataclasses

    assert dataclasses.is_dataclass(value)
    named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {key: str(one) if isinstance(one, Path) else one for key, one in named.items()}
