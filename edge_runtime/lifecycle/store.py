"""Which model this device runs, and what it falls back to: current, previous, factory (newest first), none.

Reading never writes. Every change is one replacement of the state file, so that a kill or a power cut at any point
leaves a whole model to run: the old one or the new one. A change that someone asked for (install, activate) fails if
the disk does; a change that safety asks for (rollback, quarantine, crash counting) then holds in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from msgspec import structs

from edge_runtime.errors import EdgeError, ModelFault, Refused
from edge_runtime.lifecycle import transitions
from edge_runtime.lifecycle.bundle import Bundle, read_manifest
from edge_runtime.lifecycle.clock import Clock, SystemClock
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.lifecycle.guard import STAY, Verdict, judge_starts
from edge_runtime.lifecycle.holdings import Holdings
from edge_runtime.lifecycle.ledger import Ledger, disk_fault
from edge_runtime.lifecycle.state_file import Step, StoreState
from edge_runtime.records import ModelId

MAX_STAGED = 3
"""Installed bundles kept beside current and previous, newest first."""
_INSTALL_WAIT_S = 1.0
Status = Literal["current", "previous", "factory", "quarantined", "staged", "damaged"]


class Probe(Protocol):
    """Tries a bundle out on this device."""

    def __call__(self, bundle: Bundle) -> None:
        """Raises ModelFault if the model does not work here."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `model list`."""

    name: str
    version: str
    sha256: str
    status: Status
    reason: str = ""
    """Why it is quarantined or damaged."""
    factory: bool = False


class ModelStore:
    """The models of one device in `<state_dir>/models/`, and the factory bundles (oldest first, read-only)."""

    def __init__(
        self, state_dir: Path, factory: Sequence[Path], clock: Clock | None = None, files: Files | None = None
    ) -> None:
        self._folder = state_dir / "models"
        self._files = files or DiskFiles()
        self._clock = clock or SystemClock()
        self._ledger = Ledger(self._folder, self._files)
        self._holdings = Holdings(self._folder, factory, self._files)
        self._damaged: tuple[str, ...] = ()

    @property
    def degraded(self) -> str:
        """Why changes are held in memory only, or why the last one failed; empty while the disk takes them."""
        return self._ledger.degraded

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last look at the chain found wrong: a damaged bundle, a damaged state file."""
        return (self._ledger.problem, *self._damaged) if self._ledger.problem else self._damaged

    @property
    def history(self) -> tuple[Step, ...]:
        """The latest activations and rollbacks, oldest first."""
        return self._ledger.load().history

    def current(self) -> Bundle | None:
        """The model to run: the first whole bundle of the chain that is not quarantined; None is safe mode."""
        self._damaged = ()
        return next(self._chain(self._ledger.load()), None)

    def list(self) -> tuple[Entry, ...]:
        """Every bundle on the device and every quarantined digest, the one that runs first."""
        state = self._ledger.load()
        running = next(self._chain(state), None)
        current = running.sha256 if running else ""
        factory = self._holdings.factory
        paths = {**factory, **self._holdings.installed()}
        entries = [
            self._entry(sha256, path, state, current, sha256 in factory)
            for sha256, path in paths.items()
            if sha256 not in state.quarantined
        ]
        entries += [
            Entry(record.name, record.version, sha256, "quarantined", record.reason, sha256 in factory)
            for sha256, record in state.quarantined.items()
        ]
        order = ("current", "previous", "factory", "staged", "damaged", "quarantined")
        return tuple(sorted(entries, key=lambda entry: order.index(entry.status)))

    def install(self, path: Path) -> ModelId:
        """Copy a bundle in without running it.

        Raises Refused (not whole, or quarantined), Unavailable (can not be read, or the disk fails), TryAgain (disk
        full, or another install runs). Nothing changes then.
        """
        try:
            self._files.make_folder(self._folder)
            with self._files.lock(self._folder / "install.lock", _INSTALL_WAIT_S):
                self._holdings.sweep()
                model = self._holdings.add(path, self._ledger.load().quarantined)
                self._prune(keep=model.sha256)
        except OSError as fault:
            raise disk_fault(fault, self._folder) from None
        return model

    def activate(self, model: ModelId, probe: Probe | None = None) -> ModelId:
        """Make an installed or factory bundle the one that runs from the next load on.

        The bundle is read whole and, with `probe`, tried first; one that fails the probe is quarantined. Raises
        Refused, ModelFault (probe), Unavailable or TryAgain; what ran before then still does.
        """
        self._require_free(self._ledger.load(), model.sha256)
        bundle = self._holdings.read(model.sha256)
        if probe is not None:
            try:
                probe(bundle)
            except ModelFault as fault:
                self.quarantine(model.sha256, fault.found)
                raise

        def commit(state: StoreState) -> StoreState:
            self._require_free(state, bundle.sha256)
            head = next(self._chain(state), None)
            return transitions.activated(state, bundle.id, head.sha256 if head else "", self._clock.now())

        self._ledger.change(commit, insist=True)
        self._prune()
        return bundle.id

    def rollback(self, reason: str, quarantine: bool = True, running: str = "") -> ModelId | None:
        """Take the running model out and say which one to run instead; None is safe mode.

        `running` is the digest that the caller runs, if known: should another have been activated meanwhile, that one
        stays. With `quarantine` the digest never runs again here; without (an operator's wish) Refused is raised if
        there is nothing else to run. A disk that fails does not stop a rollback: see `degraded`.
        """

        def give_way(state: StoreState) -> StoreState:
            chain = self._chain(state)
            head, after = next(chain, None), next(chain, None)
            if head is None:
                return state
            if running and head.sha256 != running:
                return self._barred(state, running, reason) if quarantine else state
            if after is None and not quarantine:
                raise Refused("no other model to roll back to", "Install one: `edge-runtime model install BUNDLE`")
            return self._without(state, head, after, reason, quarantine)

        return self._fall_back(give_way)

    def quarantine(self, sha256: str, reason: str) -> ModelId | None:
        """Never run this digest here again; says which model runs now. Works for digests that are not installed."""
        return self._fall_back(lambda state: self._barred(state, sha256, reason))

    def release(self, sha256: str) -> None:
        """Lift a quarantine, on an operator's word. Raises Refused if there is none, TryAgain or Unavailable."""

        def lift(state: StoreState) -> StoreState:
            if sha256 not in state.quarantined:
                raise Refused(f"{sha256[:12]} is not quarantined", "See `edge-runtime model list`")
            return transitions.released(state, sha256)

        self._ledger.change(lift, insist=True)

    def note_start(self) -> Verdict:
        """Call before loading a model. If three starts in ten minutes were not followed by healthy running, the model
        is quarantined now, `current()` names the next one, and the verdict says so."""
        verdict = STAY

        def count(state: StoreState) -> StoreState:
            nonlocal verdict
            now = self._clock.now()
            chain = self._chain(state)
            head = next(chain, None)
            verdict = judge_starts(state.starts, head.sha256, now) if head else STAY
            if head and verdict.fall_back:
                after = next(chain, None)
                state, head = self._without(state, head, after, verdict.reason, bar=True), after
            return transitions.started(state, head.sha256, now) if head else state

        self._fall_back(count)
        return verdict

    def note_healthy(self) -> None:
        """The model has run well for a while: its starts no longer count."""
        if self._ledger.load().starts:
            self._ledger.change(lambda state: structs.replace(state, starts=()), insist=False)

    def note_stopped(self) -> None:
        """The daemon ends in order: its latest start was no crash."""
        if self._ledger.load().starts:
            self._ledger.change(lambda state: structs.replace(state, starts=state.starts[:-1]), insist=False)

    def _chain(self, state: StoreState) -> Iterator[Bundle]:
        """Whole bundles in the order of preference; a damaged one is told in `problems` and passed over."""
        seen = set(state.quarantined)
        for sha256 in (state.current, state.previous, *self._holdings.factory):
            if not sha256 or sha256 in seen:
                continue
            seen.add(sha256)
            try:
                yield self._holdings.read(sha256)
            except EdgeError as fault:
                self._damaged = (*(told for told in self._damaged if told != str(fault)), str(fault))

    def _without(self, state: StoreState, head: Bundle, after: Bundle | None, reason: str, bar: bool) -> StoreState:
        """`head` gives way to `after`. A factory bundle is named only if the chain would not come to it by itself."""
        now = self._clock.now()
        named = after.sha256 if after else ""
        state = transitions.rolled_back(
            state, head.id, named, not (bar and named in self._holdings.factory), reason, now
        )
        return transitions.quarantined(state, head.id, reason, now) if bar else state

    def _barred(self, state: StoreState, sha256: str, reason: str) -> StoreState:
        try:
            model = self._holdings.read(sha256).id
        except EdgeError:
            model = ModelId("", "", sha256)
        return transitions.quarantined(state, model, reason, self._clock.now())

    def _fall_back(self, change: Callable[[StoreState], StoreState]) -> ModelId | None:
        """Make a change that safety asks for, clear away what it barred, and name what runs now."""
        state = self._ledger.change(change, insist=False)
        self._holdings.drop(state.quarantined)
        head = next(self._chain(state), None)
        return head.id if head else None

    def _require_free(self, state: StoreState, sha256: str) -> None:
        record = state.quarantined.get(sha256)
        if record is not None:
            raise Refused(
                f"{record.name} {record.version} ({sha256[:12]}) is quarantined: {record.reason}",
                "Pack a new version, or release this one",
            )

    def _prune(self, keep: str = "") -> None:
        state = self._ledger.load()
        spare = [sha for sha in self._holdings.installed() if sha not in (state.current, state.previous, keep)]
        self._holdings.drop(spare[MAX_STAGED:])

    def _entry(self, sha256: str, path: Path, state: StoreState, current: str, factory: bool) -> Entry:
        try:
            manifest = read_manifest(path)
        except EdgeError as fault:
            return Entry("", "", sha256, "damaged", fault.found, factory)
        status: Status = "factory" if factory else "staged"
        if sha256 in (current, state.previous):
            status = "current" if sha256 == current else "previous"
        elif sha256 == state.current:
            status = "damaged"
        return Entry(manifest.name, manifest.version, sha256, status, "", factory)
