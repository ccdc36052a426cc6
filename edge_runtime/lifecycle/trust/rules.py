"""The rule-keeper: takes bytes that a repository offered, and says what may be trusted or raises. No disk, no network.

The only file of the device that knows python-tuf. Order, signatures, thresholds, versions and expiry are its
`TrustedMetadataSet`'s; what is added is that one key counts once, however many names it has, and that every failure is
`Refused` with what was found and how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from tuf.api._payload import MetaFile, Role, Root, Signed, Targets
from tuf.api.exceptions import (
    BadVersionNumberError,
    EqualVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.release import Target

_DIGEST = re.compile("[0-9a-f]{64}")
_ASK = "Tell whoever keeps the repository: `edge-runtime repo verify` says what is wrong there"
_WHOSE = "Check that [model] root is this very repository's root.json; if so, let its keeper look: `edge-runtime repo verify`"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the metadata above says about a file of metadata."""

    version: int
    bytes: int | None


class Rules:
    """What is trusted, grown in the one order that is allowed: roots, timestamp, snapshot, targets, delegated roles.

    Every `take_` raises Refused and then trusts what it trusted before. `stored` marks bytes that this device had
    verified earlier: they may have expired or been superseded, and still forbid going back.
    """

    def __init__(self, root: bytes, reference_s: float) -> None:
        with _judged("root", "Enrol this device with the repository's root.json"):
            self._set = TrustedMetadataSet(root, EnvelopeType.METADATA)
            _require_distinct_keys(self._set.root)
        self.set_time(reference_s)

    def set_time(self, reference_s: float) -> None:
        """Judge expiry by this time from now on; seconds since 1970."""
        self._set.reference_time = datetime.fromtimestamp(reference_s, UTC)

    @property
    def root_version(self) -> int:
        return self._set.root.version

    @property
    def consistent(self) -> bool:
        """Whether files carry their version or digest in their names."""
        return bool(self._set.root.consistent_snapshot)

    @property
    def timestamp_version(self) -> int:
        """0 if none is trusted."""
        return self._set.timestamp.version if "timestamp" in self._set else 0

    @property
    def expires_s(self) -> float:
        """When the timestamp expires; seconds since 1970."""
        return self._set.timestamp.expires.timestamp()

    def take_root(self, raw: bytes) -> None:
        """The next root, signed by the threshold of the one before and by its own."""
        before = self._set.root
        with _judged("root"):
            self._set.update_root(raw)
            try:
                _require_distinct_keys(self._set.root)
            except RepositoryError:
                self._set._trusted_set["root"] = before
                raise

    def take_timestamp(self, raw: bytes, stored: bool = False) -> bool:
        """False if it is the one that is trusted already."""
        with _judged("timestamp"):
            try:
                self._set.update_timestamp(raw)
            except EqualVersionNumberError:
                return False
            except ExpiredMetadataError:
                if not stored:
                    raise
        return True

    def take_snapshot(self, raw: bytes, stored: bool = False) -> None:
        """Raises Refused for a stored one that is not the newest; it then still forbids going back behind it."""
        with _judged("snapshot"):
            self._set.update_snapshot(raw, trusted=stored)

    def take_targets(self, raw: bytes, role: str, parent: str) -> None:
        """A role's list of files, for one of the roles that delegate to it."""
        with _judged(role):
            targets = self._set.update_delegated_targets(raw, role, parent)
            try:
                _require_distinct_keys(targets)
            except RepositoryError:
                self._set._trusted_set.pop(role)
                self._set._trusted_delegations.discard((parent, role))
                raise

    def has(self, role: str, parent: str) -> bool:
        return self._set.contains(role, parent)

    def holds(self, role: str) -> bool:
        return role in self._set

    def lists(self, role: str) -> bool:
        """Whether the snapshot lists a role."""
        return f"{role}.json" in self._set.snapshot.meta

    def expected(self, role: str) -> Expected:
        """What to fetch for a role. Raises Refused if the snapshot does not list it."""
        listed: dict[str, MetaFile] = {} if role == "snapshot" else self._set.snapshot.meta
        meta = self._set.timestamp.snapshot_meta if role == "snapshot" else listed.get(f"{role}.json")
        if meta is None:
            raise Refused(f"the snapshot does not list the role {role!r} that is delegated to", _ASK)
        return Expected(meta.version, meta.length)

    def targets_of(self, role: str) -> dict[str, Target]:
        """The files that a role lists, by path. Files without a sha256 are left out: nothing could be verified, and the
        digest becomes a name on the disk."""
        listed = self._targets(role).targets.items()
        return {
            path: Target(path, file.hashes["sha256"], file.length, file.custom)
            for path, file in listed
            if _DIGEST.fullmatch(file.hashes.get("sha256", ""))
        }

    def delegates(self, role: str, path: str) -> tuple[tuple[str, bool], ...]:
        """The roles that `role` lets speak about `path`, in order of trust, each with whether it has the last word."""
        delegations = self._targets(role).delegations
        return tuple(delegations.get_roles_for_target(path)) if delegations is not None else ()

    def expired(self, role: str) -> bool:
        """Whether a trusted role has expired by the time that was set."""
        return bool(self._set[role].is_expired(self._set.reference_time))

    def require_current(self, roles: tuple[str, ...]) -> None:
        """Raises Refused if any of the roles (or those above them) has expired by the time that was set."""
        for role in ("root", "timestamp", "snapshot", *roles):
            if self._set[role].is_expired(self._set.reference_time):
                raise _expired(role, self._set[role], self._set.reference_time)

    def _targets(self, role: str) -> Targets:
        return cast("Targets", self._set[role])


@contextmanager
def _judged(role: str, mend: str = _ASK) -> Iterator[None]:
    """The one place where the vendor's exceptions end."""
    try:
        yield
    except ExpiredMetadataError as fault:
        raise Refused(
            f"the repository's {role} is not accepted: {fault}",
            "Have the repository refreshed (`edge-runtime repo refresh`), and check this device's clock",
        ) from None
    except UnsignedMetadataError as fault:
        asked = _WHOSE if mend == _ASK else mend
        raise Refused(f"the repository's {role} is not accepted: {fault}", asked) from None
    except (LengthOrHashMismatchError, BadVersionNumberError) as fault:
        raise Refused(f"the repository's {role} is not accepted: {fault}", mend) from None
    except (DeserializationError, RepositoryError, ValueError, TypeError, KeyError, OverflowError) as fault:
        cause = fault.__cause__ or fault
        said = f"{type(cause).__name__} {cause}"[:200]
        raise Refused(f"the repository's {role} is malformed: {said}", mend) from None


def _expired(role: str, signed: Signed, reference: datetime) -> Refused:
    return Refused(
        f"the repository's {role} expired at {signed.expires:%Y-%m-%d %H:%M}; it is taken to be {reference:%Y-%m-%d %H:%M}",
        "Have the repository refreshed (`edge-runtime repo refresh`), and check this device's clock",
    )


def _require_distinct_keys(delegator: Root | Targets) -> None:
    """A threshold counts people, not names of keys. Raises RepositoryError."""
    if isinstance(delegator, Root):
        keys, roles = delegator.keys, delegator.roles.items()
    elif delegator.delegations is None or delegator.delegations.roles is None:
        return
    else:
        keys = delegator.delegations.keys
        roles = cast("dict[str, Role]", delegator.delegations.roles).items()
    for name, role in roles:
        values = [keys[keyid].keyval.get("public") for keyid in role.keyids if keyid in keys]
        if len(set(values)) != len(values):
            raise RepositoryError(f"the role {name} names one key twice")
