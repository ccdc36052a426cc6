"""`fleet.toml`: where the fleet's broker is, and which files show who the operator is. Written by `fleet init`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.fleet.settings import parse_url

FILE = "fleet.toml"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of fleet.toml, all at the top; files are relative to the folder."""

    urls: list[str]
    name: str = "operator"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    command_key: str = ""
    command_keys: str = ""
    state_dir: str = "state"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How an operator reaches a fleet. `urls`: brokers of one cluster, tried in turn."""

    urls: tuple[str, ...]
    name: str = "operator"
    """Stands in client ids, command ids and rollouts, so that people see who did what."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    command_key: Path | None = None
    """The operator's private key; None: this operator only reads."""
    command_keys: Path | None = None
    """The public keys of the fleet's operators: whose rollouts count."""
    state_dir: Path = Path("state")
    """The operator's journals."""


def read_fleet(folder: Path) -> FleetSettings:
    """The settings in `folder`/fleet.toml. Raises Unavailable if there is none, BadConfig for a wrong one."""
    path = folder / FILE
    try:
        raw = path.read_text("utf-8")
    except FileNotFoundError:
        raise Unavailable(
            f"{folder} is no fleet folder: it holds no {FILE}", "Make one: edge-runtime fleet init"
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise Unavailable(f"{path} can not be read: {fault}", "Check its rights") from None
    try:
        found = msgspec.convert(tomllib.loads(raw), type=_File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
        raise BadConfig(f"{path}: {fault}", "Correct it, or write it anew: edge-runtime fleet init") from None
    return _settings(folder, path, found)


def _settings(folder: Path, path: Path, found: _File) -> FleetSettings:
    if not found.urls:
        raise BadConfig(f"{path}: urls names no broker", 'Write urls = ["mqtts://host:8883"]')
    try:
        for url in found.urls:
            parse_url(url)
    except BadConfig as fault:
        raise BadConfig(f"{path}: {fault.found.replace('[mqtt] url', 'urls:')}", fault.mend) from None

    def beside(name: str) -> Path | None:
        return folder / name if name else None

    return FleetSettings(
        tuple(found.urls),
        found.name,
        beside(found.ca_file),
        beside(found.cert_file),
        beside(found.key_file),
        beside(found.command_key),
        beside(found.command_keys),
        folder / found.state_dir,
    )
