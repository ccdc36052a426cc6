"""A repository on the operator's disk: reads what is there, signs what changed, and publishes so that readers never see half.

Files that carry their version or digest in their names are written first, `timestamp.json` last, each by rename: who
reads meanwhile sees the old repository or the new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tuf.api._payload import DelegatedRole, MetaFile, Role, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.files import DiskFiles, Files

if TYPE_CHECKING:
    from edge_runtime.workshop.repository.keys import KeyFolders

DAYS_FIELD = "x-edge-expiry-days"
MAX_DAYS = 36_500
_LOCK_WAIT_S = 5.0
_BLOCK = 1_048_576


class RepositoryFolder:
    """All metadata of the newest state, by role, and which of it changed.

    Change `role(...)`'s signed part, `mark` it, then `publish`. Raises Unavailable if there is no repository, Refused
    if a file is malformed.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder
        self._files: Files = files or DiskFiles()
        self._roles: dict[str, Metadata[Any]] = {}
        self._changed: set[str] = set()

    @classmethod
    def opened(cls, folder: Path, files: Files | None = None) -> RepositoryFolder:
        """The repository in a folder."""
        opened = cls(folder, files)
        opened._load("root", root_versions(folder)[-1])
        opened._load("timestamp", None)
        opened._load("snapshot", opened.timestamp.snapshot_meta.version)
        for name, meta in sorted(opened.snapshot.meta.items()):
            opened._load(name.removesuffix(".json"), meta.version)
        return opened

    @property
    def root(self) -> Root:
        return cast("Root", self._roles["root"].signed)

    @property
    def timestamp(self) -> Timestamp:
        return cast("Timestamp", self._roles["timestamp"].signed)

    @property
    def snapshot(self) -> Snapshot:
        return cast("Snapshot", self._roles["snapshot"].signed)

    @property
    def targets(self) -> Targets:
        return cast("Targets", self._roles["targets"].signed)

    def target_roles(self) -> tuple[str, ...]:
        """`targets` and those that it delegates to."""
        return ("targets", *self.delegations())

    def delegations(self) -> dict[str, DelegatedRole]:
        """The delegated roles, in order of trust."""
        return dict(self.targets.delegations.roles or {}) if self.targets.delegations else {}

    def listing(self, role: str) -> Targets:
        """What a role lists."""
        return cast("Targets", self._roles[role].signed)

    def signed(self, role: str) -> Signed:
        return cast("Signed", self._roles[role].signed)

    def signers_of(self, role: str) -> Role:
        """Who signs a role."""
        delegated = self.delegations()
        return delegated[role] if role in delegated else self.root.roles[role]

    def is_signed(self, role: str) -> bool:
        """Whether what lies there carries the signatures that it needs now."""
        delegator: Root | Targets = self.targets if role in self.delegations() else self.root
        metadata = self._roles[role]
        return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))

    def role_for(self, path: str) -> str:
        """Which role speaks about a path."""
        for name, role in self.delegations().items():
            if role.is_delegated_path(path):
                return name
        return "targets"

    def add(self, role: str, signed: Signed) -> None:
        """A role that was not there. Its first version is the one that it has."""
        self._roles[role] = Metadata(signed)
        self._changed.add(role)

    def mark(self, role: str) -> None:
        """The role gets a new version."""
        if role not in self._changed:
            self._changed.add(role)
            self._roles[role].signed.version += 1

    def store_target(self, source: Path, path: str, sha256: str) -> None:
        """Copy a file to where readers look for it. Raises Refused if its bytes are not those of `sha256`."""
        folder, _, name = path.rpartition("/")
        place = self.folder / "targets" / folder / f"{sha256}.{name}"
        digest = hashlib.sha256()
        with self._disk(place):
            self._files.make_folder(place.parent)
            beside = place.with_name(place.name + ".new")
            self._files.write(beside, _digested(source, digest))
            if digest.hexdigest() != sha256:
                self._files.remove(beside)
                raise Refused(f"{source} changed while it was read", "Publish it again when nobody writes it")
            self._files.rename(beside, place)
            self._files.sync_folder(place.parent)

    def publish(self, keys: KeyFolders, old_root: Root | None = None) -> list[str]:
        """Sign and write what changed, with the snapshot and the timestamp above it; the names of the new files.

        `old_root`: the root before a change of keys, which must sign the new one too. Raises Refused before anything is
        written if keys are missing.
        """
        if self._changed - {"root", "timestamp", "snapshot"}:
            self.mark("snapshot")
        if "snapshot" in self._changed:
            self.mark("timestamp")
        order = [role for role in ("root", *self.target_roles(), "snapshot", "timestamp") if role in self._changed]
        raws: dict[str, bytes] = {}
        for role in order:
            self._settle(role, raws)
            raws[role] = self._sign(role, keys, old_root)
        with self._disk(self.folder):
            self._files.make_folder(self.folder / "metadata")
            for role in sorted(raws, key=("root", "timestamp").__contains__):  # a root counts as soon as it is there
                self._replace(self._place(role), raws[role])
            newest = self._place("root").read_bytes()
            if not _holds(self.folder / "root.json", newest):  # also if a change of keys ended before this
                self._replace(self.folder / "root.json", newest)
        self._changed.clear()
        return [self._place(role).name for role in order]

    def period(self, role: str) -> timedelta:
        """For how long a signature of a role is good. Raises Refused if the role does not say, as those of other tools."""
        days = self.signed(role).unrecognized_fields.get(DAYS_FIELD)
        if not isinstance(days, int) or not 1 <= days <= MAX_DAYS:
            raise Refused(
                f"the {role} of {self.folder} does not say for how many days it is signed ({DAYS_FIELD})",
                "Change a repository with the tool that made it, or begin one: `edge-runtime repo init`",
            )
        return timedelta(days=days)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes the repository meanwhile. Raises TryAgain."""
        with self._disk(self.folder):
            self._files.make_folder(self.folder)
            lock = self._files.lock(self.folder / ".lock", _LOCK_WAIT_S)
            try:
                lock.__enter__()
            except BlockingIOError:
                raise TryAgain(f"somebody else changes {self.folder} now", "Wait for them, then try again") from None
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def _load(self, role: str, version: int | None) -> None:
        path = self.folder / "metadata" / (f"{version}.{role}.json" if version is not None else f"{role}.json")
        try:
            self._roles[role] = Metadata.from_bytes(path.read_bytes())
        except OSError as fault:
            raise Unavailable(
                f"{path} can not be read: {fault.strerror}", "Restore the repository from its backup"
            ) from None
        except RepositoryError as fault:
            raise Refused(
                f"{path} is malformed: {fault.__cause__ or fault}", "Restore the repository from its backup"
            ) from None

    def _settle(self, role: str, raws: dict[str, bytes]) -> None:
        """Expiry, and what the roles above say about those below."""
        self._roles[role].signed.expires = datetime.now(UTC) + self.period(role)
        if role == "snapshot":
            for name in self.target_roles():
                if name in raws:
                    self.snapshot.meta[f"{name}.json"] = _meta_of(self.listing(name).version, raws[name])
        if role == "timestamp" and "snapshot" in raws:
            self.timestamp.snapshot_meta = _meta_of(self.snapshot.version, raws["snapshot"])

    def _sign(self, role: str, keys: KeyFolders, old_root: Root | None) -> bytes:
        metadata = self._roles[role]
        metadata.signatures.clear()
        asked = [self.signers_of(role)] + ([old_root.roles["root"]] if role == "root" and old_root else [])
        for signers in asked:
            held = keys.signers(signers.keyids)
            if len(held) < signers.threshold:
                raise _missing(role, signers, len(held), keys)
            for signer in held:
                metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _place(self, role: str) -> Path:
        name = "timestamp.json" if role == "timestamp" else f"{self._roles[role].signed.version}.{role}.json"
        return self.folder / "metadata" / name

    def _replace(self, path: Path, raw: bytes) -> None:
        beside = path.with_name(path.name + ".new")
        self._files.write(beside, [raw])
        self._files.rename(beside, path)
        self._files.sync_folder(path.parent)

    @contextmanager
    def _disk(self, path: Path) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as fault:
            raise Unavailable(
                f"{fault.filename or path} can not be written: {fault.strerror}",
                "Check the path, its rights and its disk",
            ) from None


def root_versions(folder: Path) -> list[int]:
    """Of all roots that lie there, oldest first; at least one. Raises Unavailable if there is no repository."""
    names = (path.name.removesuffix(".root.json") for path in (folder / "metadata").glob("[0-9]*.root.json"))
    versions = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
    if not versions:
        raise Unavailable(f"there is no repository in {folder}", f"Make one: edge-runtime repo init {folder}")
    return versions


def _holds(path: Path, raw: bytes) -> bool:
    return path.is_file() and path.read_bytes() == raw


def _meta_of(version: int, raw: bytes) -> MetaFile:
    return MetaFile(version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})


def _missing(role: str, signers: Role, held: int, keys: KeyFolders) -> Refused:
    absent = ", ".join(keyid[:8] for keyid in signers.keyids if keys.path(keyid) is None)
    return Refused(
        f"{role} needs {signers.threshold} of its {len(signers.keyids)} keys, {held} are at hand (missing: {absent})",
        f"Bring their .pem files into {keys.folders[0]}, or name their folder with --keys",
    )


def _digested(source: Path, digest: Any) -> Iterable[bytes]:
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            yield block
