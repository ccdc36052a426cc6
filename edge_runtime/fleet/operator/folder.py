"""fleet.toml: what an operator's folder says about its broker, its certificate and its key for commands.

`edge-runtime fleet init` writes it, an operator may edit it. Names of files in it are relative to the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_runtime.errors import BadConfig
from edge_runtime.fleet.settings import parse_url

FORMAT = "edge-fleet/1"
FILE = "fleet.toml"
MAX_BYTES = 65_536
KINDS = ("mosquitto", "nats")


class BrokerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    urls: tuple[str, ...]
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class OperatorTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    command_key: str
    state_dir: str = "state"


class CertificateTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device_days: int = 730
    server_days: int = 730
    operator_days: int = 365


class FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of the file."""

    format: str
    broker: BrokerTable
    operator: OperatorTable
    certificates: CertificateTable = CertificateTable()


@dataclass(frozen=True, slots=True)
class Fleet:
    """An operator's folder, with every path made absolute."""

    folder: Path
    broker: str
    """`mosquitto` or `nats`."""
    urls: tuple[str, ...]
    """At least one; any node serves."""
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    name: str
    """Of the operator: the certificate and the key for commands are theirs."""
    command_key: Path
    """PEM of the key that signs commands (workshop/enrolment/signing.py loads it)."""
    state_dir: Path
    """Journals of rollouts and of commands that were sent."""
    certificates: CertificateTable


def read_fleet(folder: Path) -> Fleet:
    """The operator's folder. Raises BadConfig for a file that is not there, malformed, or has a key that nobody knows."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as fault:
        raise BadConfig(
            f"{path} can not be read: {fault.strerror}", f"Make the folder: edge-runtime fleet init {folder}"
        ) from None
    if len(raw) > MAX_BYTES:
        raise BadConfig(f"{path} has more than {MAX_BYTES} bytes", "Take it from a backup")
    try:
        read = msgspec.toml.decode(raw, type=FleetFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path}: {fault}", "Correct it, or take it from a backup") from None
    _check(path, read)
    return _resolved(folder.resolve(), read)


def _check(path: Path, read: FleetFile) -> None:
    if read.format != FORMAT:
        raise BadConfig(f"{path}: format is {read.format!r}, {FORMAT!r} was expected", "Update edge-runtime")
    if read.broker.kind not in KINDS:
        raise BadConfig(f"{path}: [broker] kind is {read.broker.kind!r}", f"Write {' or '.join(KINDS)}")
    if not read.broker.urls:
        raise BadConfig(f"{path}: [broker] urls is empty", 'Write urls = ["mqtts://HOST:8883"]')
    for url in read.broker.urls:
        parse_url(url)
    for name in CertificateTable.__struct_fields__:
        days = getattr(read.certificates, name)
        if not 1 <= days <= 3_650:
            raise BadConfig(f"{path}: [certificates] {name} is {days}", "Write a number from 1 to 3650")


def _resolved(folder: Path, read: FleetFile) -> Fleet:
    def named(name: str) -> Path | None:
        return folder / name if name else None

    return Fleet(
        folder,
        read.broker.kind,
        read.broker.urls,
        named(read.broker.ca_file),
        named(read.broker.cert_file),
        named(read.broker.key_file),
        read.operator.name,
        folder / read.operator.command_key,
        folder / read.operator.state_dir,
        read.certificates,
    )
