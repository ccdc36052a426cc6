"""Signing keys: Ed25519, one PEM file each, readable by their owner alone, and never inside the folder that is served."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

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

MAX_KEY_BYTES = 16_384
RETIRED = "retired"


class KeyFolders:
    """The keys at hand: every `*.pem` of some folders. New keys go to the first."""

    def __init__(self, folders: Sequence[Path], passphrase: bytes | None = None) -> None:
        """Raises Unavailable if a folder can not be read, Refused for a file that is no key or another passphrase's."""
        self.folders = tuple(folders)
        self._passphrase = passphrase
        self._held: dict[str, tuple[CryptoSigner, Path]] = {}
        for folder in self.folders:
            for path in _pem_files(folder):
                signer = _load(path, passphrase)
                self._held[signer.public_key.keyid] = (signer, path)

    def signers(self, keyids: Iterable[str]) -> list[CryptoSigner]:
        """Those of the keys that are at hand."""
        return [self._held[keyid][0] for keyid in keyids if keyid in self._held]

    def path(self, keyid: str) -> Path | None:
        """Where a key lies, if it is at hand."""
        return self._held[keyid][1] if keyid in self._held else None

    def create(self, label: str) -> SSlibKey:
        """A new key, on the disk before anything is signed with it. Raises Unavailable."""
        signer = CryptoSigner.generate_ed25519()
        key = signer.public_key
        path = self.folders[0] / f"{label}-{key.keyid[:8]}.pem"
        try:
            _make_private_folder(self.folders[0])
            _write_private(path, _to_pem(signer, self._passphrase))
            DiskFiles().sync_folder(self.folders[0])
        except OSError as fault:
            raise Unavailable(
                f"the key {path} can not be written: {fault.strerror}", "Choose another folder with --keys"
            ) from None
        self._held[key.keyid] = (signer, path)
        return key

    def forget(self, keyids: Iterable[str]) -> None:
        """Remove keys that were made for a change that did not come about."""
        for keyid in keyids:
            _, path = self._held.pop(keyid, (None, None))
            if path is not None:
                path.unlink(missing_ok=True)

    def retire(self, keyids: Iterable[str]) -> list[Path]:
        """Put keys aside that nothing is signed with any more; where they lie now."""
        moved = []
        for keyid in keyids:
            _, path = self._held.pop(keyid, (None, None))
            if path is not None:
                _make_private_folder(path.parent / RETIRED)
                moved.append(path.replace(path.parent / RETIRED / path.name))
        return moved


def read_passphrase(path: Path) -> bytes:
    """The first line of a file. Raises Unavailable, or Refused if it is empty."""
    try:
        with path.open("rb") as file:
            line = file.readline(4096).rstrip(b"\r\n")
    except OSError as fault:
        raise Unavailable(f"the passphrase file {path} can not be read: {fault.strerror}", "Check the path") from None
    if not line:
        raise Refused(f"the passphrase file {path} has an empty first line", "Write the passphrase into it")
    return line


def _pem_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".pem" and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise Unavailable(f"the key folder {folder} can not be read: {fault.strerror}", "Check its rights") from None


def _load(path: Path, passphrase: bytes | None) -> CryptoSigner:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_BYTES)
        encrypted = b"ENCRYPTED" in raw
        if encrypted and passphrase is None:
            raise Refused(f"the key {path} is encrypted", "Name the file of its passphrase with --passphrase-file")
        private = load_pem_private_key(raw, passphrase if encrypted else None)
    except OSError as fault:
        raise Unavailable(f"the key {path} can not be read: {fault.strerror}", "Check its rights") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(
            f"{path} is not a key, or the passphrase is another one's", "Check --keys and --passphrase-file"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Refused(f"the key {path} is not Ed25519", "Use keys that `repo init` or `repo rotate` made")
    return CryptoSigner(private)


def _to_pem(signer: CryptoSigner, passphrase: bytes | None) -> bytes:
    protection: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private = load_pem_private_key(signer.private_bytes, None)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_private(path: Path, raw: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
