"""What an operator does to a repository: begin it, publish into it, keep it fresh, change its keys."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer._key import SSlibKey
from tuf.api._payload import DelegatedRole, Delegations, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.bundle import verify_bundle
from edge_runtime.lifecycle.trust.release import Release, model_path, require_plain_path
from edge_runtime.workshop.repository.folder import DAYS_FIELD, RepositoryFolder
from edge_runtime.workshop.repository.keys import KeyFolders
from edge_runtime.workshop.repository.plan import TOP_ROLES, Plan

RELEASES_FIELD = "x-edge-releases"
"""Model name -> the highest release number that was ever given: a number is not given twice, even after a withdrawal."""


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle in the repository; `new` is False if it was there already, byte for byte."""

    release: Release
    new: bool


def init(folder: Path, plan: Plan, keys: KeyFolders) -> RepositoryFolder:
    """A new, empty repository. Raises Refused if the folder holds one, or if the keys would lie where they are served."""
    _require_apart(folder, keys)
    repository = RepositoryFolder(folder)
    with repository.alone():
        if (folder / "metadata" / "timestamp.json").exists():
            raise Refused(f"{folder} holds a repository already", "Publish into it, or choose another folder")
        shared = keys.create("key") if plan.one_key else None
        root = Root(1, None, None, {}, {role: Role([], 1) for role in TOP_ROLES}, True, _period(plan, "root"))
        for role in TOP_ROLES:
            count = plan.root_keys if role == "root" else 1
            for number in range(count):
                label = f"{role}-{number + 1}" if count > 1 else role
                root.add_key(shared or keys.create(label), role)
        root.roles["root"].threshold = plan.root_threshold
        repository.add("root", root)
        repository.add("targets", Targets(1, None, None, {}, _delegations(plan, keys), _period(plan, "targets")))
        for delegation in plan.delegations:
            repository.add(delegation.role, Targets(1, None, None, {}, None, _period(plan, delegation.role)))
        names = ("targets", *(delegation.role for delegation in plan.delegations))
        meta = {f"{name}.json": MetaFile(1) for name in names}
        repository.add("snapshot", Snapshot(1, None, None, meta, _period(plan, "snapshot")))
        repository.add("timestamp", Timestamp(1, None, None, MetaFile(1), _period(plan, "timestamp")))
        repository.publish(keys)
    return repository


def publish(folder: Path, bundles: Sequence[Path], keys: KeyFolders, release: int | None = None) -> list[Published]:
    """Verify bundles and add them, in this order; all or none. Those that are there already are written again, byte for byte.

    `release`: the number of the first one, where it must not simply be the next. Raises Refused for a bundle that is
    not whole, for a version that is there with other bytes, and for a number that does not rise.
    """
    repository = RepositoryFolder.opened(folder)
    with repository.alone():
        repository = RepositoryFolder.opened(folder)
        done = []
        for bundle in bundles:
            done.append(_list_bundle(repository, bundle, release))
            release = None if done[-1].new else release
        for bundle, published in zip(bundles, done, strict=True):  # one that is listed too: its file may be spoiled
            repository.store_target(bundle, published.release.target, published.release.sha256)
        if any(published.new for published in done):
            repository.publish(keys)
    return done


def put_files(folder: Path, files: Mapping[str, Path], keys: KeyFolders) -> dict[str, str]:
    """Add or replace files that are no bundles (`desired/<site>/<device>.json`, `command-keys.json`), all or none.

    `files`: path for devices -> the file. Returns path -> the role that offers it. Files that are there already, byte for
    byte, cost nothing. Raises Refused for a path that is not plain or is a bundle's, Unavailable for an unreadable file.
    """
    for path in files:
        require_plain_path(path)
        if path.startswith("models/"):
            raise Refused(f"{path} is a place of bundles", "Publish bundles with `repo publish`")
    repository = RepositoryFolder.opened(folder)
    with repository.alone():
        repository = RepositoryFolder.opened(folder)
        changed = False
        for path, source in files.items():
            listing, target = repository.listing(repository.role_for(path)), _target_of(path, source)
            repository.store_target(source, path, target.hashes["sha256"])
            if listing.targets.get(path) != target:
                repository.mark(repository.role_for(path))
                listing.targets[path] = target
                changed = True
        if changed:
            repository.publish(keys)
        return {path: repository.role_for(path) for path in files}


def withdraw(folder: Path, name: str, version: str, keys: KeyFolders) -> None:
    """Offer a version no longer. Devices that run it go on; its number is not given again."""
    path = model_path(name, version)
    repository = RepositoryFolder.opened(folder)
    with repository.alone():
        repository = RepositoryFolder.opened(folder)
        role = repository.role_for(path)
        if path not in repository.listing(role).targets:
            raise Refused(f"{folder} offers no {name} {version}", "See `edge-runtime repo show`")
        repository.mark(role)
        del repository.listing(role).targets[path]
        repository.publish(keys)


def refresh(folder: Path, keys: KeyFolders) -> tuple[list[str], list[str]]:
    """Sign the timestamp anew, and every other role that needs it (half of its time has passed, or a change of keys was
    interrupted) and whose keys are at hand.

    Returns the names of the new files, and the roles that should be signed anew and whose keys are not here.
    """
    repository = RepositoryFolder.opened(folder)
    with repository.alone():
        repository = RepositoryFolder.opened(folder)
        repository.mark("timestamp")
        waiting = []
        old_root = copy.deepcopy(repository.root)
        for role in ("root", *repository.target_roles(), "snapshot"):
            if not _is_past_half(repository, role) and repository.is_signed(role):
                continue
            signers = repository.signers_of(role)
            if len(keys.signers(signers.keyids)) >= signers.threshold:
                repository.mark(role)
            else:
                waiting.append(role)
        return repository.publish(keys, old_root), waiting


def rotate(folder: Path, roles: Sequence[str], keys: KeyFolders, only: str = "") -> list[Path]:
    """New keys for roles (all of a role's keys, or the one whose id begins with `only`); where the old files lie now.

    What the roles sign is signed anew, so that nothing that the old keys signed is left to be believed. Raises Refused
    if the keys at hand can not sign, or would lie where they are served. If the disk fails in the middle `refresh` finishes it: both keys are at hand still.
    """
    _require_apart(folder, keys)
    repository = RepositoryFolder.opened(folder)
    with repository.alone():
        repository = RepositoryFolder.opened(folder)
        old_root = copy.deepcopy(repository.root)
        known = (*TOP_ROLES, *repository.delegations())
        unknown = [role for role in roles if role not in known]
        if unknown:
            raise Refused(f"the repository has no role {unknown[0]}", f"Its roles: {', '.join(known)}")
        made: dict[str, SSlibKey] = {}
        try:
            for role in roles:
                _renew_keys(repository, role, keys, only, made)
            repository.publish(keys, old_root)
        except (
            Refused
        ):  # nothing is written then; after a failure of the disk a root that names the new keys may be out
            keys.forget(key.keyid for key in made.values())
            raise
        in_use = {keyid for role in known for keyid in repository.signers_of(role).keyids}
        return keys.retire(sorted(set(made) - in_use))


def _require_apart(folder: Path, keys: KeyFolders) -> None:
    if any(folder.resolve() == kept or folder.resolve() in kept.parents for kept in map(Path.resolve, keys.folders)):
        raise Refused("the keys would lie in the folder that is served", "Name another folder with --keys")


def _renew_keys(
    repository: RepositoryFolder, role: str, keys: KeyFolders, only: str, made: dict[str, SSlibKey]
) -> None:
    """`made`: old key id -> the key that takes its place, in whichever roles it was."""
    leaving = [keyid for keyid in repository.signers_of(role).keyids if keyid.startswith(only)]
    if not leaving:
        raise Refused(f"{role} has no key {only}", "See `edge-runtime repo show`")
    delegated = role in repository.delegations()
    delegator: Root | Targets = repository.targets if delegated else repository.root
    repository.mark("targets" if delegated else "root")
    repository.mark(role)
    for keyid in leaving:
        if keyid not in made:
            made[keyid] = keys.create(role)
        delegator.revoke_key(keyid, role)
        delegator.add_key(made[keyid], role)


def _list_bundle(repository: RepositoryFolder, bundle: Path, number: int | None) -> Published:
    report = verify_bundle(bundle)
    path = model_path(report.id.name, report.id.version)
    role = repository.role_for(path)
    listing = repository.listing(role)
    there = listing.targets.get(path)
    if there is not None:
        if there.hashes["sha256"] != report.id.sha256:
            raise Refused(
                f"{report.id.name} {report.id.version} is published already, with other bytes (sha256 {there.hashes['sha256'][:12]})",
                "Pack it as a new version: what devices may have installed does not change",
            )
        custom = there.custom
        return Published(_release(custom["release"], report.id.sha256, there.length, path, custom), False)
    repository.mark(role)
    highest = listing.unrecognized_fields.setdefault(RELEASES_FIELD, {})
    last = highest.get(report.id.name, 0)
    if number is not None and number <= last:
        raise Refused(
            f"{report.id.name} has had release {last}; release {number} is not above it", "Choose a higher one"
        )
    highest[report.id.name] = number or last + 1
    custom = {"name": report.id.name, "version": report.id.version, "release": highest[report.id.name]}
    listing.targets[path] = TargetFile(report.bytes, {"sha256": report.id.sha256}, path, {"custom": custom})
    return Published(_release(custom["release"], report.id.sha256, report.bytes, path, custom), True)


def _target_of(path: str, source: Path) -> TargetFile:
    try:
        return TargetFile.from_data(path, io.BytesIO(source.read_bytes()), ["sha256"])
    except OSError as fault:
        raise Unavailable(f"{source} can not be read: {fault.strerror}", "Check the path and its rights") from None


def _release(number: int, sha256: str, size: int, path: str, custom: dict[str, str]) -> Release:
    return Release(custom["name"], custom["version"], number, sha256, size, path)


def _delegations(plan: Plan, keys: KeyFolders) -> Delegations | None:
    if not plan.delegations:
        return None
    held: dict[str, SSlibKey] = {}
    roles = {}
    for delegation in plan.delegations:
        key = keys.create(delegation.role)
        held[key.keyid] = key
        roles[delegation.role] = DelegatedRole(delegation.role, [key.keyid], 1, True, list(delegation.paths))
    return Delegations(dict(held), roles)


def _period(plan: Plan, role: str) -> dict[str, int]:
    return {DAYS_FIELD: plan.days_of(role)}


def _is_past_half(repository: RepositoryFolder, role: str) -> bool:
    return datetime.now(UTC) + repository.period(role) / 2 >= repository.signed(role).expires
