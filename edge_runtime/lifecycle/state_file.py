"""The store's one small state file: which bundle runs, which ran before, which may never run again, and why.

Replaced whole: written beside, fsynced, renamed, folder fsynced. It carries its own digest, so that a changed byte that
leaves good JSON is found too. Fields that this version does not know are passed over, not refused: after a runtime
downgrade the device must still know what it runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.clock import Instant
from edge_runtime.lifecycle.files import Files

MAX_STATE_BYTES = 1_048_576
MAX_QUARANTINED = 256
MAX_HISTORY = 64
MAX_STARTS = 16
_FORMAT: Literal["model-store/1"] = "model-store/1"

Phase = Literal["staged", "shadow", "trial", "committed", "rolled_back"]


class Start(msgspec.Struct, frozen=True):
    """The daemon began to run a model; healthy running clears it."""

    sha256: str
    at: Instant


class Quarantined(msgspec.Struct, frozen=True):
    """A digest that may not run, whoever offers it."""

    name: str
    version: str
    reason: str
    at: Instant


class Step(msgspec.Struct, frozen=True):
    """One step that a bundle took."""

    sha256: str
    name: str
    version: str
    phase: Phase
    reason: str
    at: Instant


class StoreState(msgspec.Struct, frozen=True):
    """Digests are of bundle files; empty means none: the newest factory bundle then runs."""

    current: str = ""
    previous: str = ""
    quarantined: dict[str, Quarantined] = {}
    starts: tuple[Start, ...] = ()
    """Of the model that runs, oldest first, since it was last seen healthy."""
    history: tuple[Step, ...] = ()
    """Oldest first."""


class _StateFile(msgspec.Struct, frozen=True):
    format: Literal["model-store/1"]
    sha256: str
    state: msgspec.Raw


def encode_state(state: StoreState) -> bytes:
    """State to bytes; the oldest quarantine records, steps and starts beyond the bounds are left out."""
    newest = sorted(state.quarantined.items(), key=lambda entry: entry[1].at.wall_s)[-MAX_QUARANTINED:]
    bounded = msgspec.structs.replace(
        state, quarantined=dict(newest), starts=state.starts[-MAX_STARTS:], history=state.history[-MAX_HISTORY:]
    )
    raw = msgspec.json.encode(bounded)
    return msgspec.json.encode(_StateFile(_FORMAT, hashlib.sha256(raw).hexdigest(), msgspec.Raw(raw))) + b"\n"


def decode_state(raw: bytes) -> StoreState:
    """Bytes to state. Raises Refused for anything that `encode_state` (of this or a later version) did not write."""
    try:
        file = msgspec.json.decode(raw, type=_StateFile)
        if hashlib.sha256(bytes(file.state)).hexdigest() != file.sha256:
            raise Refused("the model store's state is damaged: its digest does not fit")
        return msgspec.json.decode(file.state, type=StoreState)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"the model store's state is not a {_FORMAT} file: {fault}") from None


class StateFile:
    """`state.json` in the store's folder."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.path = folder / "state.json"
        self._files = files

    def load(self) -> StoreState:
        """The state on disk; a fresh one if there is none. Raises Refused if it is damaged, OSError if unreadable."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return StoreState()
        if len(raw) > MAX_STATE_BYTES:
            raise Refused(f"the model store's state has more than {MAX_STATE_BYTES} bytes")
        return decode_state(raw)

    def save(self, state: StoreState) -> None:
        """Replace the state. Raises OSError; the file then holds the old or the new state, whole."""
        beside = self.path.with_suffix(".json.new")
        self._files.write(beside, [encode_state(state)])
        self._files.rename(beside, self.path)
        self._files.sync_folder(self.path.parent)

    def is_damaged(self) -> bool:
        """Whether there is a file that can be read and makes no sense."""
        try:
            self.load()
        except Refused:
            return True
        except OSError:
            return False
        return False

    def set_aside(self) -> None:
        """Keep a damaged file for whoever wants to know, as `state.json.corrupt`. Raises OSError."""
        self._files.rename(self.path, self.path.with_suffix(".json.corrupt"))
        self._files.sync_folder(self.path.parent)
