"""An operator's key: on the disk for its owner alone, and what it signs is what a device opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.trust.command_keys import CommandKeys
from edge_runtime.lifecycle.trust.envelope import COMMAND, EnvelopeVerifier
from edge_runtime.workshop.enrolment.signing import OperatorKey


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_that_is_loaded_again_signs_what_a_device_opens(tmp_path: Path, passphrase: bytes | None) -> None:
    path = tmp_path / "keys" / "anna.pem"
    made = OperatorKey.create(path, "Anna", passphrase)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert (b"ENCRYPTED" in path.read_bytes()) == (passphrase is not None)
    key = OperatorKey.load(path, passphrase)
    assert (key.keyid, key.public, key.name, made.name) == (made.keyid, made.public, "anna", "Anna")
    keys = CommandKeys((key.public_entry(("ping",), ("store/*",)),))
    opened = EnvelopeVerifier(lambda: keys).open(key.sign(COMMAND, b"{}"), COMMAND)
    assert (opened.payload, opened.signer) == (b"{}", key.keyid)
    assert opened.may("ping", "store/box") and not opened.may("restart", "store/box")


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    OperatorKey.create(tmp_path / "anna.pem")
    before = (tmp_path / "anna.pem").read_bytes()
    with pytest.raises(Refused, match="is there already"):
        OperatorKey.create(tmp_path / "anna.pem")
    assert (tmp_path / "anna.pem").read_bytes() == before


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        OperatorKey.load(tmp_path / "none.pem")
    (tmp_path / "file").write_bytes(b"no key")
    with pytest.raises(Refused, match="is not a key"):
        OperatorKey.load(tmp_path / "file")
    with pytest.raises(Unavailable, match="can not be written"):
        OperatorKey.create(tmp_path / "file" / "anna.pem")
    OperatorKey.create(tmp_path / "locked.pem", passphrase=b"correct horse")
    with pytest.raises(Refused, match="is encrypted"):
        OperatorKey.load(tmp_path / "locked.pem")
    with pytest.raises(Refused, match="another one's"):
        OperatorKey.load(tmp_path / "locked.pem", b"battery staple")
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other.pem").write_bytes(other)
    with pytest.raises(Refused, match="not Ed25519"):
        OperatorKey.load(tmp_path / "other.pem")
