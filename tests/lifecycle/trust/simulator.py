"""A repository in memory that a test spoils by plain assignment, and a device that updates from it.

`Simulator` serves what its fields say at the moment of asking, signed with whatever signers are listed: change
`sim.targets.version`, `sim.signers["snapshot"]`, `sim.served["metadata/timestamp.json"]`, then ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer._crypto_signer import CryptoSigner
from tuf.api._payload import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.metadata import Metadata

from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.kept import KeptFile
from edge_runtime.lifecycle.trust.transport import Moved, NotThere, Stream
from edge_runtime.lifecycle.trust.updater import Updater

from ..disks import FaultyFiles, HandClock

TOP = ("root", "timestamp", "snapshot", "targets")
DAY_S = 86_400.0


class Simulator:
    """Also the device's `Transport`. Begins with one key a role, one release of `shelf`, everything valid for 30 days."""

    def __init__(self, clock: HandClock | None = None) -> None:
        self.clock = clock or HandClock()
        self.signers: dict[str, list[CryptoSigner]] = {role: [CryptoSigner.generate_ed25519()] for role in TOP}
        self.root = Root(1, None, self.in_days(365), {}, {role: Role([], 1) for role in TOP}, True)
        for role in TOP:
            self.root.add_key(self.signers[role][0].public_key, role)
        self.targets = Targets(1, None, self.in_days(30))
        self.snapshot = Snapshot(1, None, self.in_days(30), {"targets.json": MetaFile(1)})
        self.timestamp = Timestamp(1, None, self.in_days(30), MetaFile(1))
        self.delegates: dict[str, Targets] = {}
        self.files: dict[str, bytes] = {}
        self.served: dict[str, bytes] = {}
        """Path -> other bytes than the repository would serve."""
        self.hashes = True
        """Whether the snapshot and the timestamp give length and digest of what they list."""
        self.ranges = True
        self.roots: list[bytes] = []
        self.asked: list[str] = []
        self.publish_root(bump=False)
        self.release("1.0.0", b"first" * 100, 1)
        self.publish("targets", bump=False)

    def in_days(self, days: float) -> datetime:
        return datetime.fromtimestamp(self.clock.wall_s, UTC) + timedelta(days=days)

    def signed(self, role: str) -> Signed:
        return self.delegates[role] if role in self.delegates else getattr(self, role)  # type: ignore[no-any-return]

    def raw(self, role: str) -> bytes:
        """A role as it would be served now."""
        metadata = Metadata[Any](self.signed(role))
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def publish_root(self, bump: bool = True) -> None:
        self.root.version += bump
        self.roots.append(self.raw("root"))

    def publish(self, *roles: str, bump: bool = True) -> None:
        """New versions of roles, and of the snapshot and the timestamp above them."""
        for role in roles:
            signed = self.signed(role)
            signed.version += bump
            if role not in ("snapshot", "timestamp"):
                self.snapshot.meta[f"{role}.json"] = self._meta(role)
        if set(roles) - {"timestamp", "snapshot"}:
            self.snapshot.version += bump
        if set(roles) - {"timestamp"}:
            self.timestamp.snapshot_meta = self._meta("snapshot")
            self.timestamp.version += bump

    def release(self, version: str, raw: bytes, number: int, name: str = "shelf", role: str = "targets") -> str:
        """List a release (`publish` the role then); its path."""
        path = f"models/{name}/{name}-{version}.zip"
        self.add_file(path, raw, {"name": name, "version": version, "release": number}, role)
        return path

    def add_file(self, path: str, raw: bytes, custom: object = None, role: str = "targets") -> None:
        self.files[path] = raw
        fields = {"custom": custom} if custom is not None else None
        listing = self.signed(role)
        assert isinstance(listing, Targets)
        listing.targets[path] = TargetFile(len(raw), {"sha256": hashlib.sha256(raw).hexdigest()}, path, fields)

    def delegate(
        self, parent: str, role: str, paths: tuple[str, ...] = ("*",), last: bool = False, threshold: int = 1
    ) -> Targets:
        """A delegation, and the role if it is new; `publish` both."""
        if role not in self.delegates:
            self.delegates[role] = Targets(1, None, self.in_days(30))
            self.signers[role] = [CryptoSigner.generate_ed25519()]
            self.snapshot.meta[f"{role}.json"] = self._meta(role)
        delegator = self.signed(parent)
        assert isinstance(delegator, Targets)
        if delegator.delegations is None:
            delegator.delegations = Delegations({}, {})
        keyids = [signer.public_key.keyid for signer in self.signers[role]]
        assert delegator.delegations.roles is not None
        delegator.delegations.roles[role] = DelegatedRole(role, keyids, threshold, last, list(paths))
        for signer in self.signers[role]:
            delegator.delegations.keys[signer.public_key.keyid] = signer.public_key
        return self.delegates[role]

    def rotate(self, *roles: str) -> None:
        """New keys for top-level roles; `publish_root` then. The root is signed by the old and the new ones."""
        for role in roles:
            for keyid in list(self.root.roles[role].keyids):
                self.root.revoke_key(keyid, role)
            new = CryptoSigner.generate_ed25519()
            self.root.add_key(new.public_key, role)
            self.signers[role] = [*self.signers["root"], new] if role == "root" else [new]

    @contextmanager
    def open(self, path: str, within_s: float, first_byte: int = 0) -> Iterator[Stream]:
        self.asked.append(path)
        raw = self._file(path)
        if first_byte and not self.ranges:
            first_byte = 0
        if first_byte > len(raw):
            raise Moved(f"{path} ends before byte {first_byte}")
        rest = raw[first_byte:]
        yield Stream(first_byte, (rest[k : k + 64] for k in range(0, len(rest), 64)), len(rest))

    def _file(self, path: str) -> bytes:
        if path in self.served:
            return self.served[path]
        kind, _, rest = path.partition("/")
        if kind == "metadata":
            stem = rest.removesuffix(".json")
            version, _, role = stem.rpartition(".") if stem == "timestamp" else stem.partition(".")
            role = role or stem
            if role == "root" and 0 < int(version) <= len(self.roots):
                return self.roots[int(version) - 1]
            if role != "root" and (role in self.delegates or role in TOP):
                return self.raw(role)
        else:
            if rest in self.files and not self.root.consistent_snapshot:
                return self.files[rest]
            folder, _, name = rest.rpartition("/")
            name = name.partition(".")[2]
            whole = f"{folder}/{name}".lstrip("/")
            if whole in self.files:
                return self.files[whole]
        raise NotThere(f"no {path}")

    def _meta(self, role: str) -> MetaFile:
        version = self.signed(role).version
        if not self.hashes:
            return MetaFile(version)
        raw = self.raw(role)
        return MetaFile(version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})


class Device:
    """A device whose process may restart: `updater()` is a new one each time."""

    def __init__(self, state: Path, sim: Simulator, ceilings: Ceilings = CEILINGS) -> None:
        self.state, self.sim, self.ceilings = state, sim, ceilings
        self.enrolled = sim.roots[0]
        self.files = FaultyFiles()

    def updater(self) -> Updater:
        return Updater(self.state, self.sim, self.enrolled, self.sim.clock, self.files, self.ceilings)

    def refresh(self) -> None:
        self.updater().refresh()

    def versions(self) -> dict[str, int]:
        """Role -> version of what the device keeps."""
        kept = KeptFile(self.state / "trust" / "metadata.json", self.files, 10**7).load()
        found = {role: Metadata.from_bytes(raw.encode()).signed.version for role, raw in kept.roles.items()}
        return found | {"root": max([1, *map(int, kept.roots)])}

    def newest(self, name: str = "shelf") -> bytes:
        """The bytes of the newest release, as a device gets them."""
        updater = self.updater()
        return updater.fetch(updater.releases(name)[0]).read_bytes()
