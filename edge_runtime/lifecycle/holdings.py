"""The bundles on this device: installed ones by digest, and the factory's, which are read-only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import EdgeError, Refused, Unavailable
from edge_runtime.lifecycle.bundle import MAX_BUNDLE_BYTES, Bundle, read_bundle, sha256_of_file, verify_bundle
from edge_runtime.lifecycle.files import Files
from edge_runtime.records import ModelId

_CHUNK = 262_144
_INCOMING = "incoming.part"


class Holdings:
    """Finds, adds and removes bundle files. Knows nothing of which one runs."""

    def __init__(self, folder: Path, factory: Sequence[Path], files: Files) -> None:
        self._folder = folder
        self._factory_paths = tuple(factory)
        self._files = files
        self._factory: dict[str, Path] | None = None

    @property
    def factory(self) -> dict[str, Path]:
        """Digest -> path, newest first; a factory file that can not be read is left out."""
        if self._factory is None:
            found: dict[str, Path] = {}
            for path in reversed(self._factory_paths):
                with suppress(EdgeError):
                    found[sha256_of_file(path)] = path
            self._factory = found
        return self._factory

    def installed(self) -> dict[str, Path]:
        """Digest -> path, most recently installed first. Raises OSError if the folder can not be listed."""
        found = []
        for path in self._folder.glob("*.zip"):
            with suppress(OSError):
                if _is_digest(path.stem):
                    found.append((path.stat().st_mtime_ns, path.stem, path))
        return {stem: path for _, stem, path in sorted(found, reverse=True)}

    def read(self, sha256: str) -> Bundle:
        """The bundle of this digest, verified. Raises Unavailable if it is not here, Refused if it is damaged."""
        places = self._places(sha256)
        for place in places:
            with suppress(EdgeError):
                return _read_as(place, sha256)
        return _read_as(places[-1], sha256)

    def path(self, sha256: str) -> Path:
        """Where the bundle of this digest is; nothing is verified. Raises Unavailable if it is not here."""
        return self._places(sha256)[0]

    def add(self, source: Path, admit: Callable[[ModelId], None]) -> ModelId:
        """Copy a bundle in: staged beside, synced, verified, then renamed to its digest.

        `admit` is asked between, and records the bundle or raises. Raises what it raises, Refused if this is not a
        whole bundle, Unavailable if `source` can not be read, OSError if the disk fails; no bytes are left behind then.
        """
        incoming = self._folder / _INCOMING
        try:
            verify_bundle(source)
            self._files.write(incoming, _pieces(source))
            model = verify_bundle(incoming).id
            admit(model)
            self._files.rename(incoming, self._folder / f"{model.sha256}.zip")
            self._files.sync_folder(self._folder)
        except (EdgeError, OSError):
            with suppress(OSError):
                self._files.remove(incoming)
            raise
        return model

    def sweep(self) -> None:
        """Remove what an install that was killed has left. Only while no other install can run."""
        with suppress(OSError):
            if (self._folder / _INCOMING).exists():
                self._files.remove(self._folder / _INCOMING)

    def drop(self, digests: Collection[str]) -> None:
        """Remove installed bundles, as far as the disk lets: what stays is merely unused."""
        for sha256 in digests:
            with suppress(OSError):
                if _is_digest(sha256) and (path := self._folder / f"{sha256}.zip").exists():
                    self._files.remove(path)

    def _places(self, sha256: str) -> list[Path]:
        if not _is_digest(sha256):
            raise Refused(f"{sha256[:80]!r} is not a sha256 digest", "See `edge-runtime model list`")
        places = [path for path in (self._folder / f"{sha256}.zip",) if _may_be_there(path)]
        places += [self.factory[sha256]] if sha256 in self.factory else []
        if not places:
            raise Unavailable(f"no bundle {sha256[:12]} on this device", "See `edge-runtime model list`")
        return places


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _may_be_there(path: Path) -> bool:
    """A disk that can not say is asked again when the file is read, and then gives the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def _read_as(path: Path, sha256: str) -> Bundle:
    bundle = read_bundle(path)
    if bundle.sha256 != sha256:
        raise Refused(f"{path} has the digest {bundle.sha256[:12]}, {sha256[:12]} was expected", "Install it again")
    return bundle


def _pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        for _ in range(MAX_BUNDLE_BYTES // _CHUNK + 1):
            if not (piece := file.read(_CHUNK)):
                return
            yield piece
