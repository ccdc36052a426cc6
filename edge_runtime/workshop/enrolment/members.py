"""Enrol, renew and revoke: devices, operators, collectors and readers of a fleet.

Each run records the certificates that it is about to make, makes them, and records that they are out. One that was
killed meanwhile leaves `pending` certificates; the next run for the same identity revokes those and makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.command_keys import TARGET as COMMAND_KEYS
from edge_runtime.workshop.enrolment.certificates import (
    Authority,
    Issued,
    PublicKey,
    fresh_serial,
    new_key,
    public_of,
    read_issued,
    requested_key,
)
from edge_runtime.workshop.enrolment.device_files import device_toml
from edge_runtime.workshop.enrolment.folder import SECRET, Folder, need, put
from edge_runtime.workshop.enrolment.identity import OPERATOR, Identity, check_group, parse
from edge_runtime.workshop.enrolment.operators import COMMAND_KEY, Rights, add_key, drop_keys, fleet_toml, retire_key
from edge_runtime.workshop.enrolment.register import Entry, Register, issued, pending, revoked
from edge_runtime.workshop.enrolment.servers import urls, write_rules

CA_KEY = "keys/ca.key"
CA_CERTIFICATE = "ca.crt"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One identity to enrol or renew."""

    identity: Identity
    groups: tuple[str, ...] = ()
    csr: bytes | None = None
    """Signing request made where the key shall stay; None: the key is made here."""
    out: Path | None = None
    """Folder for its files; None: devices/SITE/DEVICE (or clients/ROLE/NAME) in the operator's folder."""
    rights: Rights = field(default_factory=Rights)
    """Of an operator."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did."""

    folders: Mapping[str, Path]
    """Identity -> where its files are."""
    copies: Sequence[Path]
    """Files that the brokers need now."""
    revoked: int = 0
    entries: Sequence[Entry] = field(default=())


def authority(folder: Folder, passphrase: bytes | None) -> Authority:
    """The fleet's own. Raises Unavailable, Refused."""
    return Authority.load(need(folder / CA_KEY), need(folder / CA_CERTIFICATE), passphrase)


def enrol(
    folder: Folder,
    wanted: Sequence[Wanted],
    signer: Authority,
    clock: Callable[[], float],
    renew: bool = False,
    days: int | None = None,
) -> Done:
    """Certificates and files for all of them, and rules that let them in. The folder is held (`alone`) by the caller.

    Raises Refused before anything is written: one is enrolled already, or with `renew` is not; two that would use the
    same client id; one twice.
    """
    register = folder.read_register()
    entries = _prepared(register, wanted, renew, clock())
    serials = {name: fresh_serial() for name in entries}
    entries = {name: pending(entry, serials[name]) for name, entry in entries.items()}
    register = register.with_entries(entries.values())
    folder.keep_register(register)
    folders, finished = {}, []
    for want in wanted:
        name = str(want.identity)
        made = _make(folder, register, want, entries[name], serials[name], signer, days or register.days, clock())
        folders[name] = want.out or place_of(folder, want.identity)
        finished.append(issued(entries[name], serials[name], made.not_after))
    register = msgspec.structs.replace(register.with_entries(finished), crl_number=register.crl_number + 1)
    copies = write_rules(folder, register, signer, clock())
    folder.keep_register(register)  # last: who is not recorded as let in may be enrolled again
    return Done(folders, copies, entries=finished)


def revoke(folder: Folder, identities: Sequence[Identity], signer: Authority, clock: Callable[[], float]) -> Done:
    """They are let in no more, with any certificate that they ever had. Raises Refused for one that never was."""
    register = folder.read_register()
    before = len(register.revoked())
    entries = [revoked(register.find(identity), clock()) for identity in dict.fromkeys(identities)]
    register = msgspec.structs.replace(register.with_entries(entries), crl_number=register.crl_number + 1)
    folder.keep_register(register)
    copies = write_rules(folder, register, signer, clock())
    operators = [identity for identity in identities if identity.site == OPERATOR]
    for identity in operators:
        retire_key(place_of(folder, identity))
    if drop_keys(folder, [identity.device for identity in operators]):
        copies = [*copies, folder / COMMAND_KEYS]
    return Done({}, copies, len(register.revoked()) - before, entries)


def regroup(
    folder: Folder, identity: Identity, groups: tuple[str, ...], signer: Authority, clock: Callable[[], float]
) -> Done:
    """Other groups for one that is enrolled; its certificate stays. Its device.toml is to say the same."""
    register = folder.read_register()
    entry = msgspec.structs.replace(register.find(identity), groups=_checked(groups))
    register = register.with_entries([entry])
    folder.keep_register(register)
    return Done({}, write_rules(folder, register, signer, clock()), entries=[entry])


def _prepared(register: Register, wanted: Sequence[Wanted], renew: bool, now: float) -> dict[str, Entry]:
    """The entries to work on, free of what an interrupted run left behind."""
    known = register.by_identity()
    clients = {client_id(parse(name)): name for name in known}
    found: dict[str, Entry] = {}
    for want in wanted:
        name = str(want.identity)
        if name in found:
            raise Refused(f"{name} is there twice", "Leave one of them out")
        other = clients.setdefault(client_id(want.identity), name)
        if other != name:
            raise Refused(
                f"{name} would use the same MQTT client id as {other}, {client_id(want.identity)!r}",
                "Rename one of them",
            )
        entry = known.get(name, Entry(name))
        if renew != entry.admitted:
            raise Refused(*_misused(name, renew))
        if want.out is not None and not renew:
            _check_free(want.out / f"{stem(want.identity)}.crt", entry)
        groups = entry.groups if renew and not want.groups else _checked(want.groups)
        found[name] = msgspec.structs.replace(revoked(entry, now, only_pending=True), groups=groups)
    return found


def _check_free(certificate: Path, entry: Entry) -> None:
    """Another device's files are not overwritten; those of a run that was interrupted are."""
    if certificate.exists() and read_issued(need(certificate)).serial not in {c.serial for c in entry.certificates}:
        raise Refused(f"{certificate} is there already, of somebody else", "Name another folder with --out")


def _misused(name: str, renew: bool) -> tuple[str, str]:
    if renew:
        return f"{name} is not enrolled, there is nothing to renew", f"Enrol it: fleet enrol DIR {name}"
    return f"{name} is enrolled already", "Give it a new certificate with --renew, or revoke it first"


def client_id(identity: Identity) -> str:
    """What a device calls itself towards the broker, which knows each name once."""
    return f"{identity.site}-{identity.device}"


def _checked(groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({check_group(name) for name in groups}))


def place_of(folder: Folder, identity: Identity) -> Path:
    """Where the files of an identity are, unless it was enrolled to another folder."""
    if identity.is_device:
        return folder / f"devices/{identity}"
    return folder / f"clients/{stem(identity)}/{identity.device}"


def stem(identity: Identity) -> str:
    """How its files are called: `device.crt`, `operator.crt` ..."""
    return "device" if identity.is_device else identity.site.removeprefix("_")


def _make(
    folder: Folder,
    register: Register,
    want: Wanted,
    entry: Entry,
    serial: str,
    signer: Authority,
    days: int,
    now: float,
) -> Issued:
    identity, place = want.identity, want.out or place_of(folder, want.identity)
    key = None if want.csr is not None else new_key()
    public: PublicKey = public_of(key) if key is not None else requested_key(want.csr or b"")
    made = signer.client(public, identity, entry.generation, serial, days, now)
    if key is not None:
        put(place / f"{stem(identity)}.key", key, SECRET, synced=False)
    put(place / f"{stem(identity)}.crt", made.certificate, synced=False)
    put(place / CA_CERTIFICATE, need(folder / CA_CERTIFICATE), synced=False)
    if identity.is_device:
        put(place / COMMAND_KEYS, need(folder / COMMAND_KEYS), synced=False)
        name = (
            "device.toml.enrolled" if (place / "device.toml").exists() else "device.toml"
        )  # a person may have edited it
        put(place / name, device_toml(identity, entry, urls(register), made).encode(), synced=False)
    else:
        _equip(folder, register, want, place)
    return made


def _equip(folder: Folder, register: Register, want: Wanted, place: Path) -> None:
    """What the verbs of `fleet` need: `--fleet PLACE` is then whoever this certificate is of."""
    name = stem(want.identity)
    files = {"ca_file": CA_CERTIFICATE, "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
    if want.identity.site == OPERATOR:
        add_key(folder, place, want.identity.device, want.rights)
        files |= {"command_key": COMMAND_KEY}
    put(place / COMMAND_KEYS, need(folder / COMMAND_KEYS), synced=False)
    files |= {"command_keys": COMMAND_KEYS}
    put(place / "fleet.toml", fleet_toml(urls(register), want.identity.device, files).encode(), synced=False)


def operator_identity(name: str) -> Identity:
    """Raises Refused for a name that no certificate can hold."""
    return parse(f"{OPERATOR}/{name}")
