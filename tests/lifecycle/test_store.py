"""The model store as an operator and the daemon use it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_runtime.errors import ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.bundle import Bundle, sha256_of_file
from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.files import DiskFiles
from edge_runtime.lifecycle.state_file import MAX_QUARANTINED, StoreState, decode_state, encode_state
from edge_runtime.lifecycle.store import MAX_STAGED, ModelStore
from edge_runtime.lifecycle.transitions import quarantined
from edge_runtime.records import ModelId

from .bundles import make_bundle
from .disks import FaultyFiles, HandClock


class Device:
    """A state folder, two factory bundles and a clock; `store()` is what a fresh process would see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.clock = HandClock()
        self.factory = [make_bundle(root / f"factory-{v}.zip", v) for v in ("0.9.0", "1.0.0")]

    def store(self, files: DiskFiles | None = None) -> ModelStore:
        return ModelStore(self.state, self.factory, self.clock, files, allow_unsigned=True)

    def bundle(self, version: str, behaviour: str = "good") -> Path:
        return make_bundle(self.root / f"new-{version}-{behaviour}.zip", version, behaviour)

    def running(self) -> str:
        bundle = self.store().current()
        return bundle.manifest.version if bundle else "none"

    def deploy(self, version: str) -> ModelId:
        store = self.store()
        return store.activate(store.install(self.bundle(version)))

    def damage(self, model: ModelId) -> None:
        path = self.state / "models" / f"{model.sha256}.zip"
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def statuses(device: Device) -> dict[str, str]:
    return {entry.version: entry.status for entry in device.store().list()}


def test_a_new_device_runs_the_newest_factory_model_and_reading_writes_nothing(device: Device) -> None:
    assert device.running() == "1.0.0"
    assert statuses(device) == {"1.0.0": "current", "0.9.0": "factory"}
    assert not device.state.exists()


def test_install_stages_and_activate_runs(device: Device) -> None:
    store = device.store()
    model = store.install(device.bundle("1.1.0"))
    assert model.version == "1.1.0" and device.running() == "1.0.0"
    assert statuses(device)["1.1.0"] == "staged"
    assert store.activate(model) == model
    assert device.running() == "1.1.0"
    assert statuses(device) == {"1.1.0": "current", "1.0.0": "previous", "0.9.0": "factory"}
    assert [step.phase for step in store.history] == ["staged", "trial", "committed"]


def test_installing_and_activating_twice_changes_nothing_more(device: Device) -> None:
    first = device.deploy("1.1.0")
    device.deploy("1.2.0")
    assert device.deploy("1.2.0").version == "1.2.0"
    assert statuses(device)["1.1.0"] == "previous"
    assert device.store().rollback("bad answers") == first


def test_rollback_goes_to_the_previous_model_and_bars_the_digest(device: Device) -> None:
    first, second = device.deploy("1.1.0"), device.deploy("1.2.0")
    store = device.store()
    assert store.rollback("NaN for 3 slots") == first
    assert device.running() == "1.1.0"
    entry = next(entry for entry in store.list() if entry.sha256 == second.sha256)
    assert entry.status == "quarantined" and entry.reason == "NaN for 3 slots" and entry.version == "1.2.0"
    with pytest.raises(Refused, match="quarantined"):
        store.activate(second)
    with pytest.raises(Refused, match="quarantined"):
        device.store().install(device.bundle("1.2.0"))
    assert not list(device.state.rglob("*.part"))


def test_the_chain_ends_in_safe_mode_and_is_still_updatable(device: Device) -> None:
    device.deploy("1.1.0")
    store = device.store()
    assert store.rollback("a") is not None and device.running() == "1.0.0"
    assert store.rollback("b") is not None and device.running() == "0.9.0"
    assert store.rollback("c") is None and device.running() == "none"
    assert store.rollback("d") is None
    assert device.deploy("2.0.0").version == "2.0.0"
    assert device.running() == "2.0.0"


def test_damaged_bundles_are_passed_over_and_told(device: Device) -> None:
    first, second = device.deploy("1.1.0"), device.deploy("1.2.0")
    device.damage(second)
    store = device.store()
    bundle = store.current()
    assert bundle and bundle.manifest.version == "1.1.0"
    assert len(store.problems) == 1 and second.sha256 in store.problems[0]
    device.damage(first)
    assert device.running() == "1.0.0"
    device.factory[1].write_bytes(b"")
    assert device.running() == "0.9.0"
    device.factory[0].unlink()
    assert device.running() == "none"
    device.deploy("3.0.0")
    assert device.running() == "3.0.0"


def test_a_file_under_another_digest_does_not_run(device: Device) -> None:
    model = device.deploy("1.1.0")
    shutil.copy(device.bundle("6.6.6"), device.state / "models" / f"{model.sha256}.zip")
    assert device.running() == "1.0.0"


def test_an_operators_rollback_bars_nothing_and_needs_somewhere_to_go(device: Device) -> None:
    second = device.deploy("1.1.0")
    store = device.store()
    assert store.rollback("asked for", quarantine=False) is not None
    assert device.running() == "1.0.0"
    assert store.rollback("asked for", quarantine=False) is not None
    assert device.running() == "0.9.0"
    store.activate(second)
    assert device.running() == "1.1.0"
    device.factory.clear()
    with pytest.raises(Refused, match="no other model"):
        device.store().rollback("asked for", quarantine=False)
    assert device.running() == "1.1.0"


def test_a_newer_factory_model_is_taken_after_a_rollback_to_the_factory(device: Device) -> None:
    device.deploy("1.0.5")
    device.store().rollback("bad")
    device.factory.append(make_bundle(device.root / "factory-1.1.0.zip", "1.1.0"))
    assert device.running() == "1.1.0"


def test_a_rollback_of_a_model_that_no_longer_is_current_leaves_the_new_one(device: Device) -> None:
    old = device.deploy("1.1.0")
    new = device.deploy("1.2.0")
    assert device.store().rollback("crashed", running=old.sha256) == new
    assert statuses(device)["1.1.0"] == "quarantined" and device.running() == "1.2.0"


def test_a_failed_probe_quarantines_and_the_old_model_runs_on(device: Device) -> None:
    def probe(bundle: Bundle) -> None:
        raise ModelFault(f"{bundle.manifest.version} answers NaN")

    store = device.store()
    model = store.install(device.bundle("1.1.0", "nan"))
    with pytest.raises(ModelFault):
        store.activate(model, probe)
    assert device.running() == "1.0.0" and statuses(device)["1.1.0"] == "quarantined"
    store.release(model.sha256)
    assert "1.1.0" not in statuses(device)
    assert store.install(device.bundle("1.1.0", "nan")) == model
    with pytest.raises(Refused, match="not quarantined"):
        store.release(model.sha256)


def test_a_digest_can_be_barred_before_it_was_ever_seen(device: Device) -> None:
    path = device.bundle("1.1.0")
    device.store().quarantine(sha256_of_file(path), "recalled")
    with pytest.raises(Refused, match="quarantined"):
        device.store().install(path)


def test_a_full_list_of_quarantined_digests_forgets_the_oldest_whatever_the_clock_says(device: Device) -> None:
    state = StoreState()
    for number in range(MAX_QUARANTINED + 2):
        model, at = ModelId("m", "1.0.0", f"{number:064x}"), Instant("boot", 0.0, 1e9 - number)
        state = quarantined(state, model, "bad", at)
    kept = decode_state(encode_state(state)).quarantined
    assert list(kept) == [f"{number:064x}" for number in range(2, MAX_QUARANTINED + 2)]


def test_what_can_not_be_installed_or_activated(device: Device, tmp_path: Path) -> None:
    store = device.store()
    (tmp_path / "text.zip").write_text("hello")
    for path, family in ((tmp_path / "text.zip", Refused), (tmp_path / "absent.zip", Unavailable), (tmp_path, Refused)):
        with pytest.raises(family):
            store.install(path)
    with pytest.raises(Unavailable, match="no bundle"):
        store.activate(ModelId("x", "1.0.0", "0" * 64))
    for bad in ("", "../../etc/passwd", "Z" * 64):
        with pytest.raises(Refused, match="not a sha256"):
            store.activate(ModelId("x", "1.0.0", bad))
    assert device.running() == "1.0.0"


def test_the_store_keeps_a_bounded_number_of_bundles(device: Device) -> None:
    running = device.deploy("1.1.0")
    for number in range(MAX_STAGED + 4):
        device.store().install(device.bundle(f"2.0.{number}"))
    kept = list((device.state / "models").glob("*.zip"))
    assert len(kept) <= MAX_STAGED + 2 and running.sha256 in {path.stem for path in kept}
    assert f"2.0.{MAX_STAGED + 3}" in statuses(device)


def test_three_crashes_in_ten_minutes_fall_back_and_it_survives_a_reboot(device: Device) -> None:
    bad = device.deploy("1.1.0")
    for _ in range(3):
        assert not device.store().note_start().fall_back
        device.clock.advance(100)
    device.clock.reboot()
    verdict = device.store().note_start()
    assert verdict.fall_back and "3 starts" in verdict.reason
    assert device.running() == "1.0.0"
    device.clock.reboot()
    assert not device.store().note_start().fall_back and device.running() == "1.0.0"
    assert {e.sha256 for e in device.store().list() if e.status == "quarantined"} == {bad.sha256}


def test_slow_crashes_power_cuts_and_orderly_stops_do_not_count(device: Device) -> None:
    device.deploy("1.1.0")
    for _ in range(6):
        assert not device.store().note_start().fall_back
        device.clock.advance(400)
    for _ in range(6):
        assert not device.store().note_start().fall_back
        device.store().note_healthy()
        device.clock.reboot()
    for _ in range(6):
        assert not device.store().note_start().fall_back
        device.store().note_healthy()
        device.store().note_stopped()
    assert device.running() == "1.1.0"


def test_a_model_that_runs_well_for_a_while_and_then_crashes_is_found_too(device: Device) -> None:
    device.deploy("1.1.0")
    for _ in range(3):
        assert not device.store().note_start().fall_back
        device.clock.advance(60)
        device.store().note_healthy()
        device.clock.advance(60)
    assert device.store().note_start().fall_back and device.running() == "1.0.0"


@pytest.mark.parametrize("jump", [-365 * 86400, -1.7e9, 5 * 365 * 86400])
def test_crashes_count_within_one_boot_whatever_the_wall_clock_does(device: Device, jump: float) -> None:
    device.deploy("1.1.0")
    for _ in range(3):
        device.store().note_start()
        device.clock.advance(10)
        device.clock.wall_s += jump
    assert device.store().note_start().fall_back


@pytest.mark.parametrize("wall_s", [0.0, 1.8e9 - 365 * 86400])
def test_crashes_count_across_boots_when_the_clock_goes_back(device: Device, wall_s: float) -> None:
    device.deploy("1.1.0")
    for _ in range(3):
        device.store().note_start()
        device.clock.reboot(wall_s)
    assert device.store().note_start().fall_back


def test_a_factory_model_that_crashes_gives_way_to_the_older_one_then_to_safe_mode(device: Device) -> None:
    seen = []
    for _ in range(9):
        device.store().note_start()
        seen.append(device.running())
        device.clock.advance(5)
    assert seen == ["1.0.0"] * 3 + ["0.9.0"] * 3 + ["none"] * 3


BROKEN = ("empty", "other", "short", "changed", "binary", "deep")


def broken(whole: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "other": b"{}",
        "short": whole[:-20],
        "changed": whole.replace(b'"current"', b'"curtain"'),
        "binary": b"\xff" * 50,
        "deep": b"[" * 100_000,
    }[how]


@pytest.mark.parametrize("how", BROKEN)
def test_a_corrupt_state_file_is_set_aside_and_its_second_copy_counts(device: Device, how: str) -> None:
    bad = device.deploy("1.2.0")
    device.store().rollback("bad")
    device.deploy("1.1.0")
    state = device.state / "models" / "state.json"
    state.write_bytes(broken(state.read_bytes(), how))
    store = device.store()
    bundle = store.current()
    assert bundle and bundle.manifest.version == "1.1.0" and "second copy" in store.problems[0]
    assert {entry.sha256 for entry in store.list() if entry.status == "quarantined"} == {bad.sha256}
    assert not store.note_start().fall_back
    assert store.current() is not None and "second copy" in store.problems[0], "told for as long as this process lives"
    assert (state.parent / "state.json.corrupt").exists() and not device.store().problems
    assert device.running() == "1.1.0"


@pytest.mark.parametrize("how", BROKEN)
def test_a_corrupt_second_copy_is_written_again(device: Device, how: str) -> None:
    device.deploy("1.1.0")
    copy = device.state / "model-state.json"
    whole = copy.read_bytes()
    copy.write_bytes(broken(whole, how))
    assert device.running() == "1.1.0"
    device.store().settle()
    assert copy.read_bytes() == whole and device.running() == "1.1.0"


def test_with_both_copies_of_the_state_corrupt_the_store_starts_afresh(device: Device) -> None:
    device.deploy("1.1.0")
    for path in (device.state / "models" / "state.json", device.state / "model-state.json"):
        path.write_bytes(b"\0" * 100)
    store = device.store()
    assert device.running() == "1.0.0" and store.current() is not None and "afresh" in store.problems[0]
    assert device.deploy("1.2.0") and device.running() == "1.2.0"


def test_a_deleted_state_file_comes_back_from_its_second_copy(device: Device) -> None:
    device.deploy("1.1.0")
    (device.state / "models" / "state.json").unlink()
    assert device.running() == "1.1.0"
    device.store().settle()
    assert (device.state / "models" / "state.json").exists() and not device.store().problems


def test_every_changed_byte_of_the_state_is_noticed(device: Device) -> None:
    device.deploy("1.1.0")
    state = device.state / "models" / "state.json"
    whole = state.read_bytes()
    for place in range(len(whole)):
        state.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        store = device.store()
        assert store.candidate is None and "second copy is used" in " ".join(store.problems), place
    assert device.running() == "1.1.0"


def test_fields_of_a_later_version_are_passed_over(device: Device) -> None:
    import hashlib

    import msgspec

    model = device.deploy("1.1.0")
    inner = b'{"current":"%s","trials":{"phase":"dark"},"floor":{}}' % model.sha256.encode()
    outer = {"format": "model-store/1", "sha256": hashlib.sha256(inner).hexdigest(), "state": msgspec.Raw(inner)}
    (device.state / "models" / "state.json").write_bytes(msgspec.json.encode(outer))
    assert device.running() == "1.1.0"


def test_on_a_read_only_disk_safety_goes_on_in_memory(device: Device) -> None:
    device.deploy("1.1.0")
    store = device.store(FaultyFiles(1, "errno_for_good", 30))
    assert not store.note_start().fall_back and store.degraded
    assert store.rollback("NaN") is not None
    bundle = store.current()
    assert bundle and bundle.manifest.version == "1.0.0"
    with pytest.raises(Unavailable, match="can not be written"):
        store.install(device.bundle("1.2.0"))
    assert device.running() == "1.1.0", "the disk has not changed"


def test_memory_goes_to_the_disk_as_soon_as_the_disk_takes_it(device: Device) -> None:
    device.deploy("1.1.0")
    files = FaultyFiles(1, "errno_for_good", 30)
    store = device.store(files)
    store.rollback("NaN")
    files.nth = 0
    store.note_start()
    assert not store.degraded and device.running() == "1.0.0"


@pytest.mark.parametrize("nth", range(1, 16))
def test_a_full_disk_refuses_an_install_and_leaves_nothing(device: Device, nth: int) -> None:
    device.deploy("1.1.0")
    before = sorted(path.name for path in (device.state / "models").iterdir())
    files = FaultyFiles(nth, "errno", 28)
    store = device.store(files)
    try:
        store.install(device.bundle("1.2.0"))
        assert store.degraded or files.steps < nth, "what is not refused is told"
    except (TryAgain, Unavailable) as refusal:
        assert "full" in refusal.found and refusal.mend
        after = sorted(path.name for path in (device.state / "models").iterdir() if path.suffix != ".new")
        assert len(after) <= len(before) + 1, "at most the whole bundle, if only the folder's sync failed"
    assert device.running() == "1.1.0"


def test_two_installs_at_once_are_kept_apart(device: Device) -> None:
    store = device.store()
    files = DiskFiles()
    files.make_folder(device.state / "models")
    with files.lock(device.state / "models" / "install.lock", 0), pytest.raises(TryAgain, match="another process"):
        store.install(device.bundle("1.2.0"))
