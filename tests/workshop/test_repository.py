"""An operator's repository: what is published is what devices get, and what goes wrong is said before it is served."""

from __future__ import annotations

import shutil
import stat
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lifecycle.bundles import make_bundle
from lifecycle.disks import FaultyFiles, Killed
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater as TufClient

from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.updater import Updater
from edge_runtime.workshop.repository import changes
from edge_runtime.workshop.repository.folder import RepositoryFolder
from edge_runtime.workshop.repository.keys import KeyFolders, read_passphrase
from edge_runtime.workshop.repository.plan import FLEET, NEWCOMER, Plan
from edge_runtime.workshop.repository.verify import releases_of, roles_of, verify

NAME = "shelf-test"


class Desk:
    """An operator with a repository, its keys, and a device that was enrolled on the first day."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.folder, self.keys_folder = root, root / "repository", root / "repository.keys"
        changes.init(self.folder, plan, self.keys())
        self.enrolled = (self.folder / "root.json").read_bytes()

    def keys(self) -> KeyFolders:
        return KeyFolders([self.keys_folder])

    def bundle(self, version: str, behaviour: str = "good") -> Path:
        return make_bundle(self.root / f"{version}-{behaviour}.zip", version, behaviour)

    def publish(self, *versions: str) -> list[changes.Published]:
        return changes.publish(self.folder, [self.bundle(version) for version in versions], self.keys())

    def device(self) -> Updater:
        return Updater(self.root / "state", str(self.folder), self.enrolled)

    def newest(self) -> tuple[str, int]:
        updater = self.device()
        release = updater.releases(NAME)[0]
        assert updater.fetch(release).exists()
        return release.version, release.release

    def files(self) -> dict[str, bytes]:
        return {p.relative_to(self.folder).as_posix(): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


@pytest.fixture
def newcomer(tmp_path: Path) -> Desk:
    return Desk(tmp_path, NEWCOMER)


@pytest.fixture
def fleet(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FLEET)


def test_a_newcomer_has_one_key_that_only_they_can_read(newcomer: Desk) -> None:
    (key,) = newcomer.keys_folder.iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(newcomer.keys_folder.stat().st_mode) == 0o700
    assert {view.keyids for view in roles_of(newcomer.folder)} == {roles_of(newcomer.folder)[0].keyids}
    assert not verify(newcomer.folder).faults


def test_a_fleet_has_two_of_three_and_delegations(fleet: Desk) -> None:
    views = {view.role: view for view in roles_of(fleet.folder)}
    assert set(views) == {"root", "timestamp", "snapshot", "targets", "models", "desired", "command-keys"}
    assert (views["root"].threshold, len(views["root"].keyids)) == (2, 3)
    assert len({keyid for view in views.values() for keyid in view.keyids}) == 9
    assert [views[role].days_left for role in ("timestamp", "snapshot")] == [13, 29]


def test_keys_do_not_lie_where_they_would_be_served(tmp_path: Path) -> None:
    for folder in (tmp_path / "r", tmp_path / "r" / "keys"):
        with pytest.raises(Refused, match="served"):
            changes.init(tmp_path / "r", NEWCOMER, KeyFolders([folder]))


def test_new_keys_do_not_lie_there_either(newcomer: Desk) -> None:
    before = newcomer.files()
    with pytest.raises(Refused, match="served"):
        changes.rotate(newcomer.folder, ["root"], KeyFolders([newcomer.folder / "keys", newcomer.keys_folder]))
    assert newcomer.files() == before


def test_a_repository_is_not_begun_by_two_at_once(tmp_path: Path) -> None:
    """The second one sees the first one's work once it may begin, not before."""
    repository = RepositoryFolder(tmp_path / "r")
    ended: list[BaseException | None] = []

    def second() -> None:
        try:
            changes.init(tmp_path / "r", NEWCOMER, KeyFolders([tmp_path / "k2"]))
            ended.append(None)
        except Refused as fault:
            ended.append(fault)

    with repository.alone():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        (tmp_path / "r" / "metadata").mkdir()
        (tmp_path / "r" / "metadata" / "timestamp.json").write_bytes(b"the first one's")
    thread.join()
    assert isinstance(ended[0], Refused)
    assert (tmp_path / "r" / "metadata" / "timestamp.json").read_bytes() == b"the first one's"


def test_a_repository_is_not_begun_twice(newcomer: Desk) -> None:
    with pytest.raises(Refused, match="already"):
        changes.init(newcomer.folder, NEWCOMER, newcomer.keys())


@pytest.mark.parametrize("plan", [NEWCOMER, FLEET])
def test_what_is_published_is_what_a_device_gets(tmp_path: Path, plan: Plan) -> None:
    desk = Desk(tmp_path, plan)
    assert [p.release.release for p in desk.publish("1.0.0", "1.1.0")] == [1, 2]
    assert desk.newest() == ("1.1.0", 2)
    assert [p.release.release for p in desk.publish("1.0.5")] == [3]
    assert desk.newest() == ("1.0.5", 3)
    assert [r.release for r in releases_of(desk.folder)] == [1, 2, 3]
    found = verify(desk.folder)
    assert not found.faults and not found.warnings and found.files == 3


def test_publishing_again_changes_nothing(newcomer: Desk) -> None:
    newcomer.publish("1.0.0")
    before = newcomer.files()
    (again,) = newcomer.publish("1.0.0")
    assert (again.new, again.release.release) == (False, 1) and newcomer.files() == before


def test_publishing_again_mends_a_spoiled_file(newcomer: Desk) -> None:
    """As `verify` says."""
    newcomer.publish("1.0.0")
    note = newcomer.root / "note"
    note.write_text("words")
    changes.put_files(newcomer.folder, {"note.txt": note}, newcomer.keys())
    before = newcomer.files()
    for path in (newcomer.folder / "targets").rglob("*.*"):
        path.write_bytes(b"spoiled") if path.suffix == ".zip" else path.unlink(missing_ok=True)
    assert len(verify(newcomer.folder).faults) == 2
    newcomer.publish("1.0.0")
    changes.put_files(newcomer.folder, {"note.txt": note}, newcomer.keys())
    assert newcomer.files() == before and not verify(newcomer.folder).faults


def test_a_version_does_not_change_its_bytes(newcomer: Desk) -> None:
    newcomer.publish("1.0.0")
    before = newcomer.files()
    with pytest.raises(Refused, match="other bytes"):
        changes.publish(newcomer.folder, [newcomer.bundle("1.0.0", "slow")], newcomer.keys())
    assert newcomer.files() == before


def test_a_bad_bundle_publishes_none(newcomer: Desk) -> None:
    bad = newcomer.bundle("2.0.0")
    raw = bytearray(bad.read_bytes())
    raw[len(raw) // 2] ^= 1
    bad.write_bytes(raw)
    before = newcomer.files()
    with pytest.raises(Refused):
        changes.publish(newcomer.folder, [newcomer.bundle("1.0.0"), bad], newcomer.keys())
    assert newcomer.files() == before


def test_a_number_is_not_given_twice(newcomer: Desk) -> None:
    newcomer.publish("1.0.0", "1.1.0")
    changes.withdraw(newcomer.folder, NAME, "1.1.0", newcomer.keys())
    assert newcomer.newest() == ("1.0.0", 1)
    (published,) = newcomer.publish("1.2.0")
    assert published.release.release == 3
    with pytest.raises(Refused, match="no shelf-test 9"):
        changes.withdraw(newcomer.folder, NAME, "9.9.9", newcomer.keys())


def test_a_new_repository_may_begin_above_the_floors_of_its_devices(newcomer: Desk) -> None:
    changes.publish(newcomer.folder, [newcomer.bundle("1.0.0"), newcomer.bundle("1.1.0")], newcomer.keys(), 8)
    assert [r.release for r in releases_of(newcomer.folder)] == [8, 9]
    with pytest.raises(Refused, match="has had release 9"):
        changes.publish(newcomer.folder, [newcomer.bundle("1.2.0")], newcomer.keys(), 9)


def test_other_files_have_their_own_roles(fleet: Desk) -> None:
    source, till = fleet.root / "d.json", "desired/lyon/till-3.json"
    source.write_text("{}")
    put = changes.put_files(fleet.folder, {till: source, "command-keys.json": source}, fleet.keys())
    assert put == {till: "desired", "command-keys.json": "command-keys"}
    assert fleet.device().read_target(till, 100) == b"{}"
    source.write_text('{"a":1}')
    changes.put_files(fleet.folder, {till: source}, fleet.keys())
    before = fleet.files()
    changes.put_files(fleet.folder, {till: source}, fleet.keys())
    assert fleet.files() == before and fleet.device().read_target(till, 100) == b'{"a":1}'
    for path in ("models/x/x-1.zip", "../x", "a//b"):
        with pytest.raises(Refused):
            changes.put_files(fleet.folder, {till: source, path: source}, fleet.keys())
    with pytest.raises(Unavailable, match="can not be read"):
        changes.put_files(fleet.folder, {till: fleet.root / "absent"}, fleet.keys())


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "models", "desired"])
def test_devices_follow_a_change_of_keys(fleet: Desk, role: str) -> None:
    fleet.publish("1.0.0")
    assert fleet.newest() == ("1.0.0", 1)
    before = {view.role: view.keyids for view in roles_of(fleet.folder)}
    retired = changes.rotate(fleet.folder, [role], fleet.keys())
    after = {view.role: view.keyids for view in roles_of(fleet.folder)}
    assert not set(before[role]) & set(after[role])
    assert {r: k for r, k in before.items() if r != role} == {r: k for r, k in after.items() if r != role}
    assert len(retired) == len(before[role]) and all(path.parent.name == "retired" for path in retired)
    fleet.publish("1.1.0")
    assert fleet.newest() == ("1.1.0", 2)
    assert not verify(fleet.folder).faults


def test_a_newcomer_changes_the_one_key_everywhere(newcomer: Desk) -> None:
    newcomer.publish("1.0.0")
    newcomer.newest()
    changes.rotate(newcomer.folder, ["root", "timestamp", "snapshot", "targets"], newcomer.keys())
    assert len({view.keyids for view in roles_of(newcomer.folder)}) == 1
    assert len(list(newcomer.keys_folder.glob("*.pem"))) == 1
    assert newcomer.newest() == ("1.0.0", 1)


def test_one_lost_root_key_is_replaced_by_the_other_two(fleet: Desk) -> None:
    lost = sorted(fleet.keys_folder.glob("root-1-*.pem"))[0]
    keyid = next(k for k in roles_of(fleet.folder)[0].keyids if lost.stem.endswith(k[:8]))
    lost.unlink()
    changes.rotate(fleet.folder, ["root"], fleet.keys(), only=keyid[:8])
    assert len(roles_of(fleet.folder)[0].keyids) == 3 and keyid not in roles_of(fleet.folder)[0].keyids
    fleet.publish("1.0.0")
    assert fleet.newest() == ("1.0.0", 1)


@pytest.mark.parametrize("role", ["root", "models"])
def test_missing_keys_are_named_and_nothing_changes(fleet: Desk, role: str) -> None:
    fleet.publish("1.0.0")
    for path in [*fleet.keys_folder.glob("root-[12]-*.pem"), *fleet.keys_folder.glob("targets-*.pem")]:
        path.unlink()
    before, keys = fleet.files(), sorted(fleet.keys_folder.iterdir())
    with pytest.raises(Refused, match="missing") as met:
        changes.rotate(fleet.folder, [role], fleet.keys())
    assert "needs" in met.value.found and "--keys" in met.value.mend
    assert fleet.files() == before and sorted(fleet.keys_folder.iterdir()) == keys


def test_keys_may_lie_in_several_folders(fleet: Desk) -> None:
    vault = fleet.root / "vault"
    vault.mkdir()
    for path in fleet.keys_folder.glob("root-*.pem"):
        path.rename(vault / path.name)
    with pytest.raises(Refused, match="root needs 2 of its 3 keys, 0"):
        changes.rotate(fleet.folder, ["timestamp"], fleet.keys())
    changes.rotate(fleet.folder, ["timestamp"], KeyFolders([fleet.keys_folder, vault]))
    fleet.publish("1.0.0")
    assert fleet.newest() == ("1.0.0", 1)


@pytest.mark.parametrize("stuck", ["root.json", "metadata/timestamp.json", "metadata/2.root.json"])
def test_a_disk_that_fails_in_a_change_of_keys_loses_no_key(newcomer: Desk, stuck: str) -> None:
    """The new root may be out already: whoever threw the keys that it names away could never change anything again."""
    newcomer.publish("1.0.0")
    assert newcomer.newest() == ("1.0.0", 1)
    (newcomer.folder / f"{stuck}.new").mkdir()
    with pytest.raises(Unavailable, match="can not be written"):
        changes.rotate(newcomer.folder, ["root", "timestamp", "snapshot", "targets"], newcomer.keys())
    (newcomer.folder / f"{stuck}.new").rmdir()
    changes.refresh(newcomer.folder, newcomer.keys())
    assert newcomer.newest() == ("1.0.0", 1) and not verify(newcomer.folder).faults
    changes.rotate(newcomer.folder, ["root"], newcomer.keys())
    assert newcomer.newest() == ("1.0.0", 1) and not verify(newcomer.folder).faults


def test_a_file_that_is_no_root_is_passed_over(newcomer: Desk) -> None:
    (newcomer.folder / "metadata" / "1-old.root.json").write_text("{}")
    assert not verify(newcomer.folder).faults
    changes.refresh(newcomer.folder, newcomer.keys())


def test_a_repository_of_another_tool_is_read_and_not_changed(newcomer: Desk) -> None:
    path = newcomer.folder / "metadata" / "timestamp.json"
    path.write_bytes(path.read_bytes().replace(b"x-edge-expiry-days", b"x-other-expiry-day"))
    before = newcomer.files()
    with pytest.raises(Refused, match="for how many days"):
        changes.refresh(newcomer.folder, newcomer.keys())
    assert newcomer.files() == before and roles_of(newcomer.folder)


def test_unknown_roles_and_keys_are_told(fleet: Desk) -> None:
    with pytest.raises(Refused, match="no role mirrors"):
        changes.rotate(fleet.folder, ["mirrors"], fleet.keys())
    with pytest.raises(Refused, match="no key ffffffffff"):
        changes.rotate(fleet.folder, ["root"], fleet.keys(), only="ffffffffff")


def test_keys_under_a_passphrase(tmp_path: Path) -> None:
    keys = KeyFolders([tmp_path / "k"], b"correct horse")
    changes.init(tmp_path / "r", NEWCOMER, keys)
    (path,) = (tmp_path / "k").iterdir()
    assert b"ENCRYPTED" in path.read_bytes()
    bundle = make_bundle(tmp_path / "b.zip")
    assert changes.publish(tmp_path / "r", [bundle], KeyFolders([tmp_path / "k"], b"correct horse"))[0].new
    with pytest.raises(Refused, match="encrypted"):
        KeyFolders([tmp_path / "k"])
    with pytest.raises(Refused, match="passphrase"):
        KeyFolders([tmp_path / "k"], b"wrong")


def test_files_that_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("not a key")
    with pytest.raises(Refused, match="not a key"):
        KeyFolders([tmp_path])
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    odd = b64encode(der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106")))  # prime239v3
    (tmp_path / "x.pem").write_bytes(b"\n".join([b"-----BEGIN PRIVATE KEY-----", odd, b"-----END PRIVATE KEY-----"]))
    with pytest.raises(Refused, match="not a key"):
        KeyFolders([tmp_path])
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Refused, match="empty first line"):
        read_passphrase(tmp_path / "empty")
    with pytest.raises(Unavailable):
        read_passphrase(tmp_path / "absent")


def test_refresh_signs_the_timestamp_and_what_is_past_half(fleet: Desk) -> None:
    written, waiting = changes.refresh(fleet.folder, fleet.keys())
    assert written == ["timestamp.json"] and not waiting
    repository = RepositoryFolder.opened(fleet.folder)
    repository.snapshot.expires = datetime.now(UTC) + timedelta(days=10)
    assert changes._is_past_half(repository, "snapshot") and not changes._is_past_half(repository, "targets")


def test_an_interrupted_change_of_keys_is_finished_by_refresh(fleet: Desk) -> None:
    """The new root is out, the timestamp under the new key is not: devices wait, and nothing is lost."""
    fleet.publish("1.0.0")
    assert fleet.newest() == ("1.0.0", 1)
    before = fleet.files()
    changes.rotate(fleet.folder, ["timestamp", "snapshot"], fleet.keys())
    for path in list((fleet.folder / "metadata").iterdir()):
        name = path.relative_to(fleet.folder).as_posix()
        if "root" not in name:
            path.unlink()
    for name, raw in before.items():
        if "root" not in name:
            (fleet.folder / name).write_bytes(raw)
    with pytest.raises(Refused, match="timestamp"):
        fleet.device().refresh()
    assert any("timestamp" in fault for fault in verify(fleet.folder).faults)
    changes.refresh(fleet.folder, fleet.keys())
    assert fleet.newest() == ("1.0.0", 1) and not verify(fleet.folder).faults


def test_readers_see_the_old_repository_or_the_new_one(fleet: Desk, tmp_path: Path) -> None:
    """Whatever step a publishing ends at: a device is served, and publishing again goes through."""
    fleet.publish("1.0.0")
    shutil.copytree(fleet.folder, tmp_path / "picture")
    source = fleet.bundle("1.1.0")
    for nth in range(1, 60):
        shutil.rmtree(fleet.folder)
        shutil.copytree(tmp_path / "picture", fleet.folder)
        repository = RepositoryFolder.opened(
            fleet.folder, FaultyFiles(nth, ("kill", "kill_half", "kill_after")[nth % 3])
        )
        try:
            published = changes._list_bundle(repository, source, None).release
            repository.store_target(source, published.target, published.sha256)
            repository.publish(fleet.keys())
            assert nth > 12
            break
        except Killed:
            shutil.rmtree(fleet.root / "state", ignore_errors=True)
            assert fleet.newest() in (("1.0.0", 1), ("1.1.0", 2))
            assert not verify(fleet.folder).faults
            fleet.publish("1.1.0")
            assert fleet.newest() == ("1.1.0", 2)
    else:
        pytest.fail("publishing never ended by itself")


def test_every_spoiled_file_is_named(fleet: Desk) -> None:
    fleet.publish("1.0.0")
    changes.rotate(fleet.folder, ["root"], fleet.keys())
    fleet.publish("1.1.0")
    newest = {
        "2.root.json": "root",
        "timestamp.json": "timestamp",
        "4.snapshot.json": "snapshot",
        "3.models.json": "models",
    }
    files = {path: raw for path, raw in fleet.files().items() if path.endswith(".zip") or Path(path).name in newest}
    assert len(files) >= 5
    enrolled = fleet.root / "enrolled.json"
    enrolled.write_bytes(fleet.enrolled)
    for path, raw in files.items():
        for spoiled in (raw[:-9], raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], None):
            file = fleet.folder / path
            file.write_bytes(spoiled) if spoiled is not None else file.unlink()
            try:
                told = " ".join(verify(fleet.folder, enrolled).faults)
            except (Unavailable, Refused) as fault:
                told = str(fault)
            assert newest.get(Path(path).name, Path(path).name) in told, (path, told)
            file.write_bytes(raw)
    assert not verify(fleet.folder, enrolled).faults


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    for ask in (verify, roles_of, RepositoryFolder.opened):
        with pytest.raises(Unavailable, match="no repository"):
            ask(tmp_path / "nothing")


def test_two_operators_at_once(newcomer: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.workshop.repository.folder._LOCK_WAIT_S", 0.1)
    repository = RepositoryFolder.opened(newcomer.folder)
    with repository.alone(), pytest.raises(TryAgain, match="somebody else"):
        newcomer.publish("1.0.0")
    newcomer.publish("1.0.0")


class FolderFetcher(FetcherInterface):
    """python-tuf's own client, reading the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / url.removeprefix("http://anywhere/")
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        return iter([path.read_bytes()])


def test_other_clients_of_the_framework_read_it(fleet: Desk, tmp_path: Path) -> None:
    fleet.publish("1.0.0")
    changes.rotate(fleet.folder, ["root", "models"], fleet.keys())
    (tmp_path / "client").mkdir()
    client = TufClient(
        str(tmp_path / "client"),
        "http://anywhere/metadata/",
        str(tmp_path),
        "http://anywhere/targets/",
        FolderFetcher(fleet.folder),
        bootstrap=fleet.enrolled,
    )
    target = client.get_targetinfo(f"models/{NAME}/{NAME}-1.0.0.zip")
    assert target is not None
    assert Path(client.download_target(target)).read_bytes() == fleet.bundle("1.0.0").read_bytes()
