"""An operator's signing key: Ed25519, one PEM file, readable by its owner alone."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.trust.command_keys import CommandKey, keyid_of
from edge_runtime.lifecycle.trust.envelope import encode_envelope, pae
from edge_runtime.workshop.signing_keys import Ed25519PrivateKey, read_signing_key, write_signing_key


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
            write_signing_key(path, key._private, passphrase)
        except OSError as fault:
            raise Unavailable(f"the key {path} can not be written: {fault.strerror}", "Choose another path") from None
        return key

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None, name: str = "") -> OperatorKey:
        """A key that `create` made; its name is the file's unless one is given. Raises Unavailable, Refused."""
        return cls(read_signing_key(path, passphrase, "--key", "`fleet init`"), name or path.stem)

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """The payload in a signed envelope (DSSE, JSON)."""
        return encode_envelope(payload_type, payload, [(self.keyid, self._private.sign(pae(payload_type, payload)))])

    def public_entry(self, verbs: tuple[str, ...] = ("*",), audiences: tuple[str, ...] = ("*",)) -> CommandKey:
        """What a file of command keys says about this key. Patterns as `CommandKey` has them."""
        return CommandKey(self.keyid, self.name, self.public.hex(), verbs, audiences)
