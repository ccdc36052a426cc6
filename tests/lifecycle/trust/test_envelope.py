"""Signed envelopes: DSSE as others write and read it, and nothing else. Both ways of checking a signature agree."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib import dsse
from securesystemslib._vendor import ed25519 as vendored
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust import signatures
from edge_runtime.lifecycle.trust.command_keys import CommandKey, CommandKeys, keyid_of
from edge_runtime.lifecycle.trust.envelope import (
    COMMAND,
    DESIRED,
    MAX_SIGNATURES,
    EnvelopeVerifier,
    Forged,
    Unsigned,
    encode_envelope,
    pae,
    require_single_keys,
)

RFC8032 = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
)
"""Secret keys of its tests 1 and 2, which DSSE's own vectors use too: signatures are the same everywhere."""
A, B = (Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in RFC8032)
IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'
STATEMENT_BY_A = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
URL_SAFE_BY_A = "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="


def entry(private: Ed25519PrivateKey, name: str = "ops") -> CommandKey:
    public = private.public_key().public_bytes_raw()
    return CommandKey(keyid_of(public), name, public.hex())


KEYS = CommandKeys((entry(A), entry(B)))
VERIFIER = EnvelopeVerifier(lambda: KEYS)


def signed(payload: bytes, private: Ed25519PrivateKey = A, kind: str = COMMAND, keyid: str | None = None) -> bytes:
    named = entry(private).keyid if keyid is None else keyid
    return encode_envelope(kind, payload, [(named, private.sign(pae(kind, payload)))])


def envelope(payload: str, kind: str, *sigs: dict[str, object], **more: object) -> bytes:
    return json.dumps({"payload": payload, "payloadType": kind, "signatures": list(sigs)} | more).encode()


def test_the_encoding_that_is_signed_is_the_specification_s() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("exämple", b"\x00 1") == b"DSSEv1 8 ex\xc3\xa4mple 3 \x00 1", "bytes are counted, not characters"


@pytest.mark.parametrize(
    ("payload", "sig", "opened"),
    [
        (base64.b64encode(STATEMENT).decode(), STATEMENT_BY_A, STATEMENT),
        ("-_-_Pj8=", URL_SAFE_BY_A, b"\xfb\xff\xbf>?"),
        ("+/+/Pj8=", URL_SAFE_BY_A, b"\xfb\xff\xbf>?"),
    ],
)
@pytest.mark.parametrize("named", [{}, {"keyid": ""}, {"keyid": entry(A).keyid}])
def test_vectors_of_the_specification(payload: str, sig: str, opened: bytes, named: dict[str, str]) -> None:
    """Either alphabet of base64; the key id is optional."""
    found = VERIFIER.open(envelope(payload, IN_TOTO, {"sig": sig} | named), IN_TOTO)
    assert (found.payload, found.signer) == (opened, entry(A).keyid)


def test_a_type_that_is_not_ascii_and_a_payload_that_is_empty() -> None:
    kind = "application/vnd.exämple+json"
    assert VERIFIER.open(signed(STATEMENT, kind=kind), kind).payload == STATEMENT
    assert VERIFIER.open(signed(b""), COMMAND).payload == b""


def test_a_signature_for_one_type_is_none_for_another() -> None:
    command = json.loads(signed(b"{}"))
    assert VERIFIER.open(json.dumps(command).encode(), COMMAND)
    command["payloadType"] = DESIRED
    with pytest.raises(Forged):
        VERIFIER.open(json.dumps(command).encode(), DESIRED)
    with pytest.raises(Refused, match="payload type"):
        VERIFIER.open(signed(b"{}"), DESIRED)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.text(min_size=1, max_size=30))
def test_securesystemslib_reads_ours_and_we_read_its(payload: bytes, kind: str) -> None:
    signer = CryptoSigner.generate_ed25519()
    public = bytes.fromhex(signer.public_key.keyval["public"])
    theirs = dsse.Envelope(payload, kind, {})
    theirs.sign(signer)
    assert theirs.pae() == pae(kind, payload)
    key = CommandKey(keyid_of(public), "other", public.hex())
    named = json.loads(json.dumps(theirs.to_dict()))
    named["signatures"][0]["keyid"] = key.keyid
    assert EnvelopeVerifier(lambda: CommandKeys((key,))).open(json.dumps(named).encode(), kind).payload == payload

    ours = dsse.Envelope.from_dict(json.loads(signed(payload, B, kind)))
    reader = SSlibKey(entry(B).keyid, "ed25519", "ed25519", {"public": entry(B).public})
    assert list(ours.verify([reader], 1)) == [entry(B).keyid]
    assert ours.payload == payload
    ours.payload += b"."
    with pytest.raises(VerificationError):
        ours.verify([reader], 1)


@pytest.mark.parametrize(
    "spoilt",
    [
        b"", b"null", b"[]", b"{}", b"\xff", b"[" * 10_000, b'{"payload":' * 2_000, b'{"payload":1e999}',
        envelope("e30", COMMAND, {"sig": "AA=="}),
        envelope("e30=", COMMAND, {"sig": "AA=="}),
        envelope("e31=", COMMAND, {"sig": "AA=="}),
        envelope("e30=\n", COMMAND, {"sig": "AA=="}),
        envelope("e3 0=", COMMAND, {"sig": "AA=="}),
        envelope("é30=", COMMAND, {"sig": "AA=="}),
        envelope("e30=", COMMAND, *[{"sig": STATEMENT_BY_A}] * (MAX_SIGNATURES + 1)),
        envelope("e30=", COMMAND, {"sig": STATEMENT_BY_A, "keyid": "x" * 129}),
        envelope("e30=", COMMAND, {"sig": STATEMENT_BY_A, "surprise": 1}),
        envelope("e30=", COMMAND, {"sig": STATEMENT_BY_A}, surprise=1),
        signed(b"{}")[:-1] + b',"payload":"e30="}',
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_refused_and_not_stumbled_over(spoilt: bytes) -> None:
    with pytest.raises(Refused):
        VERIFIER.read(spoilt, COMMAND)


def test_without_a_signature_of_a_known_key_it_is_unsigned() -> None:
    stranger = Ed25519PrivateKey.generate()
    for raw in (envelope("e30=", COMMAND), signed(b"{}", stranger)):
        with pytest.raises(Unsigned):
            VERIFIER.read(raw, COMMAND)
    with pytest.raises(Forged):
        VERIFIER.open(signed(b"{}", stranger, keyid=""), COMMAND)
    with pytest.raises(Forged):
        VERIFIER.open(signed(b"{}", stranger, keyid=entry(A).keyid), COMMAND)


def test_the_key_id_only_narrows_the_search() -> None:
    """B's signature under A's name is nobody's; under no name it is B's."""
    with pytest.raises(Forged):
        VERIFIER.open(signed(b"{}", B, keyid=entry(A).keyid), COMMAND)
    assert VERIFIER.open(signed(b"{}", B, keyid=""), COMMAND).signer == entry(B).keyid


def test_one_right_signature_among_wrong_ones_is_enough_and_checks_are_bounded() -> None:
    wrong = bytes(64)
    right = A.sign(pae(COMMAND, b"{}"))
    named = entry(A).keyid
    raw = encode_envelope(COMMAND, b"{}", [("stranger", wrong), (named, wrong), (named, wrong), (named, right)])
    sealed = VERIFIER.read(raw, COMMAND)
    assert len(sealed.claims) == 2, "the stranger's is left out, and the same one counts once"
    assert VERIFIER.verify(sealed).signer == named


def test_a_key_that_was_taken_out_between_the_two_steps_does_not_count() -> None:
    current = [KEYS]
    verifier = EnvelopeVerifier(lambda: current[0])
    sealed = verifier.read(signed(b"{}"), COMMAND)
    current[0] = CommandKeys((entry(B),))
    with pytest.raises(Forged):
        verifier.verify(sealed)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_is_believed(payload: bytes, place: int, flip: int) -> None:
    """What opens after a change is the very payload that was signed."""
    raw = bytearray(signed(payload))
    raw[place % len(raw)] ^= flip
    with contextlib.suppress(Refused):
        assert VERIFIER.open(bytes(raw), COMMAND).payload == payload


def test_a_key_that_stands_twice_is_refused_at_every_depth() -> None:
    require_single_keys(b'{"a":{"b":1},"b":[{"a":1},{"a":2}]}')
    for raw in (b'{"a":1,"a":1}', b'{"x":[{"a":{"b":1,"b":2}}]}', b'{"a":1,"\\u0061":2}'):
        with pytest.raises(Refused, match="twice"):
            require_single_keys(raw)


CHECKS = {"cryptography": signatures._fast_check(), "pure Python": signatures._pure_check()}


def vectors(count: int) -> list[list[bytes]]:
    """`sk+pk : pk : message : signature+message` of the original Ed25519 paper's software, as securesystemslib has them."""
    path = Path(vendored.__file__).parent / "test_data" / "ed25519"
    if not path.is_file():
        pytest.skip("this installation of securesystemslib came without its test data")
    lines = path.read_text().split("\n")[: count * 9 : 9]
    return [[bytes.fromhex(part) for part in line.split(":")[:4]] for line in lines]


@pytest.mark.parametrize("name", CHECKS)
def test_signatures_of_the_reference_software(name: str) -> None:
    check = CHECKS[name]
    for _, public, message, after in vectors(60):
        assert not signatures.public_fault(public)
        assert check(public, after[:64], message)
        assert not check(public, after[:64], message + b".")
        assert signatures.is_signed(public, after[:64], message)


def edge_signatures() -> list[tuple[bytes, bytes, bytes]]:
    """Where implementations are known to differ: points of small order, second spellings of points and numbers."""
    message = b"message"
    public = A.public_key().public_bytes_raw()
    right = A.sign(message)
    shifted = (int.from_bytes(right[32:], "little") + signatures._ORDER).to_bytes(32, "little")
    small = [y.to_bytes(32, "little") for y in (0, 1, signatures._PRIME - 1, signatures._ORDER_8_Y)]
    small += [(y + signatures._PRIME).to_bytes(32, "little") for y in (0, 1)] + [b"\xff" * 32]
    found = [(public, right[:32] + shifted, message), (public, right[:63], message), (public, b"", message)]
    found += [(point, point + bytes(32), message) for point in small]
    found += [(point, right, message) for point in small]
    found += [(public, point + right[32:], message) for point in small]
    return found


@pytest.mark.parametrize("case", range(len(edge_signatures())))
def test_what_implementations_differ_about_is_refused(case: int) -> None:
    assert not signatures.is_signed(*edge_signatures()[case])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_ways_of_checking_agree(data: st.DataObject) -> None:
    message = data.draw(st.binary(max_size=20))
    signature = bytearray(A.sign(message))
    public = bytearray(A.public_key().public_bytes_raw())
    for target in (signature, public):
        if data.draw(st.booleans()):
            target[data.draw(st.integers(0, len(target) - 1))] ^= data.draw(st.integers(1, 255))
    if signatures.public_fault(bytes(public)):
        return
    answers = {check(bytes(public), bytes(signature), message) for check in CHECKS.values()}
    assert len(answers) == 1


def test_a_device_that_hears_commands_loads_no_cryptography_before_the_first_signature() -> None:
    """Measured in a fresh interpreter; then the small module alone where the fast one is not installed."""
    code = (
        "import sys, edge_runtime.fleet.command_queue, edge_runtime.lifecycle.trust.key_ring\n"
        "from edge_runtime.lifecycle.trust import signatures\n"
        "heavy = ('tuf', 'securesystemslib', 'cryptography', 'requests')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "sys.modules['cryptography'] = None\n"
        "print(signatures.is_signed(bytes([2] * 32), bytes(64), b''))\n"
        "print([n for n in sys.modules if n.startswith(('securesystemslib.signer', 'cryptography.'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "False", "[]"], done.stdout
