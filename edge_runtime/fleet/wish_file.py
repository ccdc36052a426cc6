"""The wish that a device has taken, and how far it has come, over restarts and power cuts.

Two small files, each with its own digest: the wish with its progress, and beside it the floor of `seq` with the same
progress. If the first is damaged it is set aside; the second still knows which wishes are old, and which one failed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from edge_runtime.fleet.convergence import Progress
from edge_runtime.fleet.desired import MAX_DESIRED_BYTES, Desired
from edge_runtime.telemetry.durable import replace_durably
from edge_runtime.telemetry.quarantine import set_aside

log = logging.getLogger(__name__)

NAME = "desired.json"
FLOOR_NAME = "desired.floor.json"
MAX_BYTES = 2 * MAX_DESIRED_BYTES
T = TypeVar("T")


class _Wish(msgspec.Struct, frozen=True):
    desired: Desired
    signer: str
    progress: Progress


class _Floor(msgspec.Struct, frozen=True):
    seq: int
    progress: Progress


class _Sealed(msgspec.Struct, frozen=True):
    format: Literal["edge-desired-state/1"]
    sha256: str
    body: msgspec.Raw


class WishFile:
    """`desired.Memory` in `<state>/`; any thread may use it. Raises nothing for a disk that fails: what was taken
    then lasts as long as the process, and comes again with the retained message; `problem` says so."""

    def __init__(self, state_dir: Path | None) -> None:
        """None: in memory only."""
        self._wish = _Copy(state_dir / NAME if state_dir else None, _Wish)
        self._floor = _Copy(state_dir / FLOOR_NAME if state_dir else None, _Floor)
        self._lock = threading.Lock()
        self.problem = ""
        """Why it is not on the disk."""
        wish, floor = self._wish.load(), self._floor.load()
        self.desired: Desired | None = wish.desired if wish else None
        self.signer = wish.signer if wish else ""
        self.floor = max(wish.desired.seq if wish else 0, floor.seq if floor else 0)
        known = [part.progress for part in (wish, floor) if part is not None and part.progress.seq == self.floor]
        self.progress = known[0] if known else Progress(seq=self.floor)
        if wish is not None and wish.desired.seq < self.floor:
            # an older copy of the wish came back (a restored folder): it is not pursued
            self.desired = None

    def take(self, desired: Desired, signer: str) -> None:
        """Keep a newer wish. One that makes good for a lost one goes on where that one had come to; one that another
        thread has overtaken since it was judged is left out, or the floor would sink."""
        with self._lock:
            if desired.seq < self.floor or (desired.seq == self.floor and self.desired is not None):
                return
            if self.progress.seq != desired.seq or self.progress.state == "none":
                self.progress = Progress(seq=desired.seq, state="converging")
            self.desired, self.signer, self.floor = desired, signer, desired.seq
            self._save()

    def note(self, progress: Progress) -> None:
        """Keep how far it has come; writes nothing if that is known. Of another wish than the kept one it is left out."""
        with self._lock:
            if progress != self.progress and progress.seq == self.progress.seq:
                self.progress = progress
                self._save()

    def now(self) -> tuple[Desired | None, Progress]:
        """The wish and its progress, of one moment."""
        with self._lock:
            return self.desired, self.progress

    def _save(self) -> None:
        """The wish first: a floor without its wish would refuse the very message that brings it back."""
        try:
            if self.desired is not None:
                self._wish.save(_Wish(self.desired, self.signer, self.progress))
            self._floor.save(_Floor(self.floor, self.progress))
            self.problem = ""
        except OSError as fault:
            if not self.problem:
                log.warning("the desired state can not be kept: %s; free the disk, or make it writable", fault)
            self.problem = f"the desired state can not be kept: {fault.strerror}"


class _Copy(Generic[T]):
    """One file with its digest."""

    def __init__(self, path: Path | None, kind: type[T]) -> None:
        self._path = path
        self._kind = kind

    def load(self) -> T | None:
        """None if there is none, or if it is damaged: it is set aside then."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as fault:
            log.warning("%s can not be read: %s", self._path, fault.strerror)
            return None
        try:
            sealed = msgspec.json.decode(raw, type=_Sealed)
            if hashlib.sha256(bytes(sealed.body)).hexdigest() != sealed.sha256:
                raise msgspec.DecodeError("its digest does not fit")
            return msgspec.json.decode(sealed.body, type=self._kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            log.warning("%s is damaged and is set aside: %s", self._path, fault)
            self._set_aside(self._path)
            return None

    def save(self, value: T) -> None:
        """Raises OSError."""
        if self._path is not None:
            body = msgspec.json.encode(value)
            sealed = _Sealed("edge-desired-state/1", hashlib.sha256(body).hexdigest(), msgspec.Raw(body))
            replace_durably(self._path, msgspec.json.encode(sealed) + b"\n")

    @staticmethod
    def _set_aside(path: Path) -> None:
        try:
            set_aside(path)
        except OSError as fault:
            log.warning("%s can not be set aside: %s", path, fault.strerror)
