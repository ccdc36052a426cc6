"""Which messages are a newer wish of this device."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import Refused
from edge_runtime.fleet.convergence import Progress
from edge_runtime.fleet.desired import (
    FARTHEST_S,
    MAX_DESIRED_BYTES,
    Declined,
    Desired,
    DesiredGate,
    DesiredModel,
    DesiredReason,
    Known,
    OpenUnsigned,
    Taken,
    decode_desired,
    encode_desired,
)
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.wish_file import FLOOR_NAME, NAME, WishFile
from edge_runtime.lifecycle.floors import EARLIEST_S
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import COMMAND, DESIRED, EnvelopeVerifier, Opened, Sealed
from edge_runtime.workshop.enrolment.signing import OperatorKey

HERE = "lyon/dev-1"


def wish(seq: int = 10, version: str = "1.1.0", audience: str = HERE) -> Desired:
    return Desired(audience=audience, seq=seq, issued_at=1.7e9, model=DesiredModel(name="shelf", version=version))


def said(payload: bytes, retained: bool = True) -> Incoming:
    return Incoming("edge/v1/lyon/dev-1/desired", payload, retained)


@dataclass
class Counting:
    """An opener that counts how often a signature was checked."""

    inner: EnvelopeVerifier
    checks: int = 0

    def read(self, envelope: bytes, payload_type: str) -> Sealed:
        return self.inner.read(envelope, payload_type)

    def verify(self, sealed: Sealed) -> Opened:
        self.checks += 1
        return self.inner.verify(sealed)


@dataclass
class Bench:
    """A gate with a real key."""

    folder: Path
    verbs: tuple[str, ...] = ("*",)
    audiences: tuple[str, ...] = ("*",)
    wish: WishFile = field(init=False)

    def __post_init__(self) -> None:
        self.key = OperatorKey.create(self.folder / "key.pem", "ops")
        keys = CommandKeys((self.key.public_entry(self.verbs, self.audiences),))
        self.opener = Counting(EnvelopeVerifier(lambda: keys))
        self.wish = WishFile(self.folder / "state")
        self.gate = DesiredGate(HERE, self.opener, self.wish)

    def signed(self, desired: Desired) -> bytes:
        return self.key.sign(DESIRED, encode_desired(desired))

    def hear(self, payload: bytes, retained: bool = True) -> Taken | Declined | Known:
        verdict = self.gate.judge(said(payload, retained))
        if isinstance(verdict, Taken):
            self.wish.take(verdict.desired, verdict.signer)
        return verdict


def reason(verdict: object) -> DesiredReason:
    assert isinstance(verdict, Declined), verdict
    return verdict.reason


@pytest.mark.parametrize("retained", [True, False])
def test_a_signed_wish_is_taken_retained_or_not(tmp_path: Path, retained: bool) -> None:
    bench = Bench(tmp_path)
    assert bench.hear(bench.signed(wish()), retained) == Taken(wish(), "ops")
    assert bench.wish.desired == wish() and bench.wish.floor == 10


def test_the_same_wish_at_every_connect_costs_one_signature_check(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    envelope = bench.signed(wish())
    for _ in range(20):
        bench.hear(envelope)
    assert bench.opener.checks == 1


def test_after_a_restart_the_retained_wish_is_known_without_a_check(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    envelope = bench.signed(wish())
    bench.hear(envelope)
    again = DesiredGate(HERE, bench.opener, WishFile(tmp_path / "state"))
    assert again.judge(said(envelope)) == Known()
    assert bench.opener.checks == 1


def test_an_older_wish_is_refused_before_its_signature_is_checked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hear(bench.signed(wish(20)))
    assert reason(bench.hear(bench.signed(wish(19, "1.0.0")))) is DesiredReason.REPLAYED
    assert reason(bench.hear(bench.signed(wish(20, "1.0.0")))) is DesiredReason.REPLAYED
    assert bench.opener.checks == 1 and bench.wish.desired == wish(20)


def test_of_two_wishes_that_were_judged_at_once_the_older_one_lowers_nothing(tmp_path: Path) -> None:
    """A message that was put off is judged again in another thread than the one in which the next message arrives."""
    bench = Bench(tmp_path)
    older, newer = (bench.gate.judge(said(bench.signed(wish(seq)))) for seq in (20, 21))
    for verdict in (newer, older):
        assert isinstance(verdict, Taken)
        bench.wish.take(verdict.desired, verdict.signer)
    for memory in (bench.wish, WishFile(tmp_path / "state")):
        assert (memory.desired, memory.floor, memory.progress.seq) == (wish(21), 21, 21)


@pytest.mark.parametrize("clock", [0.0, 1.8e9])
def test_a_stolen_key_can_not_use_up_the_numbers_of_those_who_come_after_it(tmp_path: Path, clock: float) -> None:
    bench = Bench(tmp_path)
    bench.gate = DesiredGate(HERE, bench.opener, bench.wish, wall=lambda: clock)
    for seq in (2**53, 2**52, 10**13, int((max(clock, EARLIEST_S) + FARTHEST_S + 1) * 1e3)):
        assert reason(bench.hear(bench.signed(wish(seq)))) is DesiredReason.FROM_THE_FUTURE
    assert bench.wish.floor == 0 and bench.opener.checks == 0
    for year in (2025, 2026, 2034):  # whatever the device's clock says, what is wished in its life is taken
        assert isinstance(bench.hear(bench.signed(wish(int((year - 1970) * 365.25 * 86_400e3)))), Taken)


def test_a_deleted_wish_changes_nothing(tmp_path: Path) -> None:
    """The deletion of a retained message is not signed: anyone who may publish could do it."""
    bench = Bench(tmp_path)
    bench.hear(bench.signed(wish()))
    assert bench.hear(b"") == Known()
    assert bench.wish.desired == wish()


@pytest.mark.parametrize("audience", ["lyon/dev-2", "lyon/_all", "_group/canary"])
def test_a_wish_for_another_device_is_not_ours(tmp_path: Path, audience: str) -> None:
    bench = Bench(tmp_path)
    assert reason(bench.hear(bench.signed(wish(audience=audience)))) is DesiredReason.WRONG_AUDIENCE
    assert bench.wish.desired is None


def test_a_key_may_wish_only_where_it_may(tmp_path: Path) -> None:
    bench = Bench(tmp_path, verbs=("ping", "status"))
    verdict = bench.hear(bench.signed(wish()))
    assert reason(verdict) is DesiredReason.NOT_ALLOWED
    assert isinstance(verdict, Declined) and verdict.seq == 10


def test_what_is_no_wish_is_refused_with_a_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    unsigned = encode_desired(wish())
    assert reason(bench.hear(unsigned)) is DesiredReason.UNTRUSTED
    command = bench.key.sign(COMMAND, unsigned)
    assert reason(bench.hear(command)) is DesiredReason.UNTRUSTED
    envelope = bench.signed(wish())
    changed = envelope.replace(b'"sig":"', b'"sig":"AAAA', 1)
    assert reason(bench.hear(changed)) is DesiredReason.UNTRUSTED
    assert reason(bench.hear(b"[" * (MAX_DESIRED_BYTES + 1))) is DesiredReason.OVERSIZE
    assert reason(bench.hear(bench.key.sign(DESIRED, b'{"format":"edge-desired/1"}'))) is DesiredReason.MALFORMED
    assert bench.wish.desired is None


def test_a_flood_of_forgeries_has_a_budget_of_checks(tmp_path: Path) -> None:
    bench, allowed = Bench(tmp_path), iter([True, True] + [False] * 1000)
    gate = DesiredGate(HERE, bench.opener, bench.wish, lambda: next(allowed))
    other = OperatorKey.create(tmp_path / "other.pem", "other")
    for seq in range(1, 50):
        forged = msgspec.json.decode(other.sign(DESIRED, encode_desired(wish(seq))))
        forged["signatures"][0]["keyid"] = bench.key.keyid
        assert isinstance(gate.judge(said(msgspec.json.encode(forged))), Declined)
    assert bench.opener.checks == 2


def test_a_wish_of_a_new_operator_is_taken_once_the_key_is_known(tmp_path: Path) -> None:
    keys: list[CommandKeys] = [CommandKeys()]
    key = OperatorKey.create(tmp_path / "new.pem", "new")
    memory = WishFile(None)
    gate = DesiredGate(HERE, EnvelopeVerifier(lambda: keys[-1]), memory)
    message = said(key.sign(DESIRED, encode_desired(wish())))
    first = gate.judge(message)
    assert isinstance(first, Declined) and first.stranger
    keys.append(CommandKeys((key.public_entry(),)))
    assert isinstance(gate.judge(message), Taken), "the same message is judged anew"


def test_a_key_that_stands_twice_is_refused() -> None:
    twice = encode_desired(wish()).replace(b'"seq":10', b'"seq":10,"seq":99')
    with pytest.raises(Refused):
        decode_desired(twice)


@given(st.binary(max_size=300))
def test_garbage_is_declined_and_never_raises(raw: bytes) -> None:
    gate = DesiredGate(HERE, OpenUnsigned(), WishFile(None))
    assert isinstance(gate.judge(said(raw)), Declined | Known)


@given(
    st.integers(1, 2**53),
    st.dictionaries(
        st.text(max_size=20), st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20)
    ),
)
def test_a_wish_survives_its_encoding(seq: int, config: dict[str, bool | int | str | None]) -> None:
    desired = Desired(audience=HERE, seq=seq, issued_at=1.0, config=dict(config))
    assert decode_desired(encode_desired(desired)) == desired


def test_a_number_that_json_does_not_have_is_refused_at_the_sender() -> None:
    with pytest.raises(Refused):
        encode_desired(Desired(audience=HERE, seq=1, issued_at=1.0, config={"a": float("nan")}))


# What is kept


FAILED = Progress(seq=10, state="failed", reason="quarantined", detail="unknown 22 %")


def kept(folder: Path) -> WishFile:
    file = WishFile(folder)
    file.take(wish(), "ops")
    file.note(FAILED)
    return file


def test_wish_and_progress_outlive_a_restart(tmp_path: Path) -> None:
    kept(tmp_path)
    again = WishFile(tmp_path)
    assert (again.desired, again.signer, again.floor, again.progress) == (wish(), "ops", 10, FAILED)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\x00" * 64, b'{"format":"edge-desired-state/1","sha256":"0","body":{}}']
)
def test_a_damaged_wish_is_set_aside_and_floor_and_failure_survive(tmp_path: Path, damage: bytes) -> None:
    kept(tmp_path)
    (tmp_path / NAME).write_bytes(damage)
    again = WishFile(tmp_path)
    assert (again.desired, again.floor, again.progress) == (None, 10, FAILED)
    assert list(tmp_path.glob(f"{NAME}.corrupt-*"))
    gate = DesiredGate(HERE, OpenUnsigned(), again)
    assert reason(gate.judge(said(encode_desired(wish(9))))) is DesiredReason.REPLAYED
    verdict = gate.judge(said(encode_desired(wish(10))))
    assert isinstance(verdict, Taken)
    again.take(verdict.desired, verdict.signer)
    assert again.progress == FAILED, "what failed under this seq is not tried again because a file was damaged"


def test_a_damaged_floor_is_made_good_by_the_wish(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / FLOOR_NAME).write_bytes(b"?")
    assert WishFile(tmp_path).floor == 10


def test_an_older_copy_of_the_wish_is_not_pursued(tmp_path: Path) -> None:
    kept(tmp_path)
    old = (tmp_path / NAME).read_bytes()
    WishFile(tmp_path).take(wish(11, "1.2.0"), "ops")
    (tmp_path / NAME).write_bytes(old)
    again = WishFile(tmp_path)
    assert (again.desired, again.floor) == (None, 11)


def test_a_changed_byte_never_passes(tmp_path: Path) -> None:
    kept(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    at = whole.index(b"1.1.0")
    (tmp_path / NAME).write_bytes(whole[:at] + b"9" + whole[at + 1 :])
    assert WishFile(tmp_path).desired is None


def test_a_disk_that_fails_does_not_stop_the_wish(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where a folder should be")
    file = WishFile(blocked)
    file.take(wish(), "ops")
    assert file.desired == wish() and "can not be kept" in file.problem
