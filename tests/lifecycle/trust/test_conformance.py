"""The cases of the TUF conformance suite, against this device's updater: whatever a repository tries, the device keeps
what it had, and follows as soon as the repository is in order again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from securesystemslib.signer._crypto_signer import CryptoSigner
from tuf.api._payload import MetaFile, Targets

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.ceilings import CEILINGS

from .simulator import DAY_S, Device, Simulator


@contextmanager
def refused(device: Device, role: str = "", **moved: int) -> Iterator[None]:
    """What happens inside is refused, naming the role; of what the device keeps only `moved` is another version."""
    before = device.versions()
    floors = device.updater().floors
    floor, time_s = floors.release("shelf"), floors.time_s
    with pytest.raises(Refused) as met:
        yield
    assert met.value.mend and role in met.value.found, met.value
    assert device.versions() == before | moved
    after = device.updater().floors
    assert (after.release("shelf"), after.time_s) == (floor, time_s)


def test_basic_init_and_refresh(tmp_path: Path, sim: Simulator) -> None:
    device = Device(tmp_path / "state", sim)
    device.refresh()
    asked = ["metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json"]
    assert sim.asked == asked
    assert device.versions() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


def test_a_second_refresh_asks_for_two_small_files(device: Device, sim: Simulator) -> None:
    device.refresh()
    assert sim.asked == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_implicit_refresh(tmp_path: Path, sim: Simulator) -> None:
    device = Device(tmp_path / "state", sim)
    with pytest.raises(Unavailable, match="lists no nothing"):
        device.updater().read_target("nothing", 10)
    assert device.versions()["targets"] == 1


@pytest.mark.parametrize("spoil", ["version", "signature"])
def test_invalid_or_unsigned_initial_root(tmp_path: Path, sim: Simulator, spoil: str) -> None:
    device = Device(tmp_path / "state", sim)
    root = json.loads(device.enrolled)
    if spoil == "version":
        del root["signed"]["version"]
    else:
        root["signatures"][0]["sig"] = "00" * 64
    device.enrolled = json.dumps(root).encode()
    with pytest.raises(Refused, match="Enrol"):
        device.refresh()
    assert sim.asked == []


def test_unknown_fields_are_signed_content(device: Device, sim: Simulator) -> None:
    sim.root.unrecognized_fields["custom"] = "value"
    sim.root.keys[sim.root.roles["root"].keyids[0]].unrecognized_fields["extra"] = {"a": 1}
    sim.publish_root()
    device.refresh()
    assert device.versions()["root"] == 2


def test_timestamp_of_the_same_version_is_not_looked_into(device: Device, sim: Simulator) -> None:
    sim.timestamp.snapshot_meta.version = 100
    device.refresh()
    assert device.versions() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


# Rollback


def test_timestamp_rollback(device: Device, sim: Simulator) -> None:
    sim.publish("timestamp")
    sim.timestamp.version = 2
    device.refresh()
    sim.timestamp.version = 1
    with refused(device, "timestamp"):
        device.refresh()


@pytest.mark.parametrize("hashes", [True, False])
def test_snapshot_rollback(device: Device, sim: Simulator, hashes: bool) -> None:
    sim.hashes = hashes
    sim.publish("targets")
    device.refresh()
    sim.snapshot.version = 1
    sim.publish("timestamp")
    sim.timestamp.version = 5
    sim.timestamp.snapshot_meta = sim._meta("snapshot")
    with refused(device, "timestamp"):
        device.refresh()


def test_snapshot_rollback_under_the_same_timestamp(device: Device, sim: Simulator) -> None:
    sim.publish("targets")
    device.refresh()
    sim.snapshot.version = 1
    device.refresh()
    assert device.versions()["snapshot"] == 2


@pytest.mark.parametrize("hashes", [True, False])
def test_targets_rollback(device: Device, sim: Simulator, hashes: bool) -> None:
    sim.hashes = hashes
    sim.publish("targets")
    sim.publish("targets")
    device.refresh()
    sim.targets.version = 1
    sim.publish("targets")
    with refused(device, "snapshot", timestamp=sim.timestamp.version):
        device.refresh()


def test_targets_removed_from_the_snapshot(device: Device, sim: Simulator) -> None:
    sim.delegate("targets", "extra")
    sim.publish("targets")
    device.refresh()
    del sim.snapshot.meta["extra.json"]
    sim.publish("snapshot")
    with refused(device, "snapshot", timestamp=3):
        device.refresh()


def test_root_rollback(device: Device, sim: Simulator) -> None:
    sim.publish_root()
    device.refresh()
    sim.served["metadata/3.root.json"] = sim.roots[0]
    with refused(device, "root"):
        device.refresh()


def test_delegated_role_rollback(device: Device, sim: Simulator) -> None:
    sim.delegate("targets", "models", ("models/*/*",))
    sim.publish("targets", "models")
    sim.publish("models")
    device.updater().releases("shelf")
    sim.delegates["models"].version = 1
    sim.publish("models")
    sim.delegates["models"].version = 1
    sim.snapshot.meta["models.json"] = sim._meta("models")
    sim.publish("snapshot")
    with refused(device, "snapshot", timestamp=sim.timestamp.version):
        device.refresh()


# Freeze and expiration


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_role_is_refused(device: Device, sim: Simulator, role: str) -> None:
    sim.signed(role).expires = sim.in_days(-1)
    sim.publish(role)
    moved = {"timestamp": {}, "snapshot": {"timestamp": 2}, "targets": {"timestamp": 2, "snapshot": 2}}[role]
    with refused(device, role, **moved):
        device.refresh()
    sim.signed(role).expires = sim.in_days(9)
    sim.publish(role)
    device.refresh()
    assert device.versions()["timestamp"] == 3


def test_expired_root_moves_on_and_nothing_else_does(device: Device, sim: Simulator) -> None:
    sim.publish_root()
    device.refresh()
    sim.root.expires = sim.in_days(-1)
    sim.publish_root()
    sim.publish("targets")
    with refused(device, "root", root=3):
        device.refresh()


def test_expired_intermediate_root_is_passed_through(device: Device, sim: Simulator) -> None:
    sim.root.expires = sim.in_days(-1)
    sim.publish_root()
    sim.root.expires = sim.in_days(100)
    sim.publish_root()
    device.refresh()
    assert device.versions()["root"] == 3


def test_expired_delegated_role(device: Device, sim: Simulator) -> None:
    sim.delegate("targets", "models", ("models/*/*",)).expires = sim.in_days(-1)
    sim.publish("targets", "models")
    with refused(device, "models", timestamp=2, snapshot=2, targets=2):
        device.updater().releases("shelf")


def test_freeze(device: Device, sim: Simulator) -> None:
    """A repository that stands still is noticed when its timestamp runs out."""
    sim.clock.advance(29 * DAY_S)
    device.refresh()
    sim.clock.advance(2 * DAY_S)
    with refused(device, "expired"):
        device.refresh()


def test_expired_local_metadata_still_forbids_and_updates(device: Device, sim: Simulator) -> None:
    sim.publish("timestamp")
    sim.timestamp.version = 5
    device.refresh()
    sim.clock.advance(40 * DAY_S)
    for role in ("timestamp", "snapshot", "targets"):
        sim.signed(role).expires = sim.in_days(30)
    sim.publish("targets")
    sim.timestamp.version = 4
    with refused(device, "timestamp"):
        device.refresh()
    sim.timestamp.version = 6
    device.refresh()
    assert device.versions() == {"root": 1, "timestamp": 6, "snapshot": 2, "targets": 2}


def test_metadata_that_expires_while_the_process_lives(device: Device, sim: Simulator) -> None:
    updater = device.updater()
    release = updater.releases("shelf")[0]
    sim.clock.advance(31 * DAY_S)
    with refused(device, "expired"):
        updater.fetch(release)


# Mix and match


def test_snapshot_of_another_version_than_the_timestamp_says(device: Device, sim: Simulator) -> None:
    sim.hashes = False
    sim.publish("targets")
    sim.snapshot.version += 1
    with refused(device, "snapshot", timestamp=2):
        device.refresh()


def test_snapshot_with_other_bytes_than_the_timestamp_says(device: Device, sim: Simulator) -> None:
    sim.publish("targets")
    sim.snapshot.unrecognized_fields["other"] = 1
    with refused(device, "snapshot", timestamp=2):
        device.refresh()


def test_targets_of_another_version_than_the_snapshot_says(device: Device, sim: Simulator) -> None:
    sim.hashes = False
    sim.publish("targets")
    sim.targets.version += 1
    with refused(device, "targets", timestamp=2, snapshot=2):
        device.refresh()


def test_targets_with_other_bytes_than_the_snapshot_says(device: Device, sim: Simulator) -> None:
    sim.publish("targets")
    sim.targets.unrecognized_fields["other"] = 1
    with refused(device, "targets", timestamp=2, snapshot=2):
        device.refresh()


def test_one_role_served_as_another(device: Device, sim: Simulator) -> None:
    sim.publish("targets")
    sim.served["metadata/timestamp.json"] = sim.raw("snapshot")
    with refused(device, "timestamp"):
        device.refresh()


# Endless data and lying sizes


@pytest.mark.parametrize(
    "path", ["metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json", "metadata/2.root.json"]
)
def test_endless_metadata(device: Device, sim: Simulator, path: str) -> None:
    sim.publish("targets")
    sim.served[path] = b" " * (CEILINGS.targets_bytes + 100)
    before = device.versions()
    with pytest.raises(Refused, match="more than the"):
        device.refresh()
    assert device.versions() == before | (
        {}
        if "root" in path or "timestamp" in path
        else {"timestamp": 2}
        if "snapshot" in path
        else {"timestamp": 2, "snapshot": 2}
    )


@pytest.mark.parametrize("change", [-1, 1, 10**9])
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_length_of_metadata_too_big_or_too_small(device: Device, sim: Simulator, role: str, change: int) -> None:
    sim.publish("targets")
    if role == "snapshot":
        sim.timestamp.snapshot_meta.length += change  # type: ignore[operator]
    else:
        sim.snapshot.meta["targets.json"].length += change  # type: ignore[operator]
        sim.publish("snapshot")
    with refused(device, role, **({"timestamp": 2} if role == "snapshot" else {"timestamp": 3, "snapshot": 3})):
        device.refresh()


def test_target_with_more_bytes_than_listed(device: Device, sim: Simulator) -> None:
    sim.files["models/shelf/shelf-1.0.0.zip"] += b"!" * 10_000
    with refused(device, "more than its 500 bytes"):
        device.newest()
    assert not list((device.state / "staging").iterdir())


def test_target_with_fewer_bytes_than_listed(device: Device, sim: Simulator) -> None:
    whole = sim.files["models/shelf/shelf-1.0.0.zip"]
    sim.files["models/shelf/shelf-1.0.0.zip"] = whole[:300]
    with pytest.raises(TryAgain, match="300 of 500"):
        device.newest()
    sim.files["models/shelf/shelf-1.0.0.zip"] = whole
    assert device.newest() == whole


def test_target_above_the_ceiling(tmp_path: Path, sim: Simulator) -> None:
    device = Device(tmp_path / "s", sim, replace(CEILINGS, target_bytes=100))
    with pytest.raises(Refused, match="may have 100"):
        device.newest()


# Targets


def test_expected_file_is_downloaded(device: Device, sim: Simulator) -> None:
    assert device.newest() == b"first" * 100


@pytest.mark.parametrize("path", ["a.json", "desired/lyon/till-3.json"])
def test_small_file_in_and_out_of_folders(device: Device, sim: Simulator, path: str) -> None:
    sim.add_file(path, b"{}")
    sim.publish("targets")
    assert device.updater().read_target(path, 100) == b"{}"
    with pytest.raises(Refused, match="may have 1"):
        device.updater().read_target(path, 1)


def test_target_file_swap(device: Device, sim: Simulator) -> None:
    """The server swaps two good files, or serves bad bytes: neither gets a name in staging."""
    sim.release("1.1.0", b"later" * 100, 2)
    sim.publish("targets")
    assert device.newest() == b"later" * 100
    paths = list(sim.files)
    sim.files = {paths[0]: sim.files[paths[1]], paths[1]: sim.files[paths[0]]}
    updater = device.updater()
    with refused(device, "not the file"):
        updater.fetch(updater.releases("shelf")[1])
    sim.add_file("x.json", b"good")
    sim.publish("targets")
    sim.files["x.json"] = b"evil"
    with refused(device, "not the file", timestamp=3, snapshot=3, targets=3):
        device.updater().read_target("x.json", 10)
    assert device.newest() == b"later" * 100, "the good one that is there is not fetched again"


def test_multiple_changes_to_a_target(device: Device, sim: Simulator) -> None:
    for turn in range(8):
        sim.release("1.0.0", b"%d" % turn * 100, turn + 1)
        sim.publish("targets")
        if turn % 3 == 0:
            assert device.newest() == b"%d" % turn * 100
    assert len(list((device.state / "staging").iterdir())) <= 3


def test_release_that_was_changed_since_it_was_listed(device: Device, sim: Simulator) -> None:
    release = device.updater().releases("shelf")[0]
    sim.release("1.0.0", b"other", 9)
    sim.publish("targets")
    with refused(device, "not offered as it was", timestamp=2, snapshot=2, targets=2):
        device.updater().fetch(release)


# Keys and thresholds


def test_snapshot_threshold_not_met(device: Device, sim: Simulator) -> None:
    for _ in range(4):
        signer = CryptoSigner.generate_ed25519()
        sim.root.add_key(signer.public_key, "snapshot")
        sim.signers["snapshot"].append(signer)
    sim.root.roles["snapshot"].threshold = 5
    sim.publish_root()
    sim.signers["snapshot"].pop()
    sim.publish("targets")
    with refused(device, "4/5 keys", root=2, timestamp=2):
        device.refresh()


def test_threshold_above_the_number_of_keys(device: Device, sim: Simulator) -> None:
    sim.root.roles["timestamp"].threshold = 6
    sim.publish_root()
    sim.publish("targets")
    with refused(device, "1/6 keys", root=2):
        device.refresh()


def test_key_named_in_the_root_twice_counts_once(device: Device, sim: Simulator) -> None:
    """Under the same id it is in the list twice, under another id its public half is there twice."""
    one = sim.signers["snapshot"][0]
    twin = CryptoSigner(
        one._private_key, type(one.public_key)("f" * 64, "ed25519", "ed25519", dict(one.public_key.keyval))
    )
    sim.root.add_key(twin.public_key, "snapshot")
    sim.root.roles["snapshot"].threshold = 2
    sim.signers["snapshot"].append(twin)
    sim.publish_root()
    sim.publish("targets")
    with refused(device, "names one key twice"):
        device.refresh()


def test_a_refused_role_is_not_believed_when_it_is_asked_again(device: Device, sim: Simulator) -> None:
    everything = ("models/*/*",)
    sim.delegate("targets", "a", everything)
    one = CryptoSigner.generate_ed25519()
    twin = CryptoSigner(
        one._private_key, type(one.public_key)("f" * 64, "ed25519", "ed25519", dict(one.public_key.keyval))
    )
    sim.delegate("a", "b", everything, threshold=2)
    sim.signers["b"] = [one, twin]
    sim.delegate("a", "b", everything, threshold=2)
    sim.publish("b", "a", "targets")
    updater = device.updater()
    for _ in range(2):
        with pytest.raises(Refused, match="names one key twice"):
            updater.releases("shelf")


def test_duplicate_keyids_in_a_role(device: Device, sim: Simulator) -> None:
    sim.root.roles["snapshot"].keyids *= 2
    sim.root.roles["snapshot"].threshold = 2
    sim.publish_root()
    with refused(device, "root"):
        device.refresh()


def test_duplicate_signatures(device: Device, sim: Simulator) -> None:
    sim.publish("timestamp")
    sim.timestamp.version = 2
    raw = json.loads(sim.raw("timestamp"))
    raw["signatures"] *= 2
    sim.served["metadata/timestamp.json"] = json.dumps(raw).encode()
    with refused(device, "timestamp"):
        device.refresh()


def test_other_fields_of_a_key_do_not_matter(device: Device, sim: Simulator) -> None:
    keyid = sim.root.roles["snapshot"].keyids[0]
    sim.root.keys[keyid].unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    sim.publish_root()
    sim.publish("targets")
    device.refresh()
    assert device.versions() == {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 2}


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_key_compromise_under_the_threshold(device: Device, sim: Simulator, role: str) -> None:
    """Two keys are needed; whoever stole one signs with it and with keys of their own."""
    second = CryptoSigner.generate_ed25519()
    sim.root.add_key(second.public_key, role)
    sim.root.roles[role].threshold = 2
    sim.publish_root()
    sim.signers[role].append(second)
    for each in ("timestamp", "snapshot", "targets"):
        sim.signed(each).expires = sim.in_days(20)
    sim.publish("targets")
    device.refresh()
    sim.signers[role][1] = CryptoSigner.generate_ed25519()
    sim.publish("targets")
    above = {"timestamp": {}, "snapshot": {"timestamp": 3}, "targets": {"timestamp": 3, "snapshot": 3}}[role]
    with refused(device, "1/2 keys", **above):
        device.refresh()


ROTATIONS: dict[str, list[tuple[str, int, str]]] = {
    # keys, threshold, signatures of each root version; the last one is good unless the name says that it fails
    "1-of-1": [("1", 1, "1"), ("2", 1, "21"), ("2", 1, "2")],
    "1-of-1 with unused signatures": [("1", 1, "314"), ("2", 1, "3214"), ("2", 1, "324")],
    "3-of-5 in other combinations": [("01234", 3, "024"), ("01234", 3, "041"), ("01234", 3, "013")],
    "3-of-5 one key": [("01234", 3, "024"), ("01345", 3, "041")],
    "3-of-5 one key with an intermediate step": [("01234", 3, "024"), ("01345", 3, "0245"), ("01345", 3, "045")],
    "3-of-5 all keys": [("01234", 3, "024"), ("56789", 3, "024567"), ("56789", 3, "567")],
    "threshold 1-of-3 to 2-of-3": [("123", 1, "1"), ("123", 2, "12")],
    "threshold 2-of-3 to 1-of-3": [("123", 2, "12"), ("123", 1, "12"), ("123", 1, "1")],
    "threshold 1-of-1 to 2-of-2": [("1", 1, "1"), ("12", 2, "12")],
    "fails: not signed with the old key": [("1", 1, "1"), ("2", 1, "234")],
    "fails: not signed with the new key": [("1", 1, "1"), ("2", 1, "134")],
    "fails: not with three new keys": [("01234", 3, "024"), ("01345", 3, "024")],
    "fails: not with three old keys": [("01234", 3, "024"), ("01345", 3, "045")],
    "fails: new threshold not reached": [("123", 1, "1"), ("123", 2, "2")],
    "fails: old threshold not reached": [("123", 2, "12"), ("123", 1, "1")],
}


@pytest.mark.parametrize("case", ROTATIONS)
def test_root_rotation(tmp_path: Path, sim: Simulator, case: str) -> None:
    keys = [CryptoSigner.generate_ed25519() for _ in range(10)]
    sim.roots.clear()
    sim.root.version = 0
    for named, threshold, signed in ROTATIONS[case]:
        for keyid in list(sim.root.roles["root"].keyids):
            sim.root.revoke_key(keyid, "root")
        for digit in named:
            sim.root.add_key(keys[int(digit)].public_key, "root")
        sim.root.roles["root"].threshold = threshold
        sim.signers["root"] = [keys[int(digit)] for digit in signed]
        sim.publish_root()
    device = Device(tmp_path / "state", sim)
    if case.startswith("fails"):
        with pytest.raises(Refused, match="root"):
            device.refresh()
        assert device.versions() == {"root": len(sim.roots) - 1}
    else:
        device.refresh()
        assert device.versions()["root"] == len(sim.roots)


NON_ROOT: dict[str, tuple[str, int, str]] = {
    "1-of-1": ("2", 1, "2"),
    "1-of-1 with unused signatures": ("1", 1, "314"),
    "3-of-5 first": ("01234", 3, "024"),
    "3-of-5 other": ("01234", 3, "123"),
    "fails: not signed with the new key": ("2", 1, "134"),
    "fails: one of three is another's": ("01345", 3, "024"),
    "fails: two of three": ("01345", 3, "04"),
}


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("case", NON_ROOT)
def test_rotation_of_other_roles(device: Device, sim: Simulator, case: str, role: str) -> None:
    keys = [CryptoSigner.generate_ed25519() for _ in range(10)]
    named, threshold, signed = NON_ROOT[case]
    for keyid in list(sim.root.roles[role].keyids):
        sim.root.revoke_key(keyid, role)
    for digit in named:
        sim.root.add_key(keys[int(digit)].public_key, role)
    sim.root.roles[role].threshold = threshold
    sim.signers[role] = [keys[int(digit)] for digit in signed]
    sim.publish_root()
    sim.publish("targets")
    if case.startswith("fails"):
        moved = {"timestamp": {}, "snapshot": {"timestamp": 2}, "targets": {"timestamp": 2, "snapshot": 2}}[role]
        with refused(device, role, root=2, **moved):
            device.refresh()
    else:
        device.refresh()
        assert device.versions() == {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 2}


def test_number_of_root_rotations_in_one_refresh_is_bounded(tmp_path: Path, sim: Simulator) -> None:
    for _ in range(9):
        sim.publish_root()
    device = Device(tmp_path / "state", sim, replace(CEILINGS, root_rotations=4))
    for reached in (5, 9):
        with pytest.raises(TryAgain, match="goes on"):
            device.refresh()
        assert device.versions() == {"root": reached}
    device.refresh()
    assert device.versions()["root"] == 10


# Recovery from versions that an attacker drove up


def test_fast_forward_recovery_of_the_timestamp(device: Device, sim: Simulator) -> None:
    sim.timestamp.version = 99_999
    device.refresh()
    sim.rotate("timestamp")
    sim.publish_root()
    sim.timestamp.version = 1
    device.refresh()
    assert device.versions()["timestamp"] == 1


def test_fast_forward_recovery_of_the_snapshot(device: Device, sim: Simulator) -> None:
    sim.snapshot.version = 99_999
    sim.publish("targets")
    device.refresh()
    sim.rotate("snapshot", "timestamp")
    sim.publish_root()
    sim.snapshot.version = 1
    sim.publish("targets")
    device.refresh()
    assert device.versions()["snapshot"] == 2


def test_fast_forward_recovery_of_the_targets(device: Device, sim: Simulator) -> None:
    sim.targets.version = 99_999
    sim.publish("targets")
    device.refresh()
    sim.rotate("snapshot")
    sim.publish_root()
    sim.targets.version = 1
    sim.publish("targets")
    device.refresh()
    assert device.versions()["targets"] == 2


# Delegations

GRAPHS: dict[str, tuple[list[tuple[str, str, str, bool]], str]] = {
    # (delegator, role, pattern, last word), and the order in which they are asked about "missing"
    "one": ([("targets", "A", "*", False)], "A"),
    "two": ([("targets", "A", "*", False), ("targets", "B", "*", False)], "AB"),
    "two levels": ([("targets", "A", "*", False), ("targets", "B", "*", False), ("B", "C", "*", False)], "ABC"),
    "depth first": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("A", "C", "*", False), ("A", "D", "*", False)],
        "ACDB",
    ),
    "three levels": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("A", "C", "*", False), ("C", "D", "*", False)],
        "ACDB",
    ),
    "last word": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("A", "C", "*", True), ("A", "D", "*", False)],
        "AC",
    ),
    "last word and its children": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("A", "C", "*", True), ("C", "D", "*", False)],
        "ACD",
    ),
    "pattern that does not fit": (
        [("targets", "A", "*.py", False), ("targets", "B", "*", False), ("A", "C", "*", False)],
        "B",
    ),
    "cycle": (
        [
            ("targets", "A", "*", False),
            ("targets", "B", "*", False),
            ("B", "C", "*", False),
            ("C", "D", "*", False),
            ("D", "B", "*", False),
        ],
        "ABCD",
    ),
    "two delegate to a third": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("B", "C", "*", False), ("A", "C", "*", False)],
        "ACB",
    ),
    "only one of two fits": (
        [("targets", "A", "*", False), ("targets", "B", "*", False), ("B", "C", "*", False), ("A", "C", "*.py", False)],
        "ABC",
    ),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_graph_traversal(device: Device, sim: Simulator, graph: str) -> None:
    edges, order = GRAPHS[graph]
    for delegator, role, pattern, last in edges:
        sim.delegate(delegator, role, (pattern,), last)
    sim.publish("targets", *sim.delegates)
    with pytest.raises(Unavailable):
        device.updater().read_target("missing", 10)
    assert [path.split(".")[1] for path in sim.asked[4:]] == list(order)


def test_graph_of_delegations_is_bounded(device: Device, sim: Simulator) -> None:
    parent = "targets"
    for number in range(60):
        sim.delegate(parent, f"r{number}")
        parent = f"r{number}"
    sim.add_file("deep", b"x", role="r59")
    sim.add_file("near", b"x", role="r5")
    sim.publish("targets", *sim.delegates)
    with pytest.raises(Unavailable):
        device.updater().read_target("deep", 10)
    assert len(sim.asked) < 40
    assert device.updater().read_target("near", 10) == b"x"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("targetfile", True),
        ("README.md", True),
        ("releases/x/x_v1", True),
        ("releases/y/y_v1.zip", True),
        ("releases/z/z_v1.zip", False),
    ],
)
def test_search_of_a_target_in_a_tree(device: Device, sim: Simulator, path: str, found: bool) -> None:
    sim.delegate("targets", "A", ("*.doc", "*.md"))
    sim.delegate("targets", "B", ("releases/*/*",))
    sim.delegate("B", "C", ("releases/x/*",))
    sim.delegate("B", "D", ("releases/y/*.zip",))
    homes = {
        "targetfile": "targets",
        "README.md": "A",
        "releases/x/x_v1": "C",
        "releases/y/y_v1.zip": "D",
        "releases/z/z_v1.zip": "D",
    }
    for each, role in homes.items():
        sim.add_file(each, each.encode(), role=role)
    sim.publish("targets", *sim.delegates)
    if found:
        assert device.updater().read_target(path, 100) == path.encode()
    else:
        with pytest.raises(Unavailable):
            device.updater().read_target(path, 100)


def test_role_that_lists_what_it_may_not(device: Device, sim: Simulator) -> None:
    """The key of desired states signs no models."""
    sim.delegate("targets", "models", ("models/*/*",), last=True)
    sim.delegate("targets", "desired", ("desired/*/*",), last=True)
    sim.release("6.6.6", b"evil", 666, role="desired")
    sim.release("1.5.0", b"good", 5, role="models")
    sim.publish("targets", "models", "desired")
    assert [r.version for r in device.updater().releases("shelf")] == ["1.5.0", "1.0.0"]


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole"])
def test_unusual_role_names(device: Device, sim: Simulator, role: str) -> None:
    sim.delegate("targets", role)
    sim.publish("targets")
    sim.served[f"metadata/1.{quote(role, safe='')}.json"] = sim.raw(role)
    with pytest.raises(Unavailable, match="lists no"):
        device.updater().read_target("nothing", 10)
    assert sim.asked[-1] == f"metadata/1.{quote(role, safe='')}.json"
    assert device.versions()[role] == 1


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a//b", "a/../b", "a\\b", "", "a b", "x" * 300, "\u00e9"])
def test_unusual_target_paths(device: Device, sim: Simulator, path: str) -> None:
    sim.add_file(path, b"evil")
    sim.publish("targets")
    with pytest.raises(Refused, match="not plain"):
        device.updater().read_target(path, 10)


def test_malformed_release_is_left_out_and_told(device: Device, sim: Simulator) -> None:
    for number, custom in enumerate(
        (
            {"name": "shelf"},
            None,
            {"name": "shelf", "version": "9.9.9", "release": 0},
            [],
            {"name": "other", "version": "3.3.3", "release": 4},
        )
    ):
        sim.add_file(f"models/shelf/shelf-bad{number}.zip", b"x", custom)
    sim.publish("targets")
    updater = device.updater()
    assert [release.version for release in updater.releases("shelf")] == ["1.0.0"]
    assert len(updater.problems) == 5


def test_target_without_a_sha256(device: Device, sim: Simulator) -> None:
    sim.targets.targets["x"] = type(sim.targets.targets["models/shelf/shelf-1.0.0.zip"])(1, {"md5": "0" * 32}, "x")
    sim.publish("targets")
    with pytest.raises(Unavailable):
        device.updater().read_target("x", 10)


MALFORMED: dict[str, Callable[[dict[str, object]], object]] = {
    "a list": lambda _: [],
    "null": lambda _: None,
    "no signatures": lambda metadata: {"signed": metadata["signed"]},
    "signatures of no form": lambda metadata: metadata | {"signatures": [{"keyid": ["x"], "sig": 3}]},
    "version true": lambda metadata: metadata | {"signed": {**metadata["signed"], "version": True}},  # type: ignore[dict-item]
    "version a text": lambda metadata: metadata | {"signed": {**metadata["signed"], "version": "2"}},  # type: ignore[dict-item]
    "version a fraction": lambda metadata: metadata | {"signed": {**metadata["signed"], "version": 2.5}},  # type: ignore[dict-item]
    "an expiry that is none": lambda metadata: metadata | {"signed": {**metadata["signed"], "expires": "never"}},  # type: ignore[dict-item]
    "another specification": lambda metadata: metadata | {"signed": {**metadata["signed"], "spec_version": "2.0.0"}},  # type: ignore[dict-item]
}


@pytest.mark.parametrize("case", [*MALFORMED, "not JSON", "deep", "a huge number", "not UTF-8", "nothing"])
@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_malformed_metadata(device: Device, sim: Simulator, role: str, case: str) -> None:
    sim.publish_root()
    sim.publish("targets")
    raw = sim.roots[1] if role == "root" else sim.raw(role)
    whole = {
        "not JSON": b"<html>",
        "deep": b"[" * 50_000,
        "a huge number": b'{"signed":' + b"9" * 9_000 + b"}",
        "not UTF-8": b"\xff\xfe",
        "nothing": b"",
    }
    bad = whole[case] if case in whole else json.dumps(MALFORMED[case](json.loads(raw))).encode()
    sim.hashes = False
    sim.snapshot.meta["targets.json"] = MetaFile(2)
    sim.timestamp.snapshot_meta = MetaFile(2)
    sim.served["metadata/timestamp.json" if role == "timestamp" else f"metadata/2.{role}.json"] = bad
    with pytest.raises(Refused) as met:
        device.refresh()
    assert met.value.mend and role in met.value.found
    sim.served.clear()
    device.refresh()
    assert device.versions() == {"root": 2, "timestamp": 2, "snapshot": 2, "targets": 2}


def test_a_repository_that_can_not_be_reached(device: Device, sim: Simulator) -> None:
    @contextmanager
    def broken(path: str, within_s: float, first_byte: int = 0) -> Iterator[object]:
        raise TryAgain("the line is down", "Check it")
        yield

    before = device.versions()
    sim.open = broken  # type: ignore[assignment, method-assign]
    with pytest.raises(EdgeError, match="down"):
        device.refresh()
    assert device.versions() == before
    assert isinstance(sim.targets, Targets)
