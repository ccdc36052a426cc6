"""Laws of the store over any order of changes, restarts, kills and damage."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.bundle import sha256_of_file
from edge_runtime.lifecycle.store import MAX_STAGED, ModelStore
from edge_runtime.records import ModelId

from .bundles import make_bundle
from .disks import FaultyFiles, HandClock, Killed

VERSIONS = ("1.1.0", "1.2.0", "1.3.0", "1.4.0")


class StoreMachine(RuleBasedStateMachine):
    """The store against what an operator remembers: what was asked for last, and what was barred."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.factory = [
            make_bundle(self.root / "factory-1.0.0.zip", "1.0.0", members={"golden.npz": b"PK\5\6" + bytes(18)})
        ]
        self.bundles = {
            version: make_bundle(self.root / f"{version}.zip", version, members={"golden.npz": b"PK\5\6" + bytes(18)})
            for version in VERSIONS
        }
        self.digests = {version: sha256_of_file(path) for version, path in self.bundles.items()}
        self.barred: set[str] = set()
        self.wanted = ""
        self.restart()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def head(self) -> str:
        bundle = self.store.current()
        return bundle.sha256 if bundle else ""

    @rule()
    def restart(self) -> None:
        self.store = ModelStore(self.root / "state", self.factory, self.clock)

    @rule(seconds=st.sampled_from([1.0, 200.0, 4000.0]), jump=st.sampled_from([0.0, -4e7, 4e7]))
    def time_passes(self, seconds: float, jump: float) -> None:
        self.clock.advance(seconds)
        self.clock.wall_s += jump

    @rule(version=st.sampled_from(VERSIONS))
    def install(self, version: str) -> None:
        before = self.head()
        try:
            assert self.store.install(self.bundles[version]).sha256 == self.digests[version]
            assert self.digests[version] not in self.barred
        except Refused:
            assert self.digests[version] in self.barred
        assert self.head() == before, "installing runs nothing"

    @rule(version=st.sampled_from(VERSIONS))
    def activate(self, version: str) -> None:
        before = self.head()
        try:
            self.store.activate(ModelId("shelf-test", version, self.digests[version]))
            self.wanted = self.digests[version]
            assert self.head() == self.wanted
        except EdgeError:
            assert self.head() == before

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

    @precondition(lambda self: self.barred)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sha256 = data.draw(st.sampled_from(sorted(self.barred)))
        self.store.release(sha256)
        self.barred.discard(sha256)

    @rule()
    def start(self) -> None:
        before = self.head()
        if self.store.note_start().fall_back:
            assert before and self.head() != before
            self.barred.add(before)
        else:
            assert self.head() == before

    @rule()
    def healthy(self) -> None:
        before = self.head()
        self.store.note_healthy()
        assert self.head() == before

    @rule(nth=st.integers(1, 12), fault=st.sampled_from(["kill", "kill_half", "kill_after"]))
    def killed_while_activating(self, nth: int, fault: str) -> None:
        before = self.head()
        store = ModelStore(self.root / "state", self.factory, self.clock, FaultyFiles(nth, fault))
        try:
            store.activate(store.install(self.bundles[VERSIONS[0]]))
        except Killed:
            pass
        except Refused:
            assert self.digests[VERSIONS[0]] in self.barred
        self.restart()
        assert self.head() in (before, self.digests[VERSIONS[0]])

    @invariant()
    def what_runs_is_whole_and_not_barred(self) -> None:
        if not hasattr(self, "store"):
            return
        fresh = ModelStore(self.root / "state", self.factory, self.clock)
        bundle = fresh.current()
        assert not fresh.problems
        assert (bundle.sha256 if bundle else "") == self.head(), "a restart changes nothing"
        assert bundle is None or bundle.sha256 not in self.barred
        entries = fresh.list()
        assert {entry.sha256 for entry in entries if entry.status == "quarantined"} == self.barred
        assert [entry.sha256 for entry in entries if entry.status == "current"] == ([bundle.sha256] if bundle else [])

    @invariant()
    def the_folder_stays_small(self) -> None:
        if hasattr(self, "store") and (self.root / "state" / "models").exists():
            assert len(list((self.root / "state" / "models").iterdir())) <= MAX_STAGED + 2 + 6


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
