"""The store's small state file: which bundle runs, which ran before, which is on its way in, which may never run again.

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
from edge_runtime.lifecycle.origin import UNSIGNED, Origin
from edge_runtime.records import ModelId

MAX_STATE_BYTES = 1_048_576
MAX_QUARANTINED = 256
MAX_HISTORY = 64
MAX_STARTS = 16
MAX_WORDS = 400
"""Letters of a reason; longer ones are cut, so that no number of them fills a state file beyond what is read again."""
_FORMAT: Literal["model-store/1"] = "model-store/1"

Phase = Literal["staged", "shadow", "trial", "committed", "rolled_back"]


class Start(msgspec.Struct, frozen=True):
    """The daemon began to run a model, and has not ended in order since."""

    sha256: str
    at: Instant
    healthy: bool = False
    """Whether the model ran well for a while after it."""


class Quarantined(msgspec.Struct, frozen=True):
    """A digest that may not run, whoever offers it."""

    name: str
    version: str
    reason: str
    at: Instant
    passing: bool = False
    """A factory bundle whose starts crashed: it is tried again after a while rather than never."""


class Step(msgspec.Struct, frozen=True):
    """One step that a bundle took."""

    sha256: str
    name: str
    version: str
    phase: Phase
    reason: str
    at: Instant


class Proof(msgspec.Struct, frozen=True):
    """What a measurement on this device found about a bundle."""

    variant: str
    """The member that is to be run."""
    said: str
    """The outcome in words."""
    at: Instant


class Held(msgspec.Struct, frozen=True):
    """What is known of an installed bundle beside its bytes."""

    name: str
    version: str
    origin: Origin = UNSIGNED
    proof: Proof | None = None


class Candidate(msgspec.Struct, frozen=True):
    """The one bundle that is on its way in: beside the current one (`shadow`) or in its place (`trial`)."""

    sha256: str
    name: str
    version: str
    phase: Literal["shadow", "trial"]
    since: Instant
    """When it entered this phase."""
    reason: str = ""
    """Who wanted it, or why."""
    origin: Origin = UNSIGNED

    @property
    def id(self) -> ModelId:
        return ModelId(self.name, self.version, self.sha256)


class StoreState(msgspec.Struct, frozen=True):
    """Digests are of bundle files; empty means none: the newest factory bundle then runs."""

    current: str = ""
    previous: str = ""
    quarantined: dict[str, Quarantined] = {}
    starts: tuple[Start, ...] = ()
    """Of the model that runs, oldest first."""
    history: tuple[Step, ...] = ()
    """Oldest first."""
    candidate: Candidate | None = None
    bundles: dict[str, Held] = {}
    """By digest; a bundle that is missing here (an older runtime installed it) counts as unsigned."""


class _StateFile(msgspec.Struct, frozen=True):
    format: Literal["model-store/1"]
    sha256: str
    state: msgspec.Raw


def encode_state(state: StoreState) -> bytes:
    """State to bytes; the oldest quarantine records, steps and starts beyond the bounds are left out."""
    newest = list(state.quarantined.items())[-MAX_QUARANTINED:]  # in the order that they were barred in: no clock
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
    """One copy of the state."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self._files = files

    def load(self) -> StoreState | None:
        """The state on disk; None if there is none. Raises Refused if it is damaged, OSError if unreadable."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(raw) > MAX_STATE_BYTES:
            raise Refused(f"the model store's state has more than {MAX_STATE_BYTES} bytes")
        return decode_state(raw)

    def save(self, state: StoreState) -> None:
        """Replace the state. Raises OSError; the file then holds the old or the new state, whole."""
        beside = self.path.with_suffix(".json.new")
        self._files.write(beside, [encode_state(state)])
        self._files.rename(beside, self.path)
        self._files.sync_folder(self.path.parent)

    def set_aside_if_damaged(self) -> bool:
        """Keep a damaged file for whoever wants to know, as `….json.corrupt`. Raises OSError."""
        try:
            self.load()
        except Refused:
            self._files.rename(self.path, self.path.with_suffix(".json.corrupt"))
            self._files.sync_folder(self.path.parent)
            return True
        except OSError:
            return False
        return False
