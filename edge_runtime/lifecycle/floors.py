"""What this device never goes back below: the newest release of each model that it ran, the latest time it knew for sure,
the last command of each signer.

Two copies, each with its own digest: a damaged one never lowers anything, and neither does losing all of the update
metadata. Reading takes the highest of what is whole; nothing here can sink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.lifecycle.digest_file import DigestFile
from edge_runtime.lifecycle.files import DiskFiles, Files

EARLIEST_S = 1_735_689_600.0
"""2025-01-01 UTC. This code is younger: a clock that stands before it has not been set since the device had no power."""
MAX_FLOORS_BYTES = 262_144
MAX_NAMES = 1_024
MAX_COMMANDERS = 256
"""Pairs of an audience and a signer."""
_LOCK_WAIT_S = 2.0
_FORMAT = "model-floors/1"
_Release = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
"""Beyond the year 9999: a floor that could be written and not be read again would take all others with it."""


class _Content(msgspec.Struct, frozen=True):
    releases: dict[str, _Release] = {}
    time_s: _Seconds = 0.0
    roots: dict[str, _Release] = {}
    commands: dict[str, _Release] = {}


class Floors:
    """Release floor per model name, and the time floor.

    Every question reads both copies again, so that several processes may ask and raise. Writes go to `<state_dir>` and
    to `<state_dir>/models`, one after the other, so that a power cut finds at least one whole. A raise that the disk
    did not take holds in this object all the same.
    """

    def __init__(self, state_dir: Path, files: Files | None = None) -> None:
        self.paths = (state_dir / "floors.json", state_dir / "models" / "floors.json")
        self._files: Files = files or DiskFiles()
        self._copies = tuple(
            DigestFile(path, _Content, _FORMAT, "floors", MAX_FLOORS_BYTES, self._files) for path in self.paths
        )
        self._lock = state_dir / "floors.lock"
        self._held = _Content()
        self._unwritten = ""

    def release(self, name: str) -> int:
        """The least release of this model that may still be installed; 0 if nothing is known."""
        return self._read().releases.get(name, 0)

    @property
    def time_s(self) -> float:
        """Seconds since 1970: it is not earlier than this."""
        return max(EARLIEST_S, self._read().time_s)

    def root(self, anchor: str) -> int:
        """The newest root version that was trusted, of the repository whose enrolled root has this digest; 0 if none."""
        return self._read().roots.get(anchor, 0)

    def commands(self) -> Mapping[str, int]:
        """The highest `seq` that was taken from each commander."""
        return self._read().commands

    @property
    def problem(self) -> str:
        """What is wrong with the copies, in words; empty if nothing is. A copy that is not there yet is no problem."""
        faults = [fault for copy in self._copies if (fault := _fault_of(copy))]
        return "; ".join([*faults, *([self._unwritten] if self._unwritten else [])])

    @property
    def unreadable(self) -> bool:
        """Whether the disk refuses what may be a floor, and no whole copy says otherwise: a reason to wait."""
        outcomes = [_outcome(copy) for copy in self._copies]
        return any(isinstance(found, OSError) for found in outcomes) and not any(
            isinstance(found, _Content) for found in outcomes
        )

    def raise_release(self, name: str, release: int) -> None:
        """Never below `release` of `name` again. A lower one changes nothing.

        Raises TryAgain if no copy could be written; the floor then holds until this process ends.
        """
        self._raise(_Content({name: release}))

    def raise_time(self, wall_s: float) -> None:
        """It is not earlier than `wall_s`. Raises TryAgain as `raise_release`."""
        self._raise(_Content(time_s=wall_s))

    def raise_root(self, anchor: str, version: int) -> None:
        """A lost metadata folder must not bring back a root whose keys were given up. Raises as `raise_release`."""
        self._raise(_Content(roots={anchor: version}))

    def raise_commands(self, floors: Mapping[str, int]) -> None:
        """What was commanded is not commanded again. Raises as `raise_release`."""
        self._raise(_Content(commands=dict(floors)))

    def mend(self) -> None:
        """Write a copy that is damaged, lost or behind again from the other; set a damaged one aside for whoever asks.

        Raises TryAgain as `raise_release`.
        """
        self._raise(_Content())

    def _read(self) -> _Content:
        self._held = _highest(self._held, *(content for copy in self._copies if (content := _load(copy))))
        return self._held

    def _raise(self, floors: _Content) -> None:
        """Change nothing on the disk if both copies already say as much."""
        self._held = wanted = _highest(self._read(), floors)
        if not any(_load(copy) != wanted for copy in self._copies):
            self._unwritten = ""
            return
        faults: list[OSError] = []
        self._attempt(partial(self._files.make_folder, self.paths[1].parent), faults)
        try:
            with self._files.lock(self._lock, _LOCK_WAIT_S):
                wanted = self._read()
                written = [self._attempt(partial(self._replace, copy, wanted), faults) for copy in self._copies]
        except OSError as fault:
            written, faults = [False], [fault]
        self._unwritten = f"the release floor is not written everywhere: {_words(faults[0])}" if faults else ""
        if not any(written):
            raise TryAgain(
                f"the release floor in {self.paths[0].parent} can not be written: {_words(faults[0])}",
                "Free the disk, or make it writable; until then the floor lasts as long as this process",
            )

    @staticmethod
    def _attempt(step: Callable[[], None], faults: list[OSError]) -> bool:
        try:
            step()
        except OSError as fault:
            faults.append(fault)
            return False
        return True

    @staticmethod
    def _replace(copy: DigestFile[_Content], floors: _Content) -> None:
        outcome = _outcome(copy)
        if outcome == floors:
            return
        if isinstance(outcome, OSError):
            raise outcome  # it may hold a higher floor than the other
        if isinstance(outcome, Refused):
            copy.set_aside()
        copy.save(floors)


def _highest(*floors: _Content) -> _Content:
    return _Content(
        _highest_of(content.releases for content in floors),
        max(content.time_s for content in floors),
        _highest_of(content.roots for content in floors),
        _highest_of((content.commands for content in floors), MAX_COMMANDERS),
    )


def _highest_of(floors: Iterable[Mapping[str, int]], most: int = MAX_NAMES) -> dict[str, int]:
    """In one order, so that equal floors are equal bytes; of too many names those with the lowest floors are let go."""
    highest: dict[str, int] = {}
    for each in floors:
        highest |= {name: max(floor, highest.get(name, 0)) for name, floor in each.items()}
    kept = sorted(highest, key=lambda name: (-highest[name], name))[:most]
    return {name: highest[name] for name in sorted(kept)}


def _outcome(copy: DigestFile[_Content]) -> _Content | Refused | OSError | None:
    try:
        return copy.load()
    except (Refused, OSError) as fault:
        return fault


def _load(copy: DigestFile[_Content]) -> _Content | None:
    outcome = _outcome(copy)
    return outcome if isinstance(outcome, _Content) else None


def _fault_of(copy: DigestFile[_Content]) -> str:
    outcome = _outcome(copy)
    if isinstance(outcome, Refused):
        return outcome.found
    return f"{copy.path} can not be read: {_words(outcome)}" if isinstance(outcome, OSError) else ""


def _words(fault: OSError) -> str:
    return fault.strerror or str(fault)
