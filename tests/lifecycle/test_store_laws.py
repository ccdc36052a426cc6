"""Laws of the store over any order of changes, restarts, kills and damage."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from benchmarks.faults.scene import NAME, write_bundle
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.bundle import sha256_of_file
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.origin import UNSIGNED, Origin
from edge_runtime.lifecycle.store import MAX_STAGED, ModelStore
from edge_runtime.records import ModelId

from .disks import FaultyFiles, HandClock, Killed

RELEASES = (1, 2, 3, 4, 5)
any_release = st.sampled_from(RELEASES)


class StoreMachine(RuleBasedStateMachine):
    """The store against what an operator remembers: what was barred, and the highest release that was committed."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.factory = [write_bundle(self.root / "factory-1.0.0.zip", "1.0.0")]
        self.bundles = {release: write_bundle(self.root / f"{release}.zip", f"1.{release}.0") for release in RELEASES}
        self.digests = {release: sha256_of_file(path) for release, path in self.bundles.items()}
        self.models = {n: ModelId(NAME, f"1.{n}.0", sha256) for n, sha256 in self.digests.items()}
        self.barred: set[str] = set()
        self.floor = 0
        self.unsure = False
        """Whether a kill has left it open if the last change went through."""
        self.restart()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def fresh(self, files: FaultyFiles | None = None) -> ModelStore:
        return ModelStore(self.root / "state", self.factory, self.clock, files)

    def head(self) -> str:
        bundle = self.store.current()
        return bundle.sha256 if bundle else ""

    def committed(self) -> str:
        return next((entry.sha256 for entry in self.store.list() if entry.status == "current"), "")

    @rule()
    def restart(self) -> None:
        self.store = self.fresh()

    @rule(seconds=st.sampled_from([1.0, 200.0, 4000.0]), jump=st.sampled_from([0.0, -4e7, 4e7]))
    def time_passes(self, seconds: float, jump: float) -> None:
        self.clock.advance(seconds)
        self.clock.wall_s += jump

    @rule(release=any_release)
    def install(self, release: int) -> None:
        before = self.head()
        try:
            self.store.install(self.bundles[release], Origin("repository", release))
            assert release >= self.floor and self.digests[release] not in self.barred
        except Refused:
            assert release < self.floor or self.digests[release] in self.barred
        assert self.head() == before, "installing runs nothing"

    @rule(release=any_release)
    def install_unsigned(self, release: int) -> None:
        try:
            self.store.install(self.bundles[release], UNSIGNED)
        except Refused:
            return
        assert any(entry.sha256 == self.digests[release] for entry in self.store.list()), "known as signed already"

    @rule(release=any_release)
    def shadow(self, release: int) -> None:
        before = self.head()
        with suppress(EdgeError):
            self.store.shadow(self.models[release])
        assert self.head() in (before, self.committed()), "a shadow decides nothing"

    @rule(release=any_release)
    def try_out(self, release: int) -> None:
        before, current = self.head(), self.committed()
        try:
            self.store.try_out(self.models[release])
            assert self.head() == self.digests[release]
        except EdgeError:
            assert self.head() == before
        assert self.committed() == current, "a trial does not touch what is committed"

    @rule()
    def commit(self) -> None:
        running, candidate = self.head(), self.store.candidate
        try:
            self.store.commit(running)
        except EdgeError:
            assert candidate is None or candidate.phase == "shadow"
            return
        assert self.head() == running == self.committed()
        self.floor = max(self.floor, candidate.origin.release if candidate else 0)

    @rule(bar=st.booleans(), running=st.booleans())
    def rollback(self, bar: bool, running: bool) -> None:
        before = self.head()
        try:
            after = self.store.rollback("bad", quarantine=bar, running=before if running else "")
        except Refused:
            assert not bar and self.head() == before
            return
        assert self.head() == (after.sha256 if after else "")
        if before:
            assert self.head() != before
            self.barred |= {before} if bar else set()

    @rule(release=any_release)
    def recall(self, release: int) -> None:
        self.store.quarantine(self.digests[release], "recalled")
        self.barred.add(self.digests[release])

    @precondition(lambda self: self.barred)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sha256 = data.draw(st.sampled_from(sorted(self.barred)))
        self.store.release(sha256)
        self.barred.discard(sha256)

    @rule()
    def start(self) -> None:
        before, candidate = self.head(), self.store.candidate
        beside = candidate.sha256 if candidate is not None and candidate.phase == "shadow" else ""
        fell = self.store.note_start().fall_back
        after = {entry.sha256 for entry in self.store.list() if entry.status == "quarantined"}
        assert after - self.barred in ([{before}] if fell else [set(), {beside}]), (
            "what ran, or ran beside, is to blame"
        )
        assert all(sha256 == sha256_of_file(self.factory[0]) for sha256 in self.barred - after), "it has rested"
        self.barred = after

    @rule()
    def healthy(self) -> None:
        before = self.head()
        self.store.note_healthy()
        assert self.head() == before

    @rule(nth=st.integers(1, 30), fault=st.sampled_from(["kill", "kill_half", "kill_after"]), release=any_release)
    def killed_while_changing(self, nth: int, fault: str, release: int) -> None:
        may_run = {self.head(), self.digests[release]}
        store = self.fresh(FaultyFiles(nth, fault))
        with suppress(Killed, EdgeError):
            store.try_out(store.install(self.bundles[release], Origin("repository", release)))
            store.commit(self.digests[release])
        self.restart()
        self.store.settle()
        assert self.head() in may_run
        if self.committed() == self.digests[release]:
            self.floor = max(self.floor, release)

    @rule(second=st.booleans(), junk=st.sampled_from([b"", b"{}", bytes(300)]))
    def a_copy_of_the_state_is_damaged(self, second: bool, junk: bytes) -> None:
        before = self.head()
        path = self.root / "state" / ("model-state.json" if second else "models/state.json")
        if not (self.root / "state" / "model-state.json").exists():
            return
        path.write_bytes(junk)
        self.restart()
        assert self.head() == before
        self.store.settle()

    @invariant()
    def what_runs_is_whole_and_not_barred(self) -> None:
        if not hasattr(self, "store"):
            return
        fresh = self.fresh()
        bundle = fresh.current()
        assert not fresh.problems
        assert (bundle.sha256 if bundle else "") == self.head(), "a restart changes nothing"
        assert bundle is None or bundle.sha256 not in self.barred
        entries = fresh.list()
        assert {entry.sha256 for entry in entries if entry.status == "quarantined"} == self.barred
        assert sum(entry.status in ("trial", "shadow") for entry in entries) <= 1, "one candidate at most"
        assert sum(entry.status == "current" for entry in entries) <= 1

    @invariant()
    def the_floor_is_what_was_committed(self) -> None:
        if hasattr(self, "store"):
            assert Floors(self.root / "state").release(NAME) == self.floor

    @invariant()
    def the_folder_stays_small(self) -> None:
        if hasattr(self, "store") and (self.root / "state" / "models").exists():
            assert len(list((self.root / "state" / "models").glob("*.zip"))) <= MAX_STAGED + 3
            assert len(list((self.root / "state" / "models").iterdir())) <= MAX_STAGED + 3 + 7


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
