"""What a source gives: the values and the Protocol that every kind of camera fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_runtime.errors import TryAgain
from edge_runtime.records import Image

TIMEOUT_S = 10.0
"""How long a camera may give nothing before it counts as stalled."""


class Stalled(TryAgain):
    """The source is connected, but gave no picture in time: open it again."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture. `pixels` must not be written to: a source may hand out the same array twice."""

    pixels: Image
    captured_at: float
    """Wall clock, seconds since 1970, taken as near to the sensor as the transport allows (arrival of its first byte)."""
    captured_monotonic_s: float
    """`time.monotonic()` of the same moment."""
    decode_ms: float
    codec: str
    """`jpeg`, `mjpeg`, `h264`, `png` ...; empty where the decoder does not tell."""


@dataclass(frozen=True, slots=True)
class EndOfRecording:
    """A file or folder has no further pictures. A camera never says this."""

    pictures: int


class Source(Protocol):
    """One connection to one camera: opened once, read, closed once. To reconnect, make a new one.

    A source gives at most one picture an interval; pictures in between are dropped before they are decoded where the
    codec allows it. `open` and `read` return or raise within the interval plus a small multiple of the timeout.
    """

    @property
    def name(self) -> str:
        """The address, safe to print: without user, password and token."""
        ...

    def open(self) -> None:
        """Connect. Raises Unavailable (not there, refuses us), TryAgain (busy), Refused (not a picture or video).

        An `open` that raises holds nothing any more.
        """
        ...

    def read(self) -> Picture | EndOfRecording:
        """Wait for the next picture.

        Raises Refused for one bad picture (read on), Stalled when nothing came in time, TryAgain or Unavailable when
        the connection ended.
        """
        ...

    def close(self) -> None:
        """Free everything. May be called from another thread, and twice; a `read` that waits then raises TryAgain soon."""
        ...
