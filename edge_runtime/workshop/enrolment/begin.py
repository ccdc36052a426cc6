"""`fleet init`: an operator's folder, in steps that are each done once, so that it can be run again after any end.

devices.json       who is enrolled               fleet.toml      where the brokers are, and which files are used
ca.crt             who signs certificates        keys/           the authority's key: keep a copy elsewhere
command-keys.json  whose commands count          clients/        what operators, collectors and readers get
mosquitto/ nats/   what the brokers get          devices/        what the devices get
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.fleet.operator.settings import FILE as FLEET_FILE
from edge_runtime.lifecycle.trust.command_keys import TARGET as COMMAND_KEYS
from edge_runtime.workshop.enrolment import members
from edge_runtime.workshop.enrolment import register as registers
from edge_runtime.workshop.enrolment.certificates import Authority, new_key
from edge_runtime.workshop.enrolment.folder import SECRET, Folder, keep, need, read
from edge_runtime.workshop.enrolment.operators import COMMAND_KEY, Rights, fleet_toml
from edge_runtime.workshop.enrolment.register import Register
from edge_runtime.workshop.enrolment.servers import (
    Server,
    servers,
    urls,
    write_certificates,
    write_configuration,
    write_rules,
)

OPERATOR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new folder is for."""

    broker: Literal["mosquitto", "nats"]
    hosts: tuple[str, ...]
    port: int = 8883
    operator: str = "operator"
    days: int = 730
    """How long certificates of devices and servers are good."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The folder as it stands."""

    servers: tuple[Server, ...]
    urls: tuple[str, ...]
    made: tuple[Path, ...]
    """Files that were not there before."""


def begin(folder: Folder, plan: Plan, passphrase: bytes | None, clock: Callable[[], float]) -> Begun:
    """Make what is not there yet. Raises Refused if the folder is another plan's; nothing in it is overwritten."""
    with folder.alone():
        register = _begin_register(folder, plan)
        signer = _begin_authority(folder, passphrase, clock())
        made = write_certificates(folder, register, signer, clock(), anew=False)
        made += write_configuration(folder, register)
        _begin_operator(folder, register, signer, passphrase, clock)
        write_rules(folder, folder.read_register(), signer, clock())
        (folder / "state").mkdir(mode=0o700, exist_ok=True)
        if keep(folder / FLEET_FILE, _fleet_toml(folder, register).encode()):
            made.append(folder / FLEET_FILE)
        return Begun(servers(folder, register), urls(register), tuple(made))


def renew(folder: Folder, passphrase: bytes | None, clock: Callable[[], float]) -> list[Path]:
    """New certificates and keys for the servers and the operator; the old ones are good until they run out."""
    with folder.alone():
        register = folder.read_register()
        signer = members.authority(folder, passphrase)
        made = write_certificates(folder, register, signer, clock(), anew=True)
        identity = members.operator_identity(register.operator)
        want = members.Wanted(identity, rights=Rights(passphrase=passphrase))
        members.enrol(folder, [want], signer, clock, renew=True, days=OPERATOR_DAYS)
        return [*made, members.place_of(folder, identity) / f"{members.stem(identity)}.crt"]


def add_host(folder: Folder, host: str, passphrase: bytes | None, clock: Callable[[], float]) -> Server:
    """One more node of a NATS cluster. Raises Refused for mosquitto, or a host that is there."""
    with folder.alone():
        register = folder.read_register()
        if register.broker != "nats":
            raise Refused("one mosquitto is one broker: it has no nodes", "Begin a fleet with --broker nats")
        if host not in register.hosts:
            register = msgspec.structs.replace(register, hosts=(*register.hosts, host))
            folder.keep_register(register)
        signer = members.authority(folder, passphrase)
        write_certificates(folder, register, signer, clock(), anew=False)
        write_configuration(folder, register)
        write_rules(folder, register, signer, clock())
        return servers(folder, register)[register.hosts.index(host)]


def _begin_register(folder: Folder, plan: Plan) -> Register:
    members.operator_identity(plan.operator)
    fresh = Register(registers.FORMAT, plan.broker, plan.hosts, plan.port, plan.operator, plan.days)
    raw = read(folder / registers.FILE)
    if raw is None:
        strangers = sorted(
            path.name for path in folder.path.iterdir() if path.name != ".lock" and not path.name.endswith(".new")
        )
        if strangers:
            raise Refused(f"{folder.path} holds {strangers[0]} and is no fleet's folder", "Name a new folder")
        folder.keep_register(fresh)
        return fresh
    found = registers.decode(raw)
    if msgspec.structs.replace(found, entries=(), crl_number=1) != fresh:
        raise Refused(
            f"{folder.path} is there already, for {found.broker} at {', '.join(found.hosts)}:{found.port},"
            f" operator {found.operator!r}, {found.days} days",
            "Run it with the same arguments, or name another folder; --add-host and --renew change one that is there",
        )
    return found


def _begin_authority(folder: Folder, passphrase: bytes | None, now: float) -> Authority:
    keep(folder / members.CA_KEY, new_key(passphrase), SECRET)
    certificate = Authority.begin(need(folder / members.CA_KEY), passphrase, "edge-runtime fleet", now)
    keep(folder / members.CA_CERTIFICATE, certificate)
    return members.authority(folder, passphrase)


def _begin_operator(
    folder: Folder, register: Register, signer: Authority, passphrase: bytes | None, clock: Callable[[], float]
) -> None:
    identity = members.operator_identity(register.operator)
    entry = register.by_identity().get(str(identity))
    if entry is None or not entry.admitted:
        want = members.Wanted(identity, rights=Rights(passphrase=passphrase))
        members.enrol(folder, [want], signer, clock, days=OPERATOR_DAYS)


def _fleet_toml(folder: Folder, register: Register) -> str:
    identity = members.operator_identity(register.operator)
    place = members.place_of(folder, identity).relative_to(folder.path)
    files = {
        "ca_file": members.CA_CERTIFICATE,
        "cert_file": f"{place}/{members.stem(identity)}.crt",
        "key_file": f"{place}/{members.stem(identity)}.key",
        "command_key": f"{place}/{COMMAND_KEY}",
        "command_keys": COMMAND_KEYS,
        "state_dir": "state",
    }
    return fleet_toml(urls(register), register.operator, files)
