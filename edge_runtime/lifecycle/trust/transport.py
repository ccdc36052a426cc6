"""How bytes come from a repository: what the updater asks of a folder, a USB stick or a web server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.errors import Refused, TryAgain, Unavailable


class NotThere(Unavailable):
    """The repository answers, and has no such file."""


class Moved(TryAgain):
    """The file can not be read on from that byte; it can from its first."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A file being read."""

    first_byte: int
    """Where the pieces begin; 0 where the other side can not begin elsewhere."""
    pieces: Iterator[bytes]
    """Raise TryAgain if the line breaks or is too slow. They may end early or never."""
    announced: int | None = None
    """How many bytes the pieces will be, if the other side says so."""


class Transport(Protocol):
    """A repository's files, by their path in it (`metadata/timestamp.json`)."""

    def open(self, path: str, within_s: float, first_byte: int = 0) -> AbstractContextManager[Stream]:
        """Raises NotThere, Moved, TryAgain (the line), Unavailable (no repository there), Refused (not a file)."""
        ...


def read_whole(transport: Transport, path: str, max_bytes: int, within_s: float) -> bytes:
    """A small file. Raises as `open`, and Refused if it has more than `max_bytes`."""
    held = bytearray()
    with transport.open(path, within_s) as stream:
        for piece in stream.pieces:
            held += piece
            if len(held) > max_bytes:
                raise Refused(
                    f"{path} of the repository has more than the {max_bytes} bytes that it may have",
                    "Have the repository checked: `edge-runtime repo verify`",
                )
        if stream.announced is not None and len(held) < stream.announced:
            raise TryAgain(f"{path} came short: {len(held)} of {stream.announced} bytes", "Try again")
    return bytes(held)
