"""An operator's signing key: Ed25519, one PEM file, readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.files import DiskFiles
from edge_runtime.lifecycle.trust.command_keys import CommandKey, keyid_of
from edge_runtime.lifecycle.trust.envelope import encode_envelope, pae

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
except ImportError:
    raise Unavailable(
        "signing needs the package cryptography, which is not installed", "pip install 'edge-runtime[build]'"
    ) from None

MAX_KEY_BYTES = 16_384


class OperatorKey:
    """Signs what is sent to a fleet. A `Signer` of the operator's side."""

    def __init__(self, private: Ed25519PrivateKey, name: str) -> None:
        self.name = name
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()
        self.keyid: str = keyid_of(self.public)

    @classmethod
    def create(cls, path: Path, name: str = "", passphrase: bytes | None = None) -> OperatorKey:
        """A new key, on the disk when this returns. Raises Refused if something is there already, Unavailable."""
        key = cls(Ed25519PrivateKey.generate(), name or path.stem)
        if path.exists():
            raise Refused(f"{path} is there already", "Use that key, or choose another path")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(path, _to_pem(key._private, passphrase))
            DiskFiles().sync_folder(path.parent)
        except OSError as fault:
            raise Unavailable(f"the key {path} can not be written: {fault.strerror}", "Choose another path") from None
        return key

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None, name: str = "") -> OperatorKey:
        """A key that `create` made; its name is the file's unless one is given. Raises Unavailable, Refused."""
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_KEY_BYTES)
        except OSError as fault:
            raise Unavailable(
                f"the key {path} can not be read: {fault.strerror}", "Check its path and rights"
            ) from None
        return cls(_from_pem(raw, path, passphrase), name or path.stem)

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """The payload in a signed envelope (DSSE, JSON)."""
        return encode_envelope(payload_type, payload, [(self.keyid, self._private.sign(pae(payload_type, payload)))])

    def public_entry(self, verbs: tuple[str, ...] = ("*",), audiences: tuple[str, ...] = ("*",)) -> CommandKey:
        """What a file of command keys says about this key. Patterns as `CommandKey` has them."""
        return CommandKey(self.keyid, self.name, self.public.hex(), verbs, audiences)


def _from_pem(raw: bytes, path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    encrypted = b"ENCRYPTED" in raw
    if encrypted and passphrase is None:
        raise Refused(f"the key {path} is encrypted", "Name the file of its passphrase with --passphrase-file")
    try:
        private = load_pem_private_key(raw, passphrase if encrypted else None)
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(
            f"{path} is not a key, or the passphrase is another one's", "Check --key and --passphrase-file"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Refused(f"the key {path} is not Ed25519", "Use a key that `fleet init` made")
    return private


def _to_pem(private: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _write_private(path: Path, raw: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
