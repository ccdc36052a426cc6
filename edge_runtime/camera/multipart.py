"""multipart/x-mixed-replace, as cameras really send it: a pure parser of bytes.

Is not: an RFC 2046 parser. It learns the delimiter from the stream, because what cameras declare is often not what
they send, and believes Content-Length only as far as no delimiter comes earlier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_runtime.errors import TryAgain

MAX_PART_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024
_MEND = "Check that the address is the camera's MJPEG stream"
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$")
_TYPE = re.compile(rb"(?im)^content-type[ \t]*:[ \t]*([^;\s]+)")


@dataclass(frozen=True, slots=True)
class Part:
    content_type: str
    """Lower case; empty if the part does not say."""
    body: bytes
    began_s: float
    """The `now_s` of the chunk that held the end of the part's header: the first sign of a new picture."""


class PartParser:
    """Bytes in, in any chunks; whole parts out. The parts depend on the bytes alone, never on how they were cut."""

    def __init__(self, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self._max_part_bytes = max_part_bytes
        self._buffer = bytearray()
        self._delimiter = b""
        self._searched = 0
        self._open: _OpenPart | None = None
        self.ended = False
        """True after the closing delimiter: nothing further will come."""

    def feed(self, chunk: bytes, now_s: float = 0.0) -> list[Part]:
        """Take bytes, give the parts that they complete; empty parts (keep-alive signs of some cameras) are left out.

        Raises TryAgain if the stream can not be what it says: a header or a part beyond its limit.
        """
        self._buffer += chunk
        parts: list[Part] = []
        while not self.ended:
            if self._open is None:
                if not self._begin_part(now_s):
                    break
            else:
                part = self._finish_part(self._open)
                if part is None:
                    break
                if part.body:
                    parts.append(part)
        return parts

    def _begin_part(self, now_s: float) -> bool:
        """Pass the delimiter line and the part's header. False: more bytes are needed."""
        self._drop(_count_blank(self._buffer))
        if not self._delimiter and not self._learn_delimiter():
            return False
        at = self._buffer.find(self._delimiter, 0, self._max_part_bytes)
        if at < 0:
            self._check_header_size(self._max_part_bytes)
            return False
        after = at + len(self._delimiter)
        if len(self._buffer) < after + 2:
            return False
        if self._buffer[after : after + 2] == b"--":
            self.ended = True
            return False
        line_end = self._buffer.find(b"\n", after, after + MAX_HEADER_BYTES)
        header = self._header_span(after, line_end)
        if header is None:
            self._check_header_size(after + MAX_HEADER_BYTES)
            return False
        text = bytes(self._buffer[line_end + 1 : header])
        length, kind = _LENGTH.search(text), _TYPE.search(text)
        declared = int(length[1]) if length else None
        if declared is not None and declared > self._max_part_bytes:
            raise TryAgain(
                f"the camera announces a picture of {declared} bytes, at most {self._max_part_bytes} were expected",
                _MEND,
            )
        self._open = _OpenPart(declared, kind[1].decode("latin-1").lower() if kind else "", now_s)
        self._drop(header)
        return True

    def _header_span(self, after: int, line_end: int) -> int | None:
        """Offset of the first body byte, or None while the header is not whole."""
        if line_end < 0:
            return None
        # A delimiter directly followed by a blank line is a part without any header.
        found = _HEADER_END.search(self._buffer, max(after, line_end - 1), after + MAX_HEADER_BYTES)
        return found.end() if found else None

    def _learn_delimiter(self) -> bool:
        line_end = self._buffer.find(b"\n", 0, MAX_HEADER_BYTES)
        if line_end < 0:
            self._check_header_size(MAX_HEADER_BYTES)
            return False
        line = bytes(self._buffer[:line_end]).rstrip()
        if b":" in line or not 3 <= len(line) <= 200:
            raise TryAgain(
                "the stream does not begin with a multipart delimiter", "Check that the address is an MJPEG stream"
            )
        self._delimiter = line
        return True

    def _finish_part(self, part: _OpenPart) -> Part | None:
        limit = self._max_part_bytes + len(self._delimiter) + 2 if part.declared is None else part.declared
        # One search over the new bytes only; a delimiter may straddle two chunks.
        start = max(0, self._searched - len(self._delimiter))
        end = self._buffer.find(self._delimiter, start, limit)
        self._searched = len(self._buffer)
        if end >= 0:
            body = _without_line_end(bytes(self._buffer[:end]))
            self._drop(end)
        elif len(self._buffer) < limit:
            return None
        elif part.declared is not None:
            body = bytes(self._buffer[:limit])
            self._drop(limit)
        else:
            raise TryAgain(f"a picture of more than {self._max_part_bytes} bytes, or no delimiter after it", _MEND)
        self._open = None
        return Part(part.content_type, body, part.began_s)

    def _check_header_size(self, limit: int) -> None:
        if len(self._buffer) >= limit:
            raise TryAgain(f"no picture begins within {limit} bytes of the stream", _MEND)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0


@dataclass(frozen=True, slots=True)
class _OpenPart:
    declared: int | None
    content_type: str
    began_s: float


def _count_blank(buffer: bytearray) -> int:
    return len(buffer) - len(buffer.lstrip(b"\r\n \t"))


def _without_line_end(body: bytes) -> bytes:
    if body.endswith(b"\r\n"):
        return body[:-2]
    return body[:-1] if body.endswith(b"\n") else body
