"""What people may do with the models of one device: one set of operations behind the command line and MQTT.

Everything here works on the store alone and may run in any process; a daemon that runs notices the change of the store
and takes it over between two frames. Only bundles that the device's own repository vouches for come in, whoever asks;
a bundle file comes in by hand, on a device that was told that it is one for development.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_runtime.daemon.proof import Proof
from edge_runtime.daemon.terms import Terms, write_terms
from edge_runtime.errors import ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.bundle import Bundle, verify_bundle
from edge_runtime.lifecycle.entries import Entry
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.state_file import Candidate, Step
from edge_runtime.lifecycle.trust.release import Release
from edge_runtime.records import ModelId

log = logging.getLogger(__name__)

MIN_PREFIX = 6
"""Digits of a digest that may name a bundle, at least."""
_LIST = "See `edge-runtime model list`"


class Store(Protocol):
    """What the desk needs of `lifecycle.store.ModelStore`."""

    @property
    def candidate(self) -> Candidate | None: ...
    @property
    def history(self) -> tuple[Step, ...]: ...
    def current(self) -> Bundle | None: ...
    def list(self) -> tuple[Entry, ...]: ...
    def path(self, sha256: str) -> Path: ...
    def install(self, path: Path, origin: Origin = ...) -> ModelId: ...
    def shadow(self, model: ModelId, reason: str = ...) -> ModelId: ...
    def try_out(self, model: ModelId, reason: str = ...) -> ModelId: ...
    def commit(self, running: str, reason: str = ...) -> ModelId: ...
    def rollback(
        self, reason: str, quarantine: bool = ..., running: str = ..., insist: bool = ...
    ) -> ModelId | None: ...
    def quarantine(self, sha256: str, reason: str) -> ModelId | None: ...
    def release(self, sha256: str) -> None: ...
    def note_proof(self, sha256: str, variant: str, said: str) -> None: ...


class Source(Protocol):
    """The repository that this device trusts (`lifecycle.trust.updater.Updater`)."""

    def refresh(self) -> None: ...
    def releases(self, name: str) -> Sequence[Release]:
        """Newest first."""
        ...

    def fetch(self, release: Release, progress: Callable[[int, int], None] | None = ...) -> Path:
        """A whole, verified file in the staging folder; an interrupted download is gone on with."""
        ...

    def discard(self, release: Release) -> None:
        """Remove the download."""
        ...


@dataclass(frozen=True, slots=True)
class Began:
    """What came of an activation."""

    model: ModelId
    phase: str
    """`shadow`, `trial` or `committed`."""
    variant: str
    said: str
    """Why this variant, in words."""


class ModelDesk:
    """The operations. Each raises the errors of the store, the repository and the proof as they are."""

    def __init__(
        self,
        store: Store,
        state_dir: Path,
        name: str,
        prove: Callable[[Path], Proof],
        open_source: Callable[[], Source],
        source: str = "",
        tell: Callable[[str], None] = log.info,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`name`: the model that this device is for; `source`: its repository, for people; `tell`: what is being done;
        `progress`: bytes that are here, and that there will be."""
        self._store = store
        self._state_dir = state_dir
        self._name = name
        self._prove = prove
        self._open_source = open_source
        self._source = source
        self._tell = tell
        self._progress = progress

    def install_release(self, name: str = "", version: str = "") -> ModelId:
        """Fetch a release from the repository, without running it; by default the newest of the device's own model.

        Raises Refused (nothing trusted by that name, below the floor, quarantined, not what it says to be),
        Unavailable (no repository, or it does not answer), TryAgain.
        """
        name = name or self._name
        self._tell(f"asking the repository for {name} {version or '(the newest)'}")
        source = self._open_source()
        source.refresh()
        return self._fetch(source, _pick(source.releases(name), name, version))

    def install_file(self, path: Path, who: str = "by hand") -> ModelId:
        """Copy an unsigned bundle in. Raises Refused unless the store was opened for development."""
        model = self._store.install(path, Origin("unsigned", 0, f"{path.name}, {who}"))
        log.warning("%s %s is UNSIGNED: nobody vouches for it; for development only", model.name, model.version)
        return model

    def newest(self) -> ModelId | None:
        """The newest release of the device's own model, installed, if it was never tried here; None if there is none, or
        while another is in trial. One that is here and could not be tried yet (a busy device, a full disk) is named again."""
        source = self._open_source()
        source.refresh()
        offered = source.releases(self._name)
        if not offered or self._in_trial() is not None:
            return None
        here = next((entry for entry in self._store.list() if entry.sha256 == offered[0].sha256), None)
        if here is None or here.status == "damaged":
            return self._fetch(source, offered[0])
        tried = any(step.sha256 == here.sha256 and step.phase != "staged" for step in self._store.history)
        return ModelId(here.name, here.version, here.sha256) if here.status == "staged" and not tried else None

    def find(self, sha256: str = "", name: str = "", version: str = "") -> Entry:
        """The one bundle on this device that is meant. Raises Refused, saying which there are."""
        entries = self._store.list()
        if sha256:
            found = [entry for entry in entries if len(sha256) >= MIN_PREFIX and entry.sha256.startswith(sha256)]
        else:
            found = [entry for entry in entries if (entry.name, entry.version) == (name or self._name, version)]
        if len(found) == 1:
            return found[0]
        asked = sha256 or f"{name or self._name} {version}"
        here = ", ".join(f"{entry.name} {entry.version} ({entry.sha256[:12]})" for entry in (found or entries)[:8])
        if found:
            raise Refused(f"{asked} could be {len(found)} bundles: {here}", "Name it by its digest")
        raise Refused(
            f"{asked} is not on this device; there is {here or 'nothing'}",
            "Name one of these by its digest or as name-version, or fetch it: `edge-runtime model install`",
        )

    def activate(self, entry: Entry, terms: Terms, why: str) -> Began:
        """Prove a bundle on this device, then let it in beside the current model, or in its place on trial.

        Raises ModelFault if it can not run here (it is quarantined then), Refused, TryAgain, Unavailable.
        """
        trying = self._in_trial()
        if trying is not None and trying.sha256 != entry.sha256:  # told before its terms are written over
            raise TryAgain(f"{trying.name} {trying.version} is in trial", "Wait for its end, or roll it back")
        proof = self._prove_entry(entry)
        model = ModelId(entry.name, entry.version, entry.sha256)
        beside = terms.shadow_s > 0 and self._store.current() is not None
        try:
            write_terms(self._state_dir, entry.sha256, terms)
        except OSError as fault:
            raise TryAgain(f"{self._state_dir} can not be written: {fault.strerror}", "Check the disk") from None
        (self._store.shadow if beside else self._store.try_out)(model, why)
        return Began(model, self._phase_of(entry.sha256), proof.chosen.value, proof.said)

    def activate_at_once(self, entry: Entry, why: str) -> Began:
        """As `activate`, without a trial: what the proof found is enough. For the bench, not for a store."""
        proof = self._prove_entry(entry)
        model = self._store.try_out(ModelId(entry.name, entry.version, entry.sha256), why)
        self._store.commit(model.sha256, why)
        return Began(model, "committed", proof.chosen.value, proof.said)

    def commit(self, why: str) -> ModelId:
        """End the trial now: the candidate stays. Raises Refused if there is none in trial."""
        candidate = self._in_trial()
        if candidate is None:
            raise Refused("no model is in trial", _LIST)
        return self._store.commit(candidate.sha256, why)

    def rollback(self, why: str) -> ModelId | None:
        """Take out the candidate, else what is current; without a quarantine, for it is a person's wish.

        Raises as the store, and Unavailable or TryAgain if the disk does not take it: nothing has changed then.
        """
        candidate = self._store.candidate
        if self._store.current() is None:
            raise Refused("no model runs here: there is nothing to roll back", _LIST)
        running = candidate.sha256 if candidate else ""
        return self._store.rollback(why, quarantine=False, running=running, insist=True)

    def release(self, sha256: str) -> Entry:
        """Lift a quarantine. Raises Refused if there is none."""
        entry = self.find(sha256)
        self._store.release(entry.sha256)
        return entry

    def _fetch(self, source: Source, release: Release) -> ModelId:
        here = next((e for e in self._store.list() if e.sha256 == release.sha256 and e.status != "damaged"), None)
        if here is not None and here.status == "quarantined":
            raise Refused(f"{here.name} {here.version} is quarantined here: {here.reason}", "Publish a new version")
        self._tell(f"fetching {release.name} {release.version} (release {release.release})")
        path = source.fetch(release, self._progress)
        try:
            found = verify_bundle(path).id
            if found != ModelId(release.name, release.version, release.sha256):
                raise Refused(
                    f"the repository says {release.name} {release.version} ({release.sha256[:12]}),"
                    f" the bundle {found.name} {found.version} ({found.sha256[:12]})",
                    "Publish it again with `edge-runtime repo publish`",
                )
            return self._store.install(path, Origin("repository", release.release, self._source))
        finally:
            source.discard(release)

    def _in_trial(self) -> Candidate | None:
        candidate = self._store.candidate
        return candidate if candidate is not None and candidate.phase == "trial" else None

    def _prove_entry(self, entry: Entry) -> Proof:
        if entry.status == "quarantined":
            raise Refused(
                f"{entry.name} {entry.version} is quarantined: {entry.reason}",
                f"`edge-runtime model release {entry.sha256[:12]}` if that was not the model's fault",
            )
        self._tell(f"proving {entry.name} {entry.version} on this device")
        try:
            proof = self._prove(self._store.path(entry.sha256))
        except ModelFault as fault:
            self._store.quarantine(entry.sha256, fault.found)
            raise
        self._store.note_proof(entry.sha256, proof.chosen.value, proof.said)
        return proof

    def _phase_of(self, sha256: str) -> str:
        candidate = self._store.candidate
        return candidate.phase if candidate is not None and candidate.sha256 == sha256 else "committed"


def _pick(releases: Sequence[Release], name: str, version: str) -> Release:
    if not releases:
        raise Unavailable(
            f"the repository offers no release of {name} to this device", "Publish one, or ask for another"
        )
    found = next((release for release in releases if not version or release.version == version), None)
    if found is None:
        offered = ", ".join(release.version for release in releases[:8])
        raise Unavailable(
            f"the repository offers no {name} {version}; it has {offered}", "Publish it, or ask for another"
        )
    return found
