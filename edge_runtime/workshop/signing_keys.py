"""Private signing keys as files: Ed25519, PKCS 8 in PEM, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.files import DiskFiles

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

__all__ = ["Ed25519PrivateKey", "read_signing_key", "write_signing_key"]

MAX_KEY_BYTES = 16_384


def read_signing_key(path: Path, passphrase: bytes | None, option: str, made_by: str) -> Ed25519PrivateKey:
    """The key in a file. Raises Unavailable if it can not be read, Refused for what is no key or another passphrase's.

    `option`: which one named the file; `made_by`: what makes right ones.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_BYTES)
        encrypted = b"ENCRYPTED" in raw
        if encrypted and passphrase is None:
            raise Refused(f"the key {path} is encrypted", "Name the file of its passphrase with --passphrase-file")
        private = load_pem_private_key(raw, passphrase if encrypted else None)
    except OSError as fault:
        raise Unavailable(f"the key {path} can not be read: {fault.strerror}", "Check its path and rights") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(
            f"{path} is not a key, or the passphrase is another one's", f"Check {option} and --passphrase-file"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Refused(f"the key {path} is not Ed25519", f"Use keys that {made_by} made")
    return private


def write_signing_key(path: Path, private: Ed25519PrivateKey, passphrase: bytes | None) -> None:
    """A new file in a folder that is its owner's alone; it survives a power cut. Raises OSError, also if there is one."""
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        file.flush()
        os.fsync(file.fileno())
    DiskFiles().sync_folder(path.parent)
