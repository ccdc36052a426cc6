"""Downloads on the device: bounded, resumed, and under their own name only when they are whole and verified."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.files import Files
from edge_runtime.lifecycle.trust.ceilings import Ceilings
from edge_runtime.lifecycle.trust.release import Target
from edge_runtime.lifecycle.trust.transport import Moved, Transport

if TYPE_CHECKING:
    from hashlib import _Hash

Progress = Callable[[int, int], None]
"""Is told bytes that are there and bytes in all."""
KEPT = 2
"""Whole files that stay beside a new one."""
_BLOCK = 1_048_576


@dataclass(frozen=True, slots=True)
class _Job:
    transport: Transport
    path: str
    part: Path
    target: Target
    progress: Progress | None


class Staging:
    """`<state>/staging`: `<sha256>.zip` is whole and verified, `<sha256>.part` is not yet."""

    def __init__(self, folder: Path, files: Files, ceilings: Ceilings) -> None:
        self.folder = folder
        self._files, self._ceilings = files, ceilings

    def fetch(self, transport: Transport, path: str, target: Target, progress: Progress | None = None) -> Path:
        """Download one file, or go on with it.

        Raises Refused if the repository serves other bytes than it vouches for (nothing of them stays), TryAgain if the
        line breaks (what came stays) or the disk fails or is full (nothing stays), and as `transport.open`.
        """
        whole, part = self.folder / f"{target.sha256}.zip", self.folder / f"{target.sha256}.part"
        try:
            self._files.make_folder(self.folder)
            self._clear(keep=target.sha256)
            if whole.exists() and _digest_of(whole)[0].hexdigest() == target.sha256:
                return whole
            if not self._complete(_Job(transport, path, part, target, progress)):
                raise Refused(
                    f"{target.path} of the repository is not the file that it vouches for (sha256 {target.sha256[:12]})",
                    "Have the repository checked: `edge-runtime repo verify`",
                )
            self._files.rename(part, whole)
            self._files.sync_folder(self.folder)
        except OSError as fault:
            self._drop(part)
            raise TryAgain(
                f"{target.path} can not be written to {self.folder}: {fault.strerror}",
                "Free the disk, or make it writable",
            ) from None
        return whole

    def discard(self, sha256: str) -> None:
        """Remove a download, if it is there. A disk that does not let go is cleared with the next download."""
        self._drop(self.folder / f"{sha256}.zip")
        self._drop(self.folder / f"{sha256}.part")

    def _complete(self, job: _Job) -> bool:
        """Make the part whole; afresh if what was there before does not fit. False, and no part, if it never does."""
        digest, held = _digest_of(job.part)
        self._require_room(job.part, 2 * job.target.bytes - min(held, job.target.bytes))
        if 0 < held <= job.target.bytes and self._fits(job, digest, held):
            return True
        self._drop(job.part)
        if self._fits(job, hashlib.sha256(), 0):
            return True
        self._drop(job.part)
        return False

    def _fits(self, job: _Job, digest: _Hash, held: int) -> bool:
        try:
            whole = held == job.target.bytes > 0 or self._receive(job, digest, held)
        except Moved:
            if not held:
                raise
            return False
        return whole and digest.hexdigest() == job.target.sha256

    def _receive(self, job: _Job, digest: _Hash, held: int) -> bool:
        """Append to the part from byte `held`. False if the other side can only begin at the first byte."""
        within_s = self._ceilings.target_s(job.target.bytes - held)
        with job.transport.open(job.path, within_s, held) as stream:
            if stream.first_byte != held:
                return False
            with job.part.open("r+b" if held else "wb") as file:
                file.seek(held)
                for piece in stream.pieces:
                    held += len(piece)
                    self._require_within(job, held)
                    digest.update(piece)
                    file.write(piece)
                    if job.progress is not None:
                        job.progress(held, job.target.bytes)
                file.flush()
                os.fsync(file.fileno())
        if held < job.target.bytes:
            raise TryAgain(
                f"{job.target.path} came short: {held} of {job.target.bytes} bytes",
                "Try again: it goes on where it ended",
            )
        return True

    def _require_within(self, job: _Job, held: int) -> None:
        if held > job.target.bytes:
            self._drop(job.part)
            raise Refused(
                f"{job.target.path} of the repository has more than its {job.target.bytes} bytes",
                "Have the repository checked: `edge-runtime repo verify`",
            )

    def _require_room(self, part: Path, needed: int) -> None:
        """Room for the download and for the copy that an install makes of it."""
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self._drop(part)
            raise TryAgain(
                f"the disk of {self.folder} has {free / 1e6:.1f} MB left, {needed / 1e6:.1f} MB are needed",
                "Free the disk",
            )

    def _clear(self, keep: str) -> None:
        """Earlier downloads go: parts at once, whole ones when there are more than a few."""
        others = [path for path in self.folder.iterdir() if path.stem != keep]
        whole = sorted((p for p in others if p.suffix == ".zip"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in [*(p for p in others if p.suffix == ".part"), *whole[KEPT - 1 :]]:
            self._files.remove(path)

    def _drop(self, path: Path) -> None:
        try:
            self._files.remove(path)
        except OSError:
            return  # a disk that fails or is read-only: `fetch` says so


def _digest_of(path: Path) -> tuple[_Hash, int]:
    """Digest and size of what is there."""
    digest, held = hashlib.sha256(), 0
    if not path.is_file():
        return digest, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            held += len(block)
    return digest, held
