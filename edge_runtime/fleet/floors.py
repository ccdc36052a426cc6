"""The highest `seq` that was taken of each audience, kept over a restart: what was carried out is not carried out again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_runtime.telemetry.durable import replace_durably

log = logging.getLogger(__name__)

MAX_BYTES = 4_096


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["edge-command-floors/1"]
    floors: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**53)]]


class CommandFloors:
    """Audience -> highest `seq` taken, in memory, and in `path` if there is one.

    A disk that fails does not stop the commands: the technician needs them then. The floors then last as long as the
    process, and only what has not expired (a day at most) could be replayed after a restart.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._floors = _read(path) if path else {}
        self._warned = False

    def of(self, audience: str) -> int:
        return self._floors.get(audience, 0)

    def rise(self, audience: str, seq: int) -> None:
        """In memory only; `keep` makes it last."""
        self._floors = {**self._floors, audience: seq}

    def keep(self) -> None:
        """Bring the floors to the disk, before the command is acted on. Waits for the disk; never raises for it."""
        if self._path is None:
            return
        try:
            replace_durably(self._path, msgspec.json.encode(_Record("edge-command-floors/1", self._floors)))
            self._warned = False
        except OSError as fault:
            if not self._warned:
                log.warning(
                    "what commands were carried out can not be kept in %s (%s); free the disk, or make it writable",
                    self._path,
                    fault.strerror,
                )
            self._warned = True


def _read(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            return dict(msgspec.json.decode(file.read(MAX_BYTES), type=_Record).floors)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        log.warning("%s can not be read (%s); commands of the last day could be replayed once", path, fault)
        return {}
