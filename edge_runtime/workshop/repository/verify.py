"""Does with a repository what a device does, from scratch, and looks at every file that it vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_runtime.errors import EdgeError, Unavailable
from edge_runtime.lifecycle.trust.ceilings import CEILINGS
from edge_runtime.lifecycle.trust.folder import FolderTransport
from edge_runtime.lifecycle.trust.kept import Kept
from edge_runtime.lifecycle.trust.release import Release, Target, release_of, require_plain_path
from edge_runtime.lifecycle.trust.rules import Rules
from edge_runtime.lifecycle.trust.session import Session
from edge_runtime.workshop.repository.folder import RepositoryFolder, root_versions

_BLOCK = 1_048_576
_SOON = 0.25
"""Of a signature's time: what has less left is told."""


@dataclass(frozen=True, slots=True)
class RoleView:
    """One role as it stands."""

    role: str
    version: int
    expires: str
    days_left: int
    threshold: int
    keyids: tuple[str, ...]
    files: int
    """That it lists; 0 for the roles that list none."""


@dataclass(frozen=True, slots=True)
class Verification:
    """`faults` is empty if a device that is enrolled with the root can use all of the repository."""

    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    root_version: int
    files: int
    bytes: int


def verify(folder: Path, root: Path | None = None) -> Verification:
    """Walk through the repository as a new device does. `root`: what devices are enrolled with; default: the oldest there.

    Raises Unavailable if there is no repository, or no root to begin with.
    """
    raw = _enrolled(folder, root)
    transport = FolderTransport(folder)
    faults: list[str] = []
    files = total = 0
    version = 0
    try:
        session = Session(Rules(raw, datetime.now(UTC).timestamp()), Kept(), transport, CEILINGS)
        session.walk_roots()
        version = session.rules.root_version
        if _digest_of_root(folder, version) != root_digest(folder)[1]:
            faults.append(
                f"root.json is not the newest root that devices come to, version {version}. Restore the newest root"
            )
        session.take_timestamp()
        session.take_snapshot()
        session.take_targets("targets", "root")
        for role, target in _listed(folder, session, faults):
            files, total = files + 1, total + target.bytes
            faults += _faults_of(folder, role, target)
    except Unavailable:
        raise
    except EdgeError as fault:
        faults.append(str(fault))
    return Verification(tuple(faults), tuple(_warnings(folder)), version, files, total)


def roles_of(folder: Path) -> list[RoleView]:
    """The roles as they lie there, without asking whether they are signed."""
    repository = RepositoryFolder.opened(folder)
    views = []
    for role in ("root", "timestamp", "snapshot", *repository.target_roles()):
        signed, signers = repository.signed(role), repository.signers_of(role)
        files = len(repository.listing(role).targets) if role in repository.target_roles() else 0
        left = (signed.expires - datetime.now(UTC)).days
        views.append(
            RoleView(
                role,
                signed.version,
                signed.expires.strftime("%Y-%m-%d"),
                left,
                signers.threshold,
                tuple(signers.keyids),
                files,
            )
        )
    return views


def releases_of(folder: Path) -> list[Release]:
    """Every release that is listed, by name and number."""
    repository = RepositoryFolder.opened(folder)
    found = []
    for role in repository.target_roles():
        for path, file in repository.listing(role).targets.items():
            if path.startswith("models/"):
                found.append(release_of(Target(path, file.hashes.get("sha256", ""), file.length, file.custom)))
    return sorted(found, key=lambda release: (release.name, release.release))


def root_digest(folder: Path) -> tuple[Path, str]:
    """The file that devices are enrolled with, and its sha256. Raises Unavailable."""
    path = folder / "root.json"
    try:
        return path, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Is this a repository?") from None


def _digest_of_root(folder: Path, version: int) -> str:
    """The sha256 of one root of the repository; empty if it is not there (it was enrolled from elsewhere)."""
    try:
        return hashlib.sha256((folder / "metadata" / f"{version}.root.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def _enrolled(folder: Path, root: Path | None) -> bytes:
    try:
        if root is None:
            root = folder / "metadata" / f"{root_versions(folder)[0]}.root.json"
        return root.read_bytes()
    except OSError as fault:
        raise Unavailable(f"the root {root} can not be read: {fault.strerror}", "Check the path") from None


def _listed(folder: Path, session: Session, faults: list[str]) -> Iterator[tuple[str, Target]]:
    """Every file that a role lists which may speak about it."""
    repository = RepositoryFolder.opened(folder)
    for role in repository.target_roles():
        if role != "targets":
            session.take_targets(role, "targets")
        for path, target in session.rules.targets_of(role).items():
            found = session.find(path)
            if found is None or found[0] != target:
                faults.append(f"{role} lists {path}, which it does not speak about. Publish it again")
                continue
            yield role, target


def _faults_of(folder: Path, role: str, target: Target) -> Iterator[str]:
    try:
        require_plain_path(target.path)
        if target.path.startswith("models/"):
            release_of(target)
    except EdgeError as fault:
        yield f"{role}: {fault}"
        return
    where, _, name = target.path.rpartition("/")
    path = folder / "targets" / where / f"{target.sha256}.{name}"
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as fault:
        yield f"{path} can not be read: {fault.strerror}. Publish {target.path} again"
        return
    if size != target.bytes:
        yield f"{path} has {size} bytes, {role} says {target.bytes}. Restore it, or publish it again"
    elif digest.hexdigest() != target.sha256:
        yield f"{path} has sha256 {digest.hexdigest()[:12]}, {role} says {target.sha256[:12]}. Restore it, or publish it again"


def _warnings(folder: Path) -> Iterator[str]:
    repository = RepositoryFolder.opened(folder)
    for view in roles_of(folder):
        period = repository.signed(view.role).unrecognized_fields.get("x-edge-expiry-days", 0)
        if 0 <= view.days_left < period * _SOON:
            yield f"{view.role} expires on {view.expires}, in {view.days_left} days. Run `edge-runtime repo refresh`"
