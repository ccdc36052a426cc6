"""What people and the device itself may do with its models, on a real store: what a failure leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle.bundles import make_bundle

from edge_runtime.daemon.model_desk import ModelDesk
from edge_runtime.daemon.proof import Proof
from edge_runtime.daemon.terms import Terms, read_terms
from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.bundle import Variant, sha256_of_file
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.lifecycle.trust.release import Release

AT_ONCE = Terms(shadow_s=0.0)


class Shop:
    """A repository in memory, also the device's `Source`: release n is version 1.n.0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offered: list[Release] = []

    def offer(self, number: int) -> Release:
        path = make_bundle(self.folder / f"shelf-test-1.{number}.0.zip", f"1.{number}.0")
        release = Release("shelf-test", f"1.{number}.0", number, sha256_of_file(path), path.stat().st_size, path.name)
        self.offered.insert(0, release)
        return release

    def refresh(self) -> None: ...

    def releases(self, name: str) -> list[Release]:
        return [release for release in self.offered if release.name == name]

    def fetch(self, release: Release, progress: Callable[[int, int], None] | None = None) -> Path:
        return self.folder / release.target

    def discard(self, release: Release) -> None: ...


class Bench:
    """One device; `busy` is what its next proof raises."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.shop = Shop(folder)
        self.busy: TryAgain | None = None

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.state, [])

    @property
    def desk(self) -> ModelDesk:
        return ModelDesk(self.store, self.state, "shelf-test", self.prove, lambda: self.shop)

    def prove(self, bundle: Path) -> Proof:
        if self.busy is not None:
            raise self.busy
        return Proof(sha256_of_file(bundle), (), Variant.PACKED, "well", 1, 0.1)

    def update(self) -> str:
        """As the device does by itself; the version that it lets in."""
        model = self.desk.newest()
        return self.desk.activate(self.desk.find(model.sha256), AT_ONCE, "new").model.version if model else ""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_release_that_could_not_be_tried_yet_is_tried_at_the_next_look(bench: Bench) -> None:
    """It is installed by then: whoever takes that for done never runs it."""
    bench.shop.offer(1)
    bench.busy = TryAgain("the device is too busy")
    with pytest.raises(TryAgain):
        bench.update()
    bench.busy = None
    assert bench.update() == "1.1.0"


def test_a_release_that_was_taken_back_by_hand_is_not_let_in_again(bench: Bench) -> None:
    bench.shop.offer(1)
    assert bench.update() == "1.1.0"
    bench.desk.commit("well")
    assert bench.update() == ""
    bench.shop.offer(2)
    assert bench.update() == "1.2.0"
    bench.desk.rollback("too many empties")
    assert bench.update() == "" and bench.store.candidate is None


def test_an_activation_that_has_to_wait_leaves_the_terms_of_the_trial_alone(bench: Bench) -> None:
    bench.shop.offer(1)
    long = Terms(shadow_s=0.0, trial_s=604_800.0)
    model = bench.desk.install_release()
    bench.desk.activate(bench.desk.find(model.sha256), long, "a week")
    bench.shop.offer(2)
    other = bench.desk.install_release()
    with pytest.raises(TryAgain, match=r"1\.1\.0 is in trial"):
        bench.desk.activate(bench.desk.find(other.sha256), AT_ONCE, "new")
    assert read_terms(bench.state, model.sha256, AT_ONCE) == long
    assert bench.update() == "", "the device waits for the end by itself"


def test_bytes_that_are_not_the_releases_are_not_installed_as_it(bench: Bench) -> None:
    """Were the staged file another by now, its digest would not be the one that is vouched for."""
    bench.shop.offer(1)
    make_bundle(bench.shop.folder / "shelf-test-1.1.0.zip", "1.1.0", "always_empty")
    with pytest.raises(Refused, match="the repository says"):
        bench.desk.install_release()
    assert not bench.store.list()


def test_a_rollback_that_the_disk_does_not_take_is_no_rollback(bench: Bench) -> None:
    for number in (1, 2):
        bench.shop.offer(number)
        bench.update()
        bench.desk.commit("well")
    lock = bench.state / "models" / "state.lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(Unavailable, match="can not be written"):
        bench.desk.rollback("by hand")
    running = bench.store.current()
    assert running is not None and running.manifest.version == "1.2.0"
