"""Which model this device runs, what is on its way in, and what it falls back to.

    staged -> shadow -> trial -> committed, and from shadow and trial -> rolled_back

The current model stays what it is until another is committed: a trial that ends in a crash, a power cut or a verdict
falls back by itself. Reading never writes. Every step is one replacement of the state file, before it is taken, so that
a kill or a power cut at any point leaves a whole model to run: the old one or the new one. A change that someone asked
for (install, try out, commit) fails if the disk does; a change that safety asks for (rollback, quarantine, crash
counting) then holds in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from edge_runtime.errors import EdgeError, ModelFault, Refused, Unavailable
from edge_runtime.lifecycle import transitions
from edge_runtime.lifecycle.admission import Admission
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.chain import Chain
from edge_runtime.lifecycle.clock import Clock, SystemClock
from edge_runtime.lifecycle.entries import Entry, list_entries
from edge_runtime.lifecycle.files import DiskFiles, Files
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.guard import STAY, Verdict
from edge_runtime.lifecycle.holdings import Holdings
from edge_runtime.lifecycle.ledger import Ledger, Stamp, disk_fault
from edge_runtime.lifecycle.origin import UNSIGNED, Origin
from edge_runtime.lifecycle.retreat import Retreat
from edge_runtime.lifecycle.state_file import Candidate, Proof, Step, StoreState
from edge_runtime.records import ModelId

MAX_STAGED = 3
"""Installed bundles kept beside current, previous and the candidate, newest first."""
_INSTALL_WAIT_S = 1.0


class Probe(Protocol):
    """Tries a bundle out on this device."""

    def __call__(self, bundle: Bundle) -> None:
        """Raises ModelFault if the model does not work here."""
        ...


class ModelStore:
    """The models of one device in `<state_dir>/models/`, and the factory bundles (oldest first, read-only).

    `allow_unsigned` is for development only: without it a bundle that nobody signed is neither installed nor run.
    """

    def __init__(
        self,
        state_dir: Path,
        factory: Sequence[Path],
        clock: Clock | None = None,
        files: Files | None = None,
        allow_unsigned: bool = False,
    ) -> None:
        self._folder = state_dir / "models"
        self._files = files or DiskFiles()
        self._clock = clock or SystemClock()
        self._ledger = Ledger(state_dir, self._files)
        self._floors = Floors(state_dir, self._files)
        self._holdings = Holdings(self._folder, factory, self._files)
        self._chain = Chain(self._holdings, allow_unsigned)
        self._admission = Admission(self._chain, self._floors)
        self._retreat = Retreat(self._chain, self._holdings)
        self._seen: Stamp | None = None
        self._unsettled = ""

    @property
    def degraded(self) -> str:
        """Why changes are held in memory only, or why the last one failed; empty while the disk takes them."""
        return self._ledger.degraded or self._unsettled

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last look at the chain found wrong: a bundle passed over, a damaged state file or floor."""
        own = (self._ledger.problem, self._floors.problem)
        return (*(problem for problem in own if problem), *self._chain.passed_over)

    @property
    def history(self) -> tuple[Step, ...]:
        """The latest steps of bundles, oldest first."""
        return self._ledger.load().history

    @property
    def candidate(self) -> Candidate | None:
        """The bundle that is on its way in, if any."""
        return self._ledger.load().candidate

    def changed(self) -> bool:
        """Whether the state was replaced, by this process or another, since `current` was last asked. Reads nothing:
        cheap enough for every frame."""
        return self._ledger.stamp() != self._seen

    def current(self) -> Bundle | None:
        """The model to run: the one in trial, else the first whole bundle of the chain that may run; None is safe mode."""
        self._chain.passed_over = ()
        self._seen = self._ledger.stamp()
        return self._chain.head(self._ledger.load())

    def standing(self) -> Bundle | None:
        """The model that runs if there is no trial, or if it fails."""
        return self._chain.head(self._ledger.load(), trial=False)

    def origin_of(self, sha256: str) -> Origin:
        """Where a bundle came from; what nobody has vouched for is unsigned."""
        return self._chain.origin(self._ledger.load(), sha256)

    def floor_of(self, name: str) -> int:
        """The least release of a model that may still be installed; 0 if there is none."""
        return self._floors.release(name)

    def list(self) -> tuple[Entry, ...]:
        """Every bundle on the device and every quarantined digest, the one that runs first. Raises Unavailable if the
        folder can not be read."""
        try:
            return list_entries(self._ledger.load(), self._holdings, self._chain)
        except OSError as fault:
            raise Unavailable(f"{self._folder} can not be read: {fault.strerror}", "Check the disk") from None

    def read(self, sha256: str) -> Bundle:
        """A bundle on this device, verified. Raises Unavailable if it is not here, Refused if it is damaged."""
        return self._holdings.read(sha256)

    def path(self, sha256: str) -> Path:
        """Where the bundle of this digest is; nothing is verified. Raises Unavailable if it is not here."""
        return self._holdings.path(sha256)

    def install(self, path: Path, origin: Origin = UNSIGNED) -> ModelId:
        """Copy a bundle in without running it.

        Raises Refused (not whole, quarantined, below the release floor, or unsigned where that is not allowed),
        Unavailable (can not be read, or the disk fails), TryAgain (disk full, or another install runs). Nothing changes
        for what runs then.
        """
        try:
            self._files.make_folder(self._folder)
            with self._files.lock(self._folder / "install.lock", _INSTALL_WAIT_S):
                self._settled()
                self._holdings.sweep()
                model = self._holdings.add(path, lambda model: self._admit(model, origin))
                self._prune(keep=model.sha256)
        except OSError as fault:
            raise disk_fault(fault, self._folder) from None
        return model

    def shadow(self, model: ModelId, reason: str = "") -> ModelId:
        """Make an installed bundle the candidate that runs beside the current one and decides nothing.

        Raises Refused, Unavailable, or TryAgain (another is in trial).
        """
        return self._enter(model, "shadow", reason)

    def try_out(self, model: ModelId, reason: str = "") -> ModelId:
        """Begin the trial of an installed or factory bundle: `current()` names it from now on, until `commit` or
        `rollback`, across restarts. The committed model is not touched.

        The one that is current already stays so, without a trial. Raises Refused, Unavailable, or TryAgain (another is
        in trial, or the disk is full); what ran before then still does.
        """
        return self._enter(model, "trial", reason)

    def commit(self, running: str, reason: str = "") -> ModelId:
        """End the trial of the digest `running` well: it is current, what was current is previous, and then the release
        floor rises. A kill between the two is made good by `settle`.

        Raises Refused if it is not in trial (or not whole any more), Unavailable or TryAgain if the disk fails: the
        trial then goes on.
        """
        bundle = self._holdings.read(running)
        state = self._ledger.change(
            lambda state: self._admission.committed(state, bundle, reason, self._clock.now()), insist=True
        )
        self._unsettled = self._admission.raise_floor(state)
        return bundle.id

    def activate(self, model: ModelId, probe: Probe | None = None) -> ModelId:
        """`try_out` and `commit` at once, for a bundle whose trial is `probe` alone; one that fails it is quarantined.

        Raises as those, and ModelFault (probe); what ran before then still does.
        """
        self._admission.require_free(self._settled(), model)
        bundle = self._holdings.read(model.sha256)
        if probe is not None:
            try:
                probe(bundle)
            except ModelFault as fault:
                self.quarantine(model.sha256, fault.found)
                raise

        def step(state: StoreState) -> StoreState:
            now = self._clock.now()
            state = self._admission.entered(state, bundle, "trial", "activated", now)
            head = self._chain.head(state, trial=False)
            return state if head == bundle else self._admission.committed(state, bundle, "activated", now)

        self._unsettled = self._admission.raise_floor(self._ledger.change(step, insist=True))
        return bundle.id

    def rollback(self, reason: str, quarantine: bool = True, running: str = "", insist: bool = False) -> ModelId | None:
        """Take the running model out and say which one to run instead; None is safe mode.

        `running` is the digest that the caller runs, if known: should another have been put in its place meanwhile,
        that one stays. It may be the candidate in its shadow run, which then is none any more. With `quarantine` the
        digest never runs again here; without (an operator's wish) Refused is raised if there is nothing else to run. A
        disk that fails does not stop a rollback: see `degraded`. With `insist` it does, by Unavailable or TryAgain: for
        a process that ends after it, whose memory is of no use.
        """
        now = self._clock.now()
        return self._fall_back(lambda state: self._retreat.rolled_back(state, running, reason, quarantine, now), insist)

    def quarantine(self, sha256: str, reason: str) -> ModelId | None:
        """Never run this digest here again; says which model runs now. Works for digests that are not installed."""
        return self._fall_back(lambda state: self._retreat.barred(state, sha256, reason, self._clock.now()))

    def release(self, sha256: str) -> None:
        """Lift a quarantine, on an operator's word. Raises Refused if there is none, TryAgain or Unavailable."""

        def lift(state: StoreState) -> StoreState:
            if sha256 not in state.quarantined:
                raise Refused(f"{sha256[:12]} is not quarantined", "See `edge-runtime model list`")
            return transitions.released(state, sha256)

        self._ledger.change(lift, insist=True)

    def note_proof(self, sha256: str, variant: str, said: str) -> None:
        """Keep what a measurement on this device found about a bundle: which member to run, and the outcome in words."""
        proof = Proof(variant, said, self._clock.now())

        def note(state: StoreState) -> StoreState:
            return transitions.proven(
                state, self._retreat.model(state, sha256), self._chain.origin(state, sha256), proof
            )

        self._ledger.change(note, insist=False)

    def proof_of(self, sha256: str) -> Proof | None:
        held = self._ledger.load().bundles.get(sha256)
        return held.proof if held else None

    def settle(self) -> None:
        """Finish what a kill or a power cut has interrupted: the second copy of the state, the release floor of what
        is committed, a candidate whose bundle is gone. As far as the disk lets; changes nothing if all is well."""
        self._ledger.mend()
        with suppress(OSError), self._files.lock(self._folder / "install.lock", 0.0):
            self._holdings.sweep()
        state = self._ledger.load()
        if self._retreat.without_lost(state, self._clock.now()) is not state:
            state = self._ledger.change(
                lambda state: self._retreat.without_lost(state, self._clock.now()), insist=False
            )
        self._unsettled = self._admission.raise_floor(state)

    def note_start(self) -> Verdict:
        """Call before loading a model: after the daemon's start, and when it changes to another. Settles first.

        If three starts of this model ended in a crash (within ten minutes, or at any distance in its trial), it is
        quarantined now, `current()` names the next one, and the verdict says so.
        """
        self.settle()
        verdict = STAY

        def count(state: StoreState) -> StoreState:
            nonlocal verdict
            state, verdict = self._retreat.started(state, self._clock.now())
            return state

        self._fall_back(count)
        return verdict

    def note_healthy(self) -> None:
        """The model has run well for a while since its latest start."""
        self._ledger.change(transitions.healthy, insist=False)

    def note_stopped(self) -> None:
        """The daemon ends in order: its latest start was no crash."""
        if self._ledger.load().starts:
            self._ledger.change(transitions.stopped, insist=False)

    def _enter(self, model: ModelId, phase: Literal["shadow", "trial"], reason: str) -> ModelId:
        self._admission.require_free(self._settled(), model)
        bundle = self._holdings.read(model.sha256)
        self._ledger.change(
            lambda state: self._admission.entered(state, bundle, phase, reason, self._clock.now()), insist=True
        )
        return bundle.id

    def _settled(self) -> StoreState:
        """The state, once the floor of what is committed is raised: a kill may have come between the two."""
        state = self._ledger.load()
        self._unsettled = self._admission.raise_floor(state)
        return state

    def _admit(self, model: ModelId, origin: Origin) -> None:
        now = self._clock.now()
        self._ledger.change(lambda state: self._admission.staged(state, model, origin, now), insist=True)

    def _fall_back(self, change: Callable[[StoreState], StoreState], insist: bool = False) -> ModelId | None:
        """Make a change that safety asks for, clear away what it barred, and name what runs now."""
        state = self._ledger.change(change, insist)
        self._holdings.drop(state.quarantined)
        head = self._chain.head(state)
        return head.id if head else None

    def _prune(self, keep: str) -> None:
        """Clear away the bundles staged longest ago, never `keep`. Only while no other install can run."""
        state = self._ledger.load()
        kept = {state.current, state.previous, state.candidate.sha256 if state.candidate else ""}
        with suppress(OSError, EdgeError):  # what stays is merely unused, and goes with the next install
            spare = [sha256 for sha256 in self._holdings.installed() if sha256 not in kept]
            spare.sort(key=lambda sha256: sha256 != keep)
            self._holdings.drop(spare[MAX_STAGED:])
            here = {*self._holdings.installed(), *self._holdings.factory, *kept}
            self._ledger.change(lambda state: transitions.forgotten(state, here), insist=True)
