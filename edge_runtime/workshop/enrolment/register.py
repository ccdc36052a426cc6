"""devices.json: every identity of a fleet, its groups and its certificates. What the brokers' rules are made from.

A certificate is recorded before it is made (`pending`), so that every one that ever was can be revoked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.workshop.enrolment.identity import Identity, parse

FILE = "devices.json"
FORMAT: Literal["edge-enrolment/1"] = "edge-enrolment/1"
State = Literal["pending", "issued", "replaced", "revoked"]


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One that was signed, or is about to be."""

    serial: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{1,40}\Z")]
    state: State
    not_after: int = 0
    revoked_at: int = 0
    """Unix times, s."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One identity. `generation` grows with every revocation."""

    identity: str
    groups: tuple[str, ...] = ()
    generation: int = 1
    certificates: tuple[Certificate, ...] = ()

    @property
    def current(self) -> Certificate | None:
        """The newest certificate that is out and counts."""
        return next((c for c in reversed(self.certificates) if c.state == "issued"), None)

    @property
    def admitted(self) -> bool:
        """Whether the brokers let it in: it has a certificate that counts."""
        return self.current is not None


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Every change gives a new one."""

    format: Literal["edge-enrolment/1"]
    broker: Literal["mosquitto", "nats"]
    hosts: tuple[str, ...]
    port: int
    operator: str
    days: int
    crl_number: int = 1
    entries: tuple[Entry, ...] = ()

    def by_identity(self) -> dict[str, Entry]:
        return {entry.identity: entry for entry in self.entries}

    def find(self, identity: Identity) -> Entry:
        """Raises Refused for one that was never enrolled."""
        for entry in self.entries:
            if entry.identity == str(identity):
                return entry
        raise Refused(f"{identity} is not enrolled here", "See `fleet enrol --list`")

    def with_entries(self, changed: Iterable[Entry]) -> Register:
        """Those of `changed` added, or put in the place of the old ones."""
        entries = self.by_identity() | {entry.identity: entry for entry in changed}
        return msgspec.structs.replace(self, entries=tuple(entries[name] for name in sorted(entries)))

    def revoked(self) -> Mapping[str, int]:
        """Serials that count no more -> when they were revoked (Unix s)."""
        return {c.serial: c.revoked_at for e in self.entries for c in e.certificates if c.state == "revoked"}

    def admitted(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.admitted)


def revoked(entry: Entry, now: float, only_pending: bool = False) -> Entry:
    """The entry with its certificates revoked; with `only_pending` just those that an interrupted run left behind."""
    count = tuple(
        msgspec.structs.replace(c, state="revoked", revoked_at=int(now))
        if c.state == "pending" or (c.state != "revoked" and not only_pending)
        else c
        for c in entry.certificates
    )
    generation = entry.generation if only_pending else entry.generation + 1
    return msgspec.structs.replace(entry, certificates=count, generation=generation)


def pending(entry: Entry, serial: str) -> Entry:
    """The entry with a certificate that is about to be made."""
    return msgspec.structs.replace(entry, certificates=(*entry.certificates, Certificate(serial, "pending")))


def issued(entry: Entry, serial: str, not_after: int) -> Entry:
    """The entry whose pending certificate is made and out. Older ones are replaced: good until they run out."""
    out = tuple(
        Certificate(serial, "issued", not_after)
        if c.serial == serial
        else msgspec.structs.replace(c, state="replaced")
        if c.state == "issued"
        else c
        for c in entry.certificates
    )
    return msgspec.structs.replace(entry, certificates=out)


def encode(register: Register) -> bytes:
    return msgspec.json.format(msgspec.json.encode(register), indent=1) + b"\n"


def decode(raw: bytes) -> Register:
    """Raises Refused for a malformed file, or an identity that can be none."""
    try:
        register = msgspec.json.decode(raw, type=Register)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Refused(f"{FILE} is malformed: {fault}", "Take it from a backup") from None
    for entry in register.entries:
        parse(entry.identity)
    if len(register.by_identity()) != len(register.entries):
        raise Refused(f"{FILE} lists an identity twice", "Take it from a backup")
    return register
