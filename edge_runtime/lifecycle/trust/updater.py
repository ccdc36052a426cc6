"""What this device may install: the releases and files of its repository, as far as they can be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.clock import Clock, SystemClock
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust.addresses import open_repository
from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.kept import KeptFile
from edge_runtime.lifecycle.trust.release import Release, Target, model_path, release_of, require_plain_path
from edge_runtime.lifecycle.trust.staging import Progress, Staging
from edge_runtime.lifecycle.trust.transport import NotThere, Transport, read_whole

if TYPE_CHECKING:
    from edge_runtime.lifecycle.trust.session import Session

_LAST_S = 253_402_300_000.0
"""The end of the year 9999, which is as far as dates go."""


class Updater:
    """The repository's side of an update. Every failure is Refused, Unavailable or TryAgain; none touches what runs.

    `repository` is an address (http, https, file, a path) or a `Transport`; `root` the bytes of the root.json that this
    device was enrolled with, the one thing that is trusted without proof. One object belongs to one thread; several
    processes of a device wait for each other.
    """

    def __init__(
        self,
        state_dir: Path,
        repository: str | Transport,
        root: bytes,
        clock: Clock | None = None,
        files: Files | None = None,
        ceilings: Ceilings = CEILINGS,
    ) -> None:
        self._transport = open_repository(repository, ceilings) if isinstance(repository, str) else repository
        self._root, self._anchor = root, hashlib.sha256(root).hexdigest()
        self._clock: Clock = clock or SystemClock()
        self._files: Files = files or DiskFiles()
        self._ceilings = ceilings
        self._folder = state_dir / "trust"
        self._kept = KeptFile(self._folder / "metadata.json", self._files, ceilings.kept_bytes)
        self._staging = Staging(state_dir / "staging", self._files, ceilings)
        self.floors = Floors(state_dir, self._files)
        self._session: Session | None = None
        self._skipped: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what this device keeps, and with what the repository lists; in words."""
        return tuple(text for text in (self._kept.problem, self.floors.problem, *self._skipped) if text)

    def refresh(self) -> None:
        """Ask the repository what is new. What was verified is kept even if a later step fails."""
        with self._alone():
            self._refresh()

    def releases(self, name: str) -> tuple[Release, ...]:
        """The versions of a model that the repository offers, newest first; refreshes if that was not done yet.

        A version below this device's floor is listed too; `fetch` refuses it. A malformed line is left out and told in
        `problems`.
        """
        found, skipped = [], []
        with self._alone():
            session = self._current()
            for path in self._paths_of(session, name):
                offered = session.find(path)
                if offered is None:
                    continue
                try:
                    found.append(release_of(offered[0]))
                except Refused as fault:
                    skipped.append(fault.found)
            self._keep(session)
        self._skipped = tuple(skipped)
        return tuple(sorted(found, key=lambda release: (release.release, release.version), reverse=True))

    def fetch(self, release: Release, progress: Progress | None = None) -> Path:
        """Download a release into `<state>/staging/`: a whole, verified file. `discard` it once it is installed.

        `progress` may raise to end the download; what has come stays, and the next attempt goes on there.
        Raises Refused if it is below the floor of its name, no longer offered as it was, or not the bytes that are
        vouched for.
        """
        with self._alone():
            target = self._find(release.target)
            if release_of(target) != release:
                raise Refused(f"{release.target} is not offered as it was", "List the releases again")
            self._require_above_floor(release)
            return self._staging.fetch(self._transport, self._path_of(target), target, progress)

    def discard(self, release: Release) -> None:
        """Remove the download of a release, once it is installed."""
        self._staging.discard(release.sha256)

    def read_target(self, path: str, max_bytes: int) -> bytes:
        """A small file of the repository, verified. Raises NotThere (Unavailable) if it lists none of that path."""
        with self._alone():
            target = self._find(path)
            if target.bytes > max_bytes:
                raise Refused(f"{path} has {target.bytes} bytes, it may have {max_bytes}", "Publish a smaller one")
            raw = read_whole(self._transport, self._path_of(target), target.bytes, self._ceilings.metadata_s)
        if hashlib.sha256(raw).hexdigest() != target.sha256:
            raise Refused(
                f"{path} of the repository is not the file that it vouches for",
                "Have the repository checked: `edge-runtime repo verify`",
            )
        return raw

    def _refresh(self) -> None:
        from edge_runtime.lifecycle.trust.rules import Rules
        from edge_runtime.lifecycle.trust.session import Session

        self._session = None
        reference_s = self._reference_s()
        rules = Rules(self._root, reference_s)
        session = Session(rules, self._kept.load(), self._transport, self._ceilings)
        try:
            session.walk_roots()
            self._require_newest_root(rules.root_version)
            session.take_timestamp()
            session.take_snapshot()
            session.take_targets("targets", "root")
            session.drop_unlisted()
        finally:
            self._keep(session)
        self._raise_floors(rules.root_version, min(self._clock.now().wall_s, rules.expires_s))
        self._session = session

    def _current(self) -> Session:
        """The session, refreshed if there is none or it has expired since."""
        reference_s = self._reference_s()
        session = self._session
        if session is not None:
            session.rules.set_time(reference_s)
            if not any(session.rules.expired(role) for role in ("root", "timestamp", "snapshot", "targets")):
                session.renew()
                return session
        self._refresh()
        assert self._session is not None
        return self._session

    def _find(self, path: str) -> Target:
        require_plain_path(path)
        session = self._current()
        found = session.find(path)
        self._keep(session)
        if found is None:
            raise NotThere(f"the repository lists no {path}", "Publish it, or look for another")
        target, asked = found
        session.rules.require_current(asked)
        if target.bytes > self._ceilings.target_bytes:
            raise Refused(
                f"{path} is said to have {target.bytes} bytes, it may have {self._ceilings.target_bytes}",
                "Publish a smaller one",
            )
        return target

    def _paths_of(self, session: Session, name: str) -> list[str]:
        """Every path of a model that any role lists that may speak about that model."""
        roles = session.roles_for(model_path(name, "0"))
        listed = {path: None for role in roles for path in session.rules.targets_of(role)}
        return [path for path in listed if path.startswith(f"models/{name}/")]

    def _path_of(self, target: Target) -> str:
        """Where the bytes lie."""
        folder, _, file = target.path.rpartition("/")
        prefix = f"{target.sha256}." if self._session is not None and self._session.rules.consistent else ""
        return "/".join(part for part in ("targets", folder, prefix + file) if part)

    def _reference_s(self) -> float:
        """The time by which expiry is judged. Raises TryAgain if the clock stands before what is known for sure."""
        if self.floors.unreadable:
            raise TryAgain(self.floors.problem, "Look at the disk and its rights")
        wall_s, floor_s = self._clock.now().wall_s, self.floors.time_s
        if wall_s < floor_s - self._ceilings.clock_slack_s:
            raise TryAgain(
                f"the clock says {_date(wall_s)}, and it is at least {_date(floor_s)}; nothing is installed by a wrong clock",
                "Set the clock (`timedatectl set-ntp true`)",
            )
        return min(max(wall_s, floor_s), _LAST_S)

    def _require_newest_root(self, version: int) -> None:
        floor = self.floors.root(self._anchor)
        if version < floor:
            raise Refused(
                f"the repository's newest root is version {version}; this device has trusted version {floor}",
                "Bring the repository up to date; it is an old copy, or somebody withholds the newer roots",
            )

    def _require_above_floor(self, release: Release) -> None:
        floor = self.floors.release(release.name)
        if release.release < floor:
            raise Refused(
                f"{release.name} {release.version} is release {release.release}; this device has run release {floor}",
                f"Publish it again as a new version (`repo publish`; in a new repository with --release {floor + 1})",
            )

    def _raise_floors(self, root_version: int, time_s: float) -> None:
        """Time in strides, so that a device that asks every minute does not write every minute."""
        if root_version > self.floors.root(self._anchor):
            self.floors.raise_root(self._anchor, root_version)
        if time_s > self.floors.time_s + self._ceilings.clock_slack_s:
            self.floors.raise_time(time_s)
        self.floors.mend()

    def _keep(self, session: Session) -> None:
        """Bring what was accepted to the disk, if it is new there. Raises TryAgain."""
        if session.kept != self._kept.load() or self._kept.problem:
            self._kept.save(session.kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process of this device is at the same work."""
        try:
            self._files.make_folder(self._folder)
            lock = self._files.lock(self._folder / "updater.lock", self._ceilings.lock_wait_s)
            lock.__enter__()
        except BlockingIOError:
            raise TryAgain("another process of this device is updating", "Wait for it, or try again") from None
        except OSError as fault:
            raise TryAgain(
                f"{self._folder} can not be written: {fault.strerror}", "Free the disk, or make it writable"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):  # what was done is done
                lock.__exit__(None, None, None)


def _date(wall_s: float) -> str:
    return datetime.fromtimestamp(min(max(wall_s, 0.0), _LAST_S), UTC).strftime("%Y-%m-%d %H:%M")
