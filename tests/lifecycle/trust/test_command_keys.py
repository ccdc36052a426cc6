"""Whose commands count: what a key file may say, where the keys of a device come from, and when they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.floors import Floors
from edge_runtime.lifecycle.trust.command_keys import (
    MAX_KEYS,
    MAX_KEYS_BYTES,
    TARGET,
    CommandKey,
    CommandKeys,
    KeyList,
    decode_command_keys,
    decode_key_list,
    encode_command_keys,
    keyid_of,
    matches,
    read_command_keys,
)
from edge_runtime.lifecycle.trust.key_refresh import EVERY_S, RETRY_S, KeyRefresh
from edge_runtime.lifecycle.trust.key_ring import KeyRing, fetch_command_keys
from edge_runtime.lifecycle.trust.transport import NotThere

from ..disks import FaultyFiles
from .simulator import DAY_S, Device, Simulator


def key(name: str = "ops", **rights: tuple[str, ...]) -> CommandKey:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return CommandKey(keyid_of(public), name, public.hex(), **rights)


FIRST, SECOND = key("first"), key("second")


def file_of(*keys: CommandKey, serial: int = 1) -> bytes:
    return encode_command_keys(CommandKeys(keys), serial)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    limited = key("lyon", verbs=("ping", "model.*"), audiences=("lyon/*", "_group/canary"))
    path.write_bytes(file_of(FIRST, limited, serial=7))
    assert list(read_command_keys(path)) == [FIRST, limited]
    assert decode_key_list(path.read_bytes()).serial == 7


@pytest.mark.parametrize(
    ("verb", "audience", "may"),
    [
        ("ping", "lyon/shelf-1", True),
        ("ping", "lyon/_all", True),
        ("model.activate", "_group/canary", True),
        ("model", "lyon/shelf-1", False),
        ("restart", "lyon/shelf-1", False),
        ("ping", "lyon2/shelf-1", False),
        ("ping", "paris/lyon/", False),
        ("ping", "_group/canary2", False),
        ("ping", "LYON/shelf-1", False),
    ],
)
def test_what_a_key_may_ask_of_whom(verb: str, audience: str, may: bool) -> None:
    assert key("lyon", verbs=("ping", "model.*"), audiences=("lyon/*", "_group/canary")).may(verb, audience) == may


@given(st.text(alphabet="ab/*", max_size=12), st.text(alphabet="ab/", max_size=12))
def test_patterns_match_as_a_slow_and_plain_rule_says(pattern: str, text: str) -> None:
    def plain(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return plain(p[1:], t) or (bool(t) and plain(p, t[1:]))
        return bool(t) and p[0] == t[0] and plain(p[1:], t[1:])

    assert matches(pattern, text) == plain(pattern, text)


def broken(**changes: object) -> bytes:
    document = json.loads(file_of(FIRST))
    document["keys"][0] |= changes
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"\xff", b"[" * 20_000, b"{" * 20_000, b" " * (MAX_KEYS_BYTES + 1),
        file_of(FIRST).replace(b"keys/1", b"keys/2"),
        broken(keyid="0" * 32),
        broken(keyid=FIRST.keyid.upper()),
        broken(public="00" * 32, keyid=keyid_of(bytes(32))),
        broken(public="ff" * 32, keyid=keyid_of(b"\xff" * 32)),
        broken(public="zz" * 32),
        broken(verbs=[]),
        broken(audiences=["*" * 201]),
        broken(surprise=1),
        broken(name=""),
        json.dumps({"format": "edge-command-keys/1", "keys": [json.loads(file_of(FIRST))["keys"][0]] * 2}).encode(),
        json.dumps({"format": "edge-command-keys/1", "keys": [], "serial": 0}).encode(),
        msgspec.json.encode(KeyList("edge-command-keys/1", tuple(key(str(n)) for n in range(MAX_KEYS + 1)))),
    ],
)  # fmt: skip
def test_a_file_that_is_not_right_is_refused_with_its_name(raw: bytes) -> None:
    with pytest.raises(Refused, match="here"):
        decode_command_keys(raw, "here")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_makes_another_key_count(place: int, flip: int) -> None:
    raw = bytearray(file_of(FIRST))
    raw[place % len(raw)] ^= flip
    try:
        found = list(decode_command_keys(bytes(raw)))
    except Refused:
        return
    assert {each.public for each in found} <= {FIRST.public}, "names and rights are the repository's to vouch for"


def test_a_pinned_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        read_command_keys(tmp_path / "none.json")
    ring = KeyRing(tmp_path, tmp_path / "none.json")
    assert not len(ring.keys()) and "none.json" in ring.problem


@pytest.mark.parametrize(
    "keys",
    [
        (key(verbs=("",)),),
        (key(audiences=()),),
        (key(verbs=("x" * 201,)),),
        (key(name="x" * 81),),
        tuple(key(str(number)) for number in range(MAX_KEYS + 1)),
    ],
)
def test_a_file_that_no_device_would_read_is_not_written(keys: tuple[CommandKey, ...]) -> None:
    with pytest.raises(Refused, match="no file of command keys"):
        file_of(*keys)


def publish(sim: Simulator, raw: bytes) -> None:
    sim.add_file(TARGET, raw)
    sim.publish("targets")


def pinned(tmp_path: Path) -> Path:
    path = tmp_path / "pinned.json"
    path.write_bytes(file_of(FIRST))
    return path


def test_the_repository_wins_over_the_pinned_file_once_its_keys_have_been_seen(
    device: Device, sim: Simulator, tmp_path: Path
) -> None:
    ring = KeyRing(device.state, pinned(tmp_path))
    assert list(ring.keys()) == [FIRST] and ring.wanting and not ring.problem
    publish(sim, file_of(SECOND))
    assert fetch_command_keys(device.updater(), device.state)
    assert list(ring.keys()) == [SECOND] and not ring.wanting
    assert not fetch_command_keys(device.updater(), device.state), "nothing is new"


def test_a_revoked_key_ends_with_the_next_refresh(device: Device, sim: Simulator) -> None:
    publish(sim, file_of(FIRST, SECOND))
    fetch_command_keys(device.updater(), device.state)
    ring = KeyRing(device.state)
    assert len(ring.keys()) == 2
    publish(sim, file_of(SECOND, serial=2))
    fetch_command_keys(device.updater(), device.state)
    assert list(ring.keys()) == [SECOND]
    publish(sim, file_of(serial=3))
    fetch_command_keys(device.updater(), device.state)
    assert not len(ring.keys()) and not ring.problem, "an empty list takes every key out"


def test_neither_silence_nor_an_expired_repository_changes_the_keys(device: Device, sim: Simulator) -> None:
    publish(sim, file_of(FIRST))
    fetch_command_keys(device.updater(), device.state)
    before = dict(sim.targets.targets)
    del sim.targets.targets[TARGET]
    sim.publish("targets")
    with pytest.raises(NotThere):
        fetch_command_keys(device.updater(), device.state)
    sim.targets.targets = before
    sim.publish("targets")
    sim.clock.wall_s += 400 * DAY_S
    with pytest.raises(EdgeError):
        fetch_command_keys(device.updater(), device.state)
    assert list(KeyRing(device.state).keys()) == [FIRST]


@pytest.mark.parametrize("raw", [b"{}", b"", file_of(FIRST)[:-20]])
def test_a_list_that_is_wrong_leaves_the_last_one(device: Device, sim: Simulator, raw: bytes) -> None:
    publish(sim, file_of(FIRST))
    fetch_command_keys(device.updater(), device.state)
    publish(sim, raw or b"x")
    with pytest.raises(Refused):
        fetch_command_keys(device.updater(), device.state)
    assert list(KeyRing(device.state).keys()) == [FIRST]


def test_an_older_list_does_not_come_back_even_where_all_metadata_is_lost(device: Device, sim: Simulator) -> None:
    """Signed once, and still not expired: only the serial tells."""
    publish(sim, file_of(FIRST, SECOND, serial=1))
    publish(sim, file_of(SECOND, serial=2))
    fetch_command_keys(device.updater(), device.state)
    for path in (device.state / "trust").glob("*.json"):
        path.write_bytes(b"")
    publish(sim, file_of(FIRST, SECOND, serial=1))
    with pytest.raises(Refused, match="serial 1; this device has seen 2"):
        fetch_command_keys(device.updater(), device.state)
    ring = KeyRing(device.state)
    assert not len(ring.keys()) and ring.wanting
    publish(sim, file_of(SECOND, serial=2))
    fetch_command_keys(device.updater(), device.state)
    assert list(ring.keys()) == [SECOND]


def test_every_byte_of_the_kept_list_may_be_damaged_and_the_pinned_file_does_not_step_in(
    device: Device, sim: Simulator, tmp_path: Path
) -> None:
    """A pinned key may have been revoked since: rather nobody until the repository has been asked."""
    publish(sim, file_of(SECOND))
    fetch_command_keys(device.updater(), device.state)
    path = device.state / "trust" / TARGET
    whole = path.read_bytes()
    where = pinned(tmp_path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        ring = KeyRing(device.state, where)
        assert set(ring.keys()) <= {SECOND}
        assert len(ring.keys()) or ring.wanting
    path.unlink()
    assert not len(KeyRing(device.state, where).keys())
    assert fetch_command_keys(device.updater(), device.state)
    assert list(KeyRing(device.state, where).keys()) == [SECOND]


def test_a_disk_that_does_not_take_the_list_leaves_the_last_one(device: Device, sim: Simulator) -> None:
    publish(sim, file_of(FIRST))
    fetch_command_keys(device.updater(), device.state)
    publish(sim, file_of(SECOND, serial=2))
    updater = device.updater()
    updater.refresh()
    for step in (1, 2, 3, 4):
        with pytest.raises(TryAgain):
            fetch_command_keys(updater, device.state, FaultyFiles(step, "errno_for_good"))
        if step < 4:  # the fourth finds it renamed, and not yet sure to stay
            assert list(KeyRing(device.state).keys()) == [FIRST]
    assert Floors(device.state).release(TARGET) == 1
    assert not fetch_command_keys(updater, device.state), "the list is there already"
    assert Floors(device.state).release(TARGET) == 2, "and its floor, which a kill may have come before"


def test_when_the_repository_is_asked() -> None:
    now = [100.0]
    refresh = KeyRefresh(lambda: now[0], lambda: 0.5)
    assert refresh.due()
    refresh.began()
    assert not refresh.due(wanting=True, strangers=5), "not at once again, whoever asks"
    now[0] += RETRY_S
    assert refresh.due(wanting=True)
    assert not refresh.due(strangers=5), "the same strangers as before"
    assert refresh.due(strangers=6)
    refresh.began()
    now[0] += EVERY_S - 1
    assert not refresh.due()
    now[0] += 1
    assert refresh.due()
    refresh.began()
    refresh.failed()
    now[0] += RETRY_S
    assert refresh.due()
