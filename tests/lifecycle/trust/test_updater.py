"""What the device adds to TUF: floors, a disk that fails, two processes, and speaking in the words of the house."""

from __future__ import annotations

import ast
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults import clocks, metadata, trust_kill
from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust import rules
from edge_runtime.lifecycle.trust.ceilings import CEILINGS
from edge_runtime.lifecycle.trust.release import Target, model_path, release_of, require_plain_path

from ..disks import FaultyFiles, Killed
from .simulator import DAY_S, Device, Simulator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def two(device: Device, sim: Simulator) -> Device:
    """The repository offers 1.0.0 and 1.1.0; the device has run 1.1.0."""
    sim.release("1.1.0", b"later" * 100, 2)
    sim.publish("targets")
    device.refresh()
    device.updater().floors.raise_release("shelf", 2)
    return device


@pytest.mark.parametrize("digest", ["../victim", "/{}/victim", "F" * 64, "0" * 63, ""])
def test_a_digest_that_is_none_names_no_file(device: Device, sim: Simulator, digest: str) -> None:
    """It is signed, and becomes a name in the staging folder: nothing outside of that may be written or removed."""
    victims = [device.state / f"victim.{kind}" for kind in ("part", "zip")]
    device.state.mkdir(parents=True, exist_ok=True)
    for victim in victims:
        victim.write_bytes(b"precious")
    digest = digest.format(device.state)
    path = "models/shelf/shelf-1.0.0.zip"
    sim.targets.targets[path].hashes["sha256"] = digest
    sim.served[f"targets/models/shelf/{digest}.shelf-1.0.0.zip"] = b"spoil" * 100
    sim.publish("targets")
    updater = device.updater()
    assert not updater.releases("shelf")
    with pytest.raises(Unavailable, match="lists no"):
        updater.read_target(path, 1000)
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * 2
    assert not list((device.state / "staging").glob("*"))


def test_newest_first_by_release_not_by_version(device: Device, sim: Simulator) -> None:
    sim.release("0.9.0", b"hot fix" * 10, 3)
    sim.publish("targets")
    assert [(r.version, r.release) for r in device.updater().releases("shelf")] == [("0.9.0", 3), ("1.0.0", 1)]
    assert device.updater().releases("nobody") == ()


def test_a_release_below_the_floor_is_refused_and_the_floor_itself_is_not(two: Device) -> None:
    updater = two.updater()
    newer, older = updater.releases("shelf")
    assert updater.fetch(newer).exists()
    with pytest.raises(Refused, match="release 1; this device has run release 2"):
        updater.fetch(older)


def test_the_floor_is_one_name_s(two: Device, sim: Simulator) -> None:
    sim.release("1.0.0", b"x", 1, name="other")
    sim.publish("targets")
    assert two.newest("other") == b"x"


def test_all_trusted_metadata_zeroed_and_an_old_repository(two: Device, sim: Simulator) -> None:
    del sim.targets.targets["models/shelf/shelf-1.1.0.zip"]
    for role in ("timestamp", "snapshot", "targets"):
        sim.signed(role).version = 1
    sim.publish("targets", bump=False)
    kept = two.state / "trust" / "metadata.json"
    for spoil in (b"\0" * kept.stat().st_size, b"", None):
        kept.write_bytes(spoil) if spoil is not None else kept.unlink()
        with pytest.raises(Refused, match="this device has run release 2"):
            two.newest()


def test_lost_metadata_does_not_bring_back_an_old_root(device: Device, sim: Simulator) -> None:
    sim.rotate("root")
    sim.publish_root()
    device.refresh()
    (device.state / "trust" / "metadata.json").unlink()
    newest = sim.roots.pop()
    with pytest.raises(Refused, match="newest root is version 1; this device has trusted version 2"):
        device.refresh()
    sim.roots.append(newest)
    device.refresh()
    assert device.versions()["root"] == 2


def test_a_new_enrolment_begins_anew(device: Device, sim: Simulator, tmp_path: Path) -> None:
    sim.publish_root()
    device.refresh()
    other = Simulator(sim.clock)
    device.sim, device.enrolled = other, other.roots[0]
    device.refresh()
    assert device.versions() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_the_time_floor_follows_the_repository_not_the_clock(device: Device, sim: Simulator) -> None:
    floors = device.updater().floors
    began = floors.time_s
    sim.clock.advance(5 * 365 * DAY_S)
    with pytest.raises(Refused, match="expired"):
        device.refresh()
    assert floors.time_s == began
    sim.clock.advance(-5 * 365 * DAY_S + 10 * DAY_S)
    device.refresh()
    assert floors.time_s == pytest.approx(began + 10 * DAY_S)


@pytest.mark.parametrize("wall_s", [0.0, 1.5e9, 1.8e9 - 365 * DAY_S, 1.8e9 - 2 * DAY_S])
def test_a_clock_below_the_floor_installs_nothing_until_it_is_set(
    device: Device, sim: Simulator, wall_s: float
) -> None:
    right, sim.clock.wall_s = sim.clock.wall_s, wall_s
    for ask in (device.refresh, device.newest):
        with pytest.raises(TryAgain, match="Set the clock"):
            ask()
    assert sim.asked == [], "nobody is asked either"
    sim.clock.wall_s = right
    assert device.newest()


def test_a_clock_that_is_set_back_a_little_goes_on(device: Device, sim: Simulator) -> None:
    sim.clock.wall_s -= 1_000
    assert device.newest()


def test_a_new_device_at_1970_waits(tmp_path: Path, sim: Simulator) -> None:
    sim.clock.wall_s = 100.0
    with pytest.raises(TryAgain, match="Set the clock"):
        Device(tmp_path / "new", sim).refresh()


def test_nothing_is_written_when_nothing_is_new(device: Device, sim: Simulator) -> None:
    before = {path: path.stat().st_mtime_ns for path in device.state.rglob("*.json")}
    sim.clock.advance(60)
    device.refresh()
    assert {path: path.stat().st_mtime_ns for path in device.state.rglob("*.json")} == before


def test_another_process_is_waited_for_and_then_told(device: Device) -> None:
    device.ceilings = replace(CEILINGS, lock_wait_s=0.1)
    updater = device.updater()
    with updater._alone(), pytest.raises(TryAgain, match="another process"):
        device.refresh()
    device.refresh()


@pytest.mark.parametrize(("fault", "first"), [("kill", 1), ("kill_half", 2), ("kill_after", 1), ("kill_after", 2)])
def test_killed_at_every_other_step(two: Device, sim: Simulator, tmp_path: Path, fault: str, first: int) -> None:
    sim.release("1.2.0", b"newest" * 100, 3)
    sim.publish_root()
    sim.publish("targets")
    sim.clock.advance(DAY_S)
    shutil.copytree(two.state, tmp_path / "picture")
    before = two.versions()
    for nth in range(first, 80, 2):
        shutil.rmtree(two.state)
        shutil.copytree(tmp_path / "picture", two.state)
        two.files = FaultyFiles(nth, fault)
        try:
            two.newest()
            assert nth > 10
            return
        except Killed:
            two.files = FaultyFiles()
            assert two.versions() in (before, {"root": 2, "timestamp": 3, "snapshot": 3, "targets": 3})
            assert two.newest() == b"newest" * 100 and not two.updater().problems
            assert two.updater().floors.release("shelf") == 2
    pytest.fail("it never ended by itself")


@pytest.mark.parametrize(
    ("code", "fault"), [(errno.EIO, "errno"), (errno.ENOSPC, "errno_for_good"), (errno.EROFS, "errno_for_good")]
)
def test_the_disk_fails_at_every_step(two: Device, sim: Simulator, tmp_path: Path, code: int, fault: str) -> None:
    sim.release("1.2.0", b"newest" * 100, 3)
    sim.publish("targets")
    sim.clock.advance(DAY_S)
    shutil.copytree(two.state, tmp_path / "picture")
    for nth in itertools.count(1):
        shutil.rmtree(two.state)
        shutil.copytree(tmp_path / "picture", two.state)
        two.files = files = FaultyFiles(nth, fault, code)
        try:
            two.newest()
        except TryAgain as met:
            assert met.mend
        two.files = FaultyFiles()
        assert two.newest() == b"newest" * 100
        if files.steps < nth:
            break
    assert nth > 8


@pytest.mark.integration
def test_a_full_disk_while_staging(tmp_path: Path, sim: Simulator) -> None:
    """A real file system of 1 MB: the download is refused before and given up in the middle, and nothing of it stays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a file system")
    try:
        device = Device(disk / "state", sim)
        sim.release("2.0.0", os.urandom(700_000), 2)
        sim.publish("targets")
        with pytest.raises(TryAgain, match="MB are needed"):
            device.newest()
        sim.release("3.0.0", os.urandom(300_000), 3)
        sim.publish("targets")
        release = device.updater().releases("shelf")[0]
        filler = disk / "filler"

        def fill(there: int, of: int) -> None:
            if there > of / 2 and not filler.exists():
                room = shutil.disk_usage(disk).free
                filler.write_bytes(b"x" * max(0, room - 8_192))

        with pytest.raises(TryAgain, match="can not be written"):
            device.updater().fetch(release, fill)
        assert not [path for path in (disk / "state" / "staging").iterdir() if path.suffix == ".part"]
        filler.unlink()
        assert device.updater().fetch(release).stat().st_size == 300_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_disk_is_told(device: Device) -> None:
    device.files = FaultyFiles(1, "errno_for_good", errno.EROFS)
    with pytest.raises(TryAgain, match="writable"):
        device.refresh()


def test_metadata_that_the_disk_does_not_give_is_not_forgotten(device: Device) -> None:
    kept = device.state / "trust" / "metadata.json"
    raw = kept.read_bytes()
    kept.unlink()
    kept.mkdir()
    with pytest.raises(TryAgain, match="can not be read"):
        device.refresh()
    kept.rmdir()
    kept.write_bytes(raw)
    device.refresh()


def test_a_repository_without_versions_in_its_names(tmp_path: Path, sim: Simulator) -> None:
    sim.root.consistent_snapshot = False
    sim.roots.clear()
    sim.publish_root(bump=False)
    device = Device(tmp_path / "s", sim)
    assert device.newest() == b"first" * 100
    assert "targets/models/shelf/shelf-1.0.0.zip" in sim.asked


def test_more_metadata_than_is_kept_is_only_fetched_again(device: Device, sim: Simulator) -> None:
    sim.delegate("targets", "models", ("models/*/*",)).unrecognized_fields["filling"] = "x" * 50_000
    sim.release("1.5.0", b"good", 5, role="models")
    sim.publish("targets", "models")
    device.ceilings = replace(CEILINGS, kept_bytes=20_000)
    for _ in range(2):
        assert device.newest() == b"good"
    assert set(device.versions()) == {"root", "timestamp", "snapshot", "targets"}


WORDS = st.text(max_size=20) | st.sampled_from(["shelf", "1.0.0", "models", "..", "", "a/b"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda c: st.lists(c) | st.dictionaries(WORDS, c),
    max_leaves=6,
)


@given(JSON | st.fixed_dictionaries({"name": WORDS, "version": WORDS, "release": st.integers() | WORDS}), WORDS)
def test_whatever_a_description_holds_it_is_a_release_or_refused(custom: object, path: str) -> None:
    try:
        release = release_of(Target(f"models/{path}", "0" * 64, 1, custom))
    except Refused as fault:
        assert fault.mend
    else:
        assert release.target == model_path(release.name, release.version) and release.release > 0


@given(st.text(alphabet="ab./\\%\0 \u00e9~", max_size=12))
def test_a_plain_path_stays_below_its_folder(path: str) -> None:
    try:
        require_plain_path(path)
    except Refused:
        return
    assert (Path("/base") / path).resolve().is_relative_to("/base") and not set(path) & set("\\%\0 ")


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cryptography", "requests"):
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""
DEVICE = """
import json, sys, time
from pathlib import Path
from edge_runtime.lifecycle.trust.updater import Updater
from edge_runtime.errors import EdgeError
folder, state, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
updater = Updater(state, str(folder / at), (folder / "old/metadata/1.root.json").read_bytes())
try:
    release = updater.releases("shelf")[0]
    print(json.dumps({"got": updater.fetch(release).stat().st_size, "release": release.release}))
except EdgeError as fault:
    print(json.dumps({"fault": type(fault).__name__, "said": str(fault)}))
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    trust_kill.make_scene(folder)
    return folder


def run_device(
    code: str, scene: Path, state: Path, repository: str, *before: str
) -> tuple[dict[str, object], set[str]]:
    command = [*before, sys.executable, "-c", code, str(scene), str(state), repository]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, modules = (json.loads(line) for line in done.stdout.splitlines())
    return said, set(modules)


def test_a_device_without_cryptography_verifies_in_pure_python(scene: Path, tmp_path: Path) -> None:
    said, modules = run_device(BLOCKED + DEVICE, scene, tmp_path / "s", "new")
    assert said == {"got": 3000, "release": 2} and not modules & {"cryptography", "requests"}
    bad = tmp_path / "bad"
    shutil.copytree(scene, bad)
    timestamp = bad / "new" / "metadata" / "timestamp.json"
    timestamp.write_text(timestamp.read_text().replace('"version":', '"version": 1', 1))
    said, _ = run_device(BLOCKED + DEVICE, bad, tmp_path / "t", "new")
    assert said["fault"] == "Refused"


def test_both_ways_of_verifying_keep_the_same(scene: Path, tmp_path: Path) -> None:
    run_device(BLOCKED + DEVICE, scene, tmp_path / "a", "new")
    run_device(DEVICE, scene, tmp_path / "b", "new")
    one, other = ((tmp_path / name / "trust" / "metadata.json").read_bytes() for name in "ab")
    assert one == other


@pytest.mark.integration
def test_a_real_clock_set_wrong(scene: Path, tmp_path: Path, program: Callable[[str, str], str]) -> None:
    faketime = program("faketime", "faketime")
    run_device(DEVICE, scene, tmp_path / "s", "new")
    clocks_set = (("-f", "-365d"), "TryAgain"), (("-f", "+1826d"), "Refused"), (("1970-01-02 00:00:00",), "TryAgain")
    for wrong, family in clocks_set:
        said, _ = run_device(DEVICE, scene, tmp_path / "s", "new", faketime, *wrong)
        assert said["fault"] == family and "clock" in str(said["said"]), (wrong, said)
    said, _ = run_device(DEVICE, scene, tmp_path / "s", "new")
    assert said["release"] == 2


def test_importing_the_trust_layer_loads_neither_tuf_nor_what_it_brings() -> None:
    code = "import sys, json, edge_runtime.lifecycle.trust.updater; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not tops & {"tuf", "securesystemslib", "cryptography", "requests", "urllib3"}


def test_one_file_of_the_device_knows_tuf() -> None:
    owner = Path(rules.__file__)
    for path in (ROOT / "edge_runtime" / "lifecycle").rglob("*.py"):
        names = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        names -= {"securesystemslib._vendor.ed25519.ed25519"} if path.name == "signatures.py" else set()
        assert path == owner or not {n for n in names if n.split(".")[0] in ("tuf", "securesystemslib")}, path


def test_a_slice_of_the_byte_campaign() -> None:
    rows = list(metadata.campaign(quick=True, stride=257))
    assert len(rows) == 12 and not [row for row in rows if row.held != row.points], rows


def test_a_slice_of_the_clock_campaign() -> None:
    rows = list(clocks.campaign(quick=True))
    assert len(rows) == 8 and not [row for row in rows if row.held != row.points], rows


@pytest.mark.parametrize("start", trust_kill.STARTS, ids=lambda start: start.name)
def test_a_slice_of_the_kill_campaign(start: trust_kill.Start) -> None:
    with tempfile.TemporaryDirectory(dir=trust_kill.memory_disk()) as folder:
        bench = trust_kill.Bench(trust_kill.make_scene(Path(folder)), Path(folder))
        rows = [bench.kill_row(start, 31)]
        if trust_kill.CAN_FAIL_CALLS:
            rows.append(bench.fail_row(start, 83, trust_kill.CHANGES | trust_kill.LOOKS, 3))
    assert not [row for row in rows if row.held != row.points], rows
