"""Signing keys: Ed25519, one PEM file each, readable by their owner alone, and never inside the folder that is served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.workshop.signing_keys import Ed25519PrivateKey, read_signing_key, write_signing_key

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
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        key = signer.public_key
        path = self.folders[0] / f"{label}-{key.keyid[:8]}.pem"
        try:
            write_signing_key(path, private, self._passphrase)
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
    return CryptoSigner(read_signing_key(path, passphrase, "--keys", "`repo init` or `repo rotate`"))


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
