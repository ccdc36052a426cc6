"""One walk through a repository's metadata: fetches what the rules ask for next, and notes what they accepted."""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import quote

import msgspec

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.trust.ceilings import Ceilings
from edge_runtime.lifecycle.trust.delegations import roles_for
from edge_runtime.lifecycle.trust.kept import Kept
from edge_runtime.lifecycle.trust.release import Target
from edge_runtime.lifecycle.trust.rules import Rules
from edge_runtime.lifecycle.trust.transport import NotThere, Transport, read_whole


class Session:
    """What one repository says at one moment. Raises Refused, Unavailable, TryAgain; `kept` is then still good to keep."""

    def __init__(self, rules: Rules, kept: Kept, transport: Transport, ceilings: Ceilings) -> None:
        self.rules = rules
        self.kept = msgspec.structs.replace(kept, roots={})
        """What was kept before, overlaid with what was accepted here."""
        self._before, self._transport, self._ceilings = kept, transport, ceilings
        self._deadline = 0.0
        self.renew()

    def renew(self) -> None:
        """Begin to count the time that all fetching together may take."""
        self._deadline = time.monotonic() + self._ceilings.refresh_s

    def walk_roots(self) -> None:
        """From the enrolled root to the newest, one by one: first those that are kept, then the repository's."""
        while (stored := self._before.root(self.rules.root_version + 1)) is not None and self._takes_root(stored):
            continue
        for _ in range(self._ceilings.root_rotations):
            version = self.rules.root_version + 1
            try:
                raw = self._fetch("root", version)
            except NotThere:
                return
            self.rules.take_root(raw)
            self.kept = self.kept.with_root(version, raw)
        raise TryAgain(
            f"the repository has had more than {self._ceilings.root_rotations} roots since this device last asked",
            "Try again: it goes on where it ended",
        )

    def take_timestamp(self) -> None:
        """The stored one first, then the repository's."""
        stored = self._before.role("timestamp")
        if stored is not None:
            with suppress(Refused):  # it is of keys that were given up since, or the root has expired: told below
                self.rules.take_timestamp(stored, stored=True)
        raw = self._fetch("timestamp")
        if self.rules.take_timestamp(raw):
            self.kept = self.kept.with_role("timestamp", raw)

    def take_snapshot(self) -> None:
        """The stored one if it is the one that the timestamp names; else the repository's."""
        stored = self._before.role("snapshot")
        if stored is not None:
            with suppress(Refused):  # it is superseded, and has told the rules what it forbids
                self.rules.take_snapshot(stored, stored=True)
                return
        raw = self._fetch_listed("snapshot")
        self.rules.take_snapshot(raw)
        self.kept = self.kept.with_role("snapshot", raw)

    def take_targets(self, role: str, parent: str) -> None:
        """One role's list of files, once."""
        if self.rules.has(role, parent):
            return
        stored = self._before.role(role)
        if stored is not None:
            with suppress(Refused):  # it is superseded
                self.rules.take_targets(stored, role, parent)
                return
        raw = self._fetch_listed(role)
        self.rules.take_targets(raw, role, parent)
        self.kept = self.kept.with_role(role, raw)

    def drop_unlisted(self) -> None:
        """Forget roles that the snapshot no longer lists."""
        listed = {
            role: raw
            for role, raw in self.kept.roles.items()
            if role in ("timestamp", "snapshot") or self.rules.lists(role)
        }
        self.kept = msgspec.structs.replace(self.kept, roles=listed)

    def roles_for(self, path: str) -> tuple[str, ...]:
        """The roles that may speak about a path, in order of trust, loaded."""
        return tuple(roles_for(path, self.take_targets, self.rules.delegates, self._ceilings.delegations))

    def find(self, path: str) -> tuple[Target, tuple[str, ...]] | None:
        """The most trusted word about a path, and the roles that were asked for it."""
        asked: list[str] = []
        for role in roles_for(path, self.take_targets, self.rules.delegates, self._ceilings.delegations):
            asked.append(role)
            target = self.rules.targets_of(role).get(path)
            if target is not None:
                return target, tuple(asked)
        return None

    def _takes_root(self, stored: bytes) -> bool:
        try:
            self.rules.take_root(stored)
        except Refused:
            return False
        self.kept = self.kept.with_root(self.rules.root_version, stored)
        return True

    def _fetch_listed(self, role: str) -> bytes:
        expected = self.rules.expected(role)
        return self._fetch(role, expected.version if self.rules.consistent else None, expected.bytes)

    def _fetch(self, role: str, version: int | None = None, announced: int | None = None) -> bytes:
        ceiling = self._ceilings.metadata_bytes(role)
        if announced is not None and announced > ceiling:
            raise Refused(
                f"the repository's {role} is said to have {announced} bytes, it may have {ceiling}",
                "Split the role, or raise the device's ceiling",
            )
        within_s = min(self._ceilings.metadata_s, self._deadline - time.monotonic())
        if within_s <= 0:
            raise TryAgain(f"the repository took more than {self._ceilings.refresh_s:.0f} s", "Check the network")
        name = f"{version}.{quote(role, safe='')}" if version is not None else quote(role, safe="")
        return read_whole(
            self._transport, f"metadata/{name}.json", ceiling if announced is None else announced, within_s
        )
