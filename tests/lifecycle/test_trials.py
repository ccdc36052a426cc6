"""How a new model comes in: shadow, trial, commit, and every way back; what the floor and the origin forbid."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.files import DiskFiles
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.origin import FACTORY, UNSIGNED, Origin
from edge_runtime.lifecycle.store import MAX_STAGED, ModelStore
from edge_runtime.records import ModelId

from .bundles import make_bundle
from .disks import FaultyFiles, HandClock, Killed


class Device:
    """One factory model (1.0.0); every release n that `offer`s comes from the repository as version 1.n.0."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.clock = HandClock()
        self.factory = [make_bundle(root / "factory-1.0.0.zip", "1.0.0")]

    def store(self, files: DiskFiles | None = None, allow_unsigned: bool = False) -> ModelStore:
        return ModelStore(self.state, self.factory, self.clock, files, allow_unsigned)

    def bundle(self, version: str) -> Path:
        return make_bundle(self.root / f"shelf-test-{version}.zip", version)

    def stage(self, release: int) -> ModelId:
        return self.store().install(self.bundle(f"1.{release}.0"), Origin("repository", release, "shop"))

    def deploy(self, release: int) -> ModelId:
        model = self.stage(release)
        self.store().try_out(model)
        return self.store().commit(model.sha256)

    def running(self) -> str:
        return self.version(self.store())

    @staticmethod
    def version(store: ModelStore) -> str:
        bundle = store.current()
        return bundle.manifest.version if bundle else "none"

    def statuses(self) -> dict[str, str]:
        return {entry.version: entry.status for entry in self.store().list()}

    @property
    def floor(self) -> int:
        return Floors(self.state).release("shelf-test")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_every_step_of_a_model_on_its_way_in(device: Device) -> None:
    old = device.deploy(1)
    new = device.stage(2)
    store = device.store()
    store.shadow(new, "rollout 7")
    assert device.running() == "1.1.0" and device.statuses()["1.2.0"] == "shadow"
    candidate = device.store().candidate
    assert candidate is not None and (candidate.id, candidate.phase, candidate.reason) == (new, "shadow", "rollout 7")
    assert candidate.origin == Origin("repository", 2, "shop")
    store.try_out(new)
    assert device.running() == "1.2.0"
    assert device.statuses() == {"1.2.0": "trial", "1.1.0": "current", "1.0.0": "previous"}
    assert device.floor == 1, "nothing is proven yet"
    assert store.commit(new.sha256, "ran well") == new
    assert device.statuses() == {"1.2.0": "current", "1.1.0": "previous", "1.0.0": "factory"}
    assert device.floor == 2 and store.candidate is None
    phases = [step.phase for step in store.history if step.sha256 == new.sha256]
    assert phases == ["staged", "shadow", "trial", "committed"]
    assert store.commit(new.sha256) == new, "twice is as good as once"
    assert device.store().rollback("bad") == old and device.floor == 2


def test_a_trial_goes_on_over_an_orderly_restart_and_ends_in_a_rollback_to_what_was(device: Device) -> None:
    device.deploy(1)
    new = device.stage(2)
    device.store().try_out(new)
    for _ in range(5):
        assert not device.store().note_start().fall_back
        device.store().note_stopped()
        device.clock.reboot()
        assert device.running() == "1.2.0"
    fallen = device.store().rollback("answers NaN", running=new.sha256)
    assert fallen and fallen.version == "1.1.0" and device.floor == 1
    assert device.statuses() == {"1.1.0": "current", "1.0.0": "previous", "1.2.0": "quarantined"}
    with pytest.raises(Refused, match="answers NaN"):
        device.stage(2)


def test_an_operator_takes_a_candidate_back_without_barring_it(device: Device) -> None:
    device.deploy(1)
    new = device.stage(2)
    for begin in (device.store().shadow, device.store().try_out):
        begin(new)
        device.store().rollback("not now", quarantine=False, running=new.sha256)
        assert device.running() == "1.1.0" and device.store().candidate is None
        assert device.statuses()["1.2.0"] == "staged"


def test_a_shadow_that_disagrees_is_barred_without_touching_what_runs(device: Device) -> None:
    old, new = device.deploy(1), device.stage(2)
    device.store().shadow(new)
    assert device.store().rollback("disagrees", running=new.sha256) == old
    assert device.statuses()["1.2.0"] == "quarantined" and device.store().candidate is None


def test_crashes_of_a_trial_count_at_any_distance(device: Device) -> None:
    device.deploy(1)
    device.store().try_out(device.stage(2))
    for _ in range(3):
        assert not device.store().note_start().fall_back
        device.clock.advance(4000)
    verdict = device.store().note_start()
    assert verdict.fall_back and "trial" in verdict.reason
    assert device.running() == "1.1.0" and device.statuses()["1.2.0"] == "quarantined"
    device.clock.reboot()
    assert device.running() == "1.1.0" and device.statuses()["1.2.0"] == "quarantined"
    assert not device.store().note_start().fall_back, "its crashes are not the old model's"


def test_there_is_one_candidate_at_a_time(device: Device) -> None:
    device.deploy(1)
    second, third = device.stage(2), device.stage(3)
    store = device.store()
    store.shadow(second)
    store.shadow(third)
    assert store.candidate and store.candidate.id == third and device.statuses()["1.2.0"] == "staged"
    store.try_out(third)
    for begin in (store.shadow, store.try_out):
        with pytest.raises(TryAgain, match=r"1\.3\.0 is in trial"):
            begin(second)
    with pytest.raises(Refused, match="not in trial"):
        store.commit(second.sha256)
    store.try_out(third)
    assert store.candidate.id == third and device.running() == "1.3.0"


def test_only_a_trial_can_be_committed(device: Device) -> None:
    new = device.stage(1)
    for prepare in (lambda: None, lambda: device.store().shadow(new)):
        prepare()
        with pytest.raises(Refused, match="not in trial"):
            device.store().commit(new.sha256)
    assert device.running() == "1.0.0" and device.floor == 0


def test_what_runs_already_needs_no_trial(device: Device) -> None:
    old, new = device.deploy(1), device.stage(2)
    device.store().try_out(old)
    assert device.store().candidate is None and device.running() == "1.1.0"
    device.store().shadow(new)
    device.store().try_out(old)
    assert device.store().candidate is None and device.running() == "1.1.0"


def test_a_candidate_that_is_damaged_gives_way_and_is_settled_at_the_next_start(device: Device) -> None:
    device.deploy(1)
    new = device.stage(2)
    device.store().try_out(new)
    (device.state / "models" / f"{new.sha256}.zip").write_bytes(b"gone")
    store = device.store()
    assert device.running() == "1.1.0"
    with pytest.raises(Refused):
        store.commit(new.sha256)
    store.note_start()
    assert store.candidate is None and device.running() == "1.1.0" and store.history[-1].phase == "rolled_back"


def test_a_candidate_that_may_not_run_any_more_is_none_after_the_next_start(device: Device) -> None:
    """Else nothing else could ever be tried: one is in trial, and no trial goes on."""
    device.deploy(1)
    loud = device.store(allow_unsigned=True)
    loud.try_out(loud.install(device.bundle("9.9.9"), UNSIGNED))
    quiet = device.store()
    assert quiet.candidate and device.running() == "1.1.0"
    quiet.note_start()
    assert quiet.candidate is None and "unsigned" in quiet.history[-1].reason
    quiet.try_out(device.stage(2))
    assert device.running() == "1.2.0"


def test_long_words_do_not_fill_the_state_and_odd_ones_are_kept_plain(device: Device) -> None:
    device.deploy(1)
    new = device.stage(2)
    for number in range(40):
        device.store().shadow(new, f"{number} \udcff " + "\1" * 40_000)
        device.store().rollback("y" * 40_000, quarantine=False, running=new.sha256)
    device.store().note_proof(new.sha256, "model.onnx", "z" * 40_000)
    device.store().quarantine("0" * 64, "q" * 40_000)
    store = device.store()
    assert device.running() == "1.1.0" and not store.problems
    assert max(len(step.reason) for step in store.history) == 400
    assert (device.state / "models" / "state.json").stat().st_size < 300_000


def test_a_rollback_that_must_be_kept_fails_with_the_disk(device: Device) -> None:
    device.deploy(1)
    device.deploy(2)
    (device.state / "models" / "state.lock").unlink()
    (device.state / "models" / "state.lock").mkdir()
    with pytest.raises(Unavailable, match="can not be written"):
        device.store().rollback("by hand", quarantine=False, insist=True)
    assert device.running() == "1.2.0"
    fallen = device.store().rollback("by hand", quarantine=False)
    assert fallen and fallen.version == "1.1.0", "a daemon goes on with it in memory"


@pytest.mark.parametrize("step", ["stage", "try"])
def test_a_commit_that_was_killed_before_its_floor_forbids_going_back_all_the_same(
    device: Device, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No daemon starts in between: the next command settles it."""
    device.deploy(1)
    old, new = device.stage(2), device.stage(3)
    store = device.store()
    store.try_out(new)
    with monkeypatch.context() as patch:
        patch.setattr(Floors, "raise_release", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            store.commit(new.sha256)
    assert device.floor == 1 and device.running() == "1.3.0"
    with pytest.raises(Refused, match="release 2; this device has run release 3"):
        device.stage(2) if step == "stage" else device.store().try_out(old)
    assert device.floor == 3


def test_a_release_below_the_floor_is_refused_and_the_previous_one_is_not(device: Device) -> None:
    device.deploy(3)
    with pytest.raises(Refused, match="release 2; this device has run release 3"):
        device.stage(2)
    spare = device.stage(4)
    device.deploy(5)
    with pytest.raises(Refused, match="release 4"):
        device.store().try_out(spare)
    with pytest.raises(Refused, match="release 4"):
        device.store().shadow(spare)
    previous = next(entry for entry in device.store().list() if entry.status == "previous")
    device.store().try_out(ModelId(previous.name, previous.version, previous.sha256))
    assert device.running() == "1.3.0"


def test_the_floor_is_raised_by_the_next_start_if_the_commit_was_killed_before_it(device: Device) -> None:
    device.deploy(1)
    new = device.stage(2)
    device.store().try_out(new)
    for nth in range(1, 40):
        files = FaultyFiles(nth, "kill")
        try:
            device.store(files).commit(new.sha256)
            break
        except Killed:
            committed = device.store().candidate is None
            assert device.floor <= (2 if committed else 1), "never before the commit"
    device.store().note_start()
    assert nth > 5 and device.floor == 2 and device.running() == "1.2.0"


def test_unsigned_bundles_run_only_where_development_is_allowed(device: Device) -> None:
    path = device.bundle("9.9.9")
    with pytest.raises(Refused, match="unsigned"):
        device.store().install(path, UNSIGNED)
    loud = device.store(allow_unsigned=True)
    model = loud.install(path, UNSIGNED)
    loud.try_out(model)
    loud.commit(model.sha256)
    bundle = loud.current()
    assert bundle and bundle.manifest.version == "9.9.9" and not loud.problems
    quiet = device.store()
    assert device.running() == "1.0.0" and quiet.current() is not None
    assert any("9.9.9" in problem and "unsigned" in problem for problem in quiet.problems)
    with pytest.raises(Refused, match="unsigned"):
        quiet.try_out(model)
    entry = next(entry for entry in quiet.list() if entry.sha256 == model.sha256)
    assert entry.status == "staged" and "unsigned" in entry.reason and entry.origin.kind == "unsigned"


def test_nobody_can_say_that_a_bundle_is_the_factorys(device: Device) -> None:
    with pytest.raises(Refused, match="unsigned"):
        device.store().install(device.bundle("9.9.9"), FACTORY)
    model = device.store().install(device.factory[0], FACTORY)
    assert device.store().origin_of(model.sha256) == FACTORY
    device.factory.clear()
    assert device.running() == "none", "what no longer comes with the package has nobody who vouches for it"
    assert device.deploy(1).version == device.running()


def test_the_same_bytes_from_a_repository_are_signed_from_then_on(device: Device) -> None:
    loud = device.store(allow_unsigned=True)
    model = loud.activate(loud.install(device.bundle("1.1.0"), UNSIGNED))
    assert device.running() == "1.0.0"
    assert device.stage(1) == model and device.running() == "1.1.0"
    loud.install(device.bundle("1.1.0"), UNSIGNED)
    assert device.running() == "1.1.0"


def test_a_state_that_an_older_runtime_wrote_is_read(device: Device) -> None:
    signed, unsigned = device.stage(1), device.stage(2)
    inner = msgspec.json.encode({"current": unsigned.sha256, "previous": "", "quarantined": {}, "starts": []})
    outer = {"format": "model-store/1", "sha256": hashlib.sha256(inner).hexdigest(), "state": msgspec.Raw(inner)}
    (device.state / "models" / "state.json").write_bytes(msgspec.json.encode(outer))
    assert device.running() == "1.0.0", "nothing is known of where 1.2.0 came from"
    bundle = device.store(allow_unsigned=True).current()
    assert bundle and bundle.manifest.version == "1.2.0"
    assert device.store().candidate is None and device.stage(1) == signed


def test_clean_up_keeps_current_previous_and_the_candidate(device: Device) -> None:
    first, second = device.deploy(1), device.deploy(2)
    third = device.stage(3)
    device.store().shadow(third)
    for release in range(4, 4 + MAX_STAGED + 3):
        device.stage(release)
    kept = {path.stem for path in (device.state / "models").glob("*.zip")}
    assert {first.sha256, second.sha256, third.sha256} <= kept and len(kept) <= 3 + MAX_STAGED
    assert set(device.store().list()) and device.running() == "1.2.0"


def test_a_change_by_another_process_is_noticed_by_a_look_at_the_file(device: Device) -> None:
    mine, theirs = device.store(), device.store()
    assert not mine.changed(), "no state, no file"
    new = device.stage(1)
    assert mine.changed()
    mine.current()
    assert not mine.changed()
    theirs.try_out(new)
    assert mine.changed()
    mine.note_healthy()
    assert mine.changed(), "what another process changed is not swallowed by a change of one's own"
    bundle = mine.current()
    assert bundle and bundle.manifest.version == "1.1.0" and not mine.changed()


def test_what_was_measured_about_a_bundle_is_kept_with_it(device: Device) -> None:
    new = device.stage(1)
    factory = next(entry.sha256 for entry in device.store().list() if entry.factory)
    for sha256 in (new.sha256, factory):
        assert device.store().proof_of(sha256) is None
        device.store().note_proof(sha256, "model.fp32.onnx", "float is 1.3 times as fast here")
        proof = device.store().proof_of(sha256)
        assert proof and proof.variant == "model.fp32.onnx" and "1.3" in proof.said
    device.stage(1)
    assert device.store().proof_of(new.sha256) is not None
    assert device.running() == "1.0.0" and device.store().proof_of("0" * 64) is None


def test_a_factory_model_that_crashed_is_tried_again_after_a_rest(device: Device) -> None:
    for _ in range(4):
        device.store().note_start()
    assert device.running() == "none"
    device.clock.advance(600)
    device.store().note_start()
    assert device.running() == "none"
    device.clock.advance(3600)
    assert not device.store().note_start().fall_back and device.running() == "1.0.0"


def test_fault_17_a_clock_that_was_years_ahead_does_not_keep_the_factory_model_out_for_years(device: Device) -> None:
    device.clock.wall_s += 5 * 365 * 86_400.0
    for _ in range(4):
        device.store().note_start()
    assert device.running() == "none"
    device.clock.reboot(wall_s=1.8e9)
    assert not device.store().note_start().fall_back and device.running() == "1.0.0"


def test_a_failed_change_is_no_memory_that_hides_what_another_process_does(device: Device) -> None:
    device.deploy(1)
    new, files = device.stage(2), FaultyFiles(5, "errno")
    mine = device.store(files)
    with pytest.raises(Unavailable):
        mine.try_out(new)
    assert Device.version(mine) == "1.1.0"
    device.store().rollback("recalled", running=new.sha256)
    device.store().note_proof("0" * 64, "model.onnx", "another change")
    assert {entry.version for entry in mine.list() if entry.status == "quarantined"} == {"1.2.0"}


def test_a_state_that_can_not_be_read_is_not_written_over(device: Device) -> None:
    device.deploy(1)
    bad = device.deploy(2)
    device.store().rollback("bad")
    files = [device.state / "models" / "state.json", device.state / "model-state.json"]
    for file in files:
        file.rename(file.with_suffix(".kept"))
        file.mkdir()  # what is there can be opened by nobody
    store = device.store()
    assert Device.version(store) == "1.0.0" and "can not be read" in store.problems[0]
    with pytest.raises(Unavailable, match="can not be read"):
        device.stage(3)
    store.note_start()
    assert store.degraded and Device.version(store) == "1.0.0"
    for file in files:
        file.rmdir()
        file.with_suffix(".kept").rename(file)
    assert Device.version(store) == "1.1.0", "as soon as the disk says it"
    store.note_start()
    assert not store.degraded and not store.problems and device.running() == "1.1.0"
    assert {entry.sha256 for entry in store.list() if entry.status == "quarantined"} == {bad.sha256}


def test_a_candidate_that_is_next_in_the_chain_is_none_once_it_runs(tmp_path: Path) -> None:
    """The factory's model in its shadow run: when the current one goes, it runs, and the next rollback is about it."""
    device = Device(tmp_path)
    current = device.deploy(1)
    store = device.store()
    factory = next(entry for entry in store.list() if entry.factory)
    store.shadow(ModelId(factory.name, factory.version, factory.sha256))
    store.rollback("answered NaN", running=current.sha256)
    assert device.running() == "1.0.0"
    assert device.store().candidate is None


def test_an_unsigned_bundle_that_is_passed_over_is_not_called_damaged(tmp_path: Path) -> None:
    device = Device(tmp_path)
    bench = device.store(allow_unsigned=True)
    model = bench.install(device.bundle("1.5.0"), UNSIGNED)
    bench.try_out(model)
    bench.commit(model.sha256)
    (entry,) = [entry for entry in device.store().list() if entry.version == "1.5.0"]
    assert entry.status == "staged" and "unsigned" in entry.reason
