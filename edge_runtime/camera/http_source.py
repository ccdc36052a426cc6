"""Cameras that speak HTTP: MJPEG streams and stills, told apart by what they send."""

from __future__ import annotations

import time

from edge_runtime.camera.address import NetAddress
from edge_runtime.camera.http_get import HttpGet, Response
from edge_runtime.camera.multipart import Part, PartParser
from edge_runtime.camera.pace import Pace
from edge_runtime.camera.picture import Picture, Stalled
from edge_runtime.camera.still import MAX_BYTES, Still, read_still
from edge_runtime.errors import TryAgain, Unavailable

MIN_POLL_S = 0.1
"""Stills are not asked for more often than this, whatever the interval."""


class HttpSource:
    """`http(s)://`: multipart/x-mixed-replace is read as MJPEG, image/* is polled."""

    def __init__(self, address: NetAddress, *, interval_s: float, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._pace = Pace(interval_s)
        self._poll_pace = Pace(max(interval_s, MIN_POLL_S))
        self._get = HttpGet(address, timeout_s)
        self._response: Response | None = None
        self._reader: _MjpegReader | _StillReader | None = None

    @property
    def name(self) -> str:
        return self._address.name

    def open(self) -> None:
        response = self._response = self._get.fetch()
        kind = response.content_type
        if kind.startswith("multipart/"):
            self._reader = _MjpegReader(response, self._pace, self._timeout_s)
        elif kind.startswith("image/") or kind in ("", "application/octet-stream", "binary/octet-stream"):
            self._reader = _StillReader(self._get, response, self._poll_pace, self._timeout_s)
        else:
            response.close()
            shown = "".join(c if c.isprintable() else "?" for c in kind[:100])
            what = "a web page" if kind == "text/html" else shown
            raise Unavailable(
                f"{self.name} serves {what}, not pictures",
                "Name the camera's MJPEG (multipart/x-mixed-replace) or snapshot (image/jpeg) address, or rtsp://",
            )

    def read(self) -> Picture:
        if self._reader is None or self._pace.closed:
            raise TryAgain(f"{self.name} is not open", "Open it again")
        return self._reader.read()

    def close(self) -> None:
        self._pace.close()
        self._poll_pace.close()
        self._get.abort()
        if self._response is not None:
            self._response.close()


class _MjpegReader:
    """Parts off the wire; those that are not due are dropped undecoded."""

    def __init__(self, response: Response, pace: Pace, timeout_s: float) -> None:
        self._response = response
        self._pace = pace
        self._timeout_s = timeout_s
        self._parser = PartParser()
        self._ready: list[Part] = []

    def read(self) -> Picture:
        heard_s = time.monotonic()
        while True:
            while not self._ready:
                self._receive()
                if not self._ready and time.monotonic() - heard_s > self._timeout_s:
                    raise Stalled(f"no whole picture in {self._timeout_s:g} s", "Check the network to the camera")
            heard_s = time.monotonic()
            # The newest of what arrived together: an older one is not worth its decoding.
            part = self._ready.pop()
            self._ready.clear()
            if self._pace.take(part.began_s):
                return self._decode(part)

    def _receive(self) -> None:
        chunk = self._response.read_some()
        if not chunk or self._parser.ended:
            raise TryAgain("the camera ended the stream", "It is opened again")
        self._ready.extend(self._parser.feed(chunk, time.monotonic()))

    def _decode(self, part: Part) -> Picture:
        began = time.monotonic()
        captured_at = time.time() - (began - part.began_s)
        still = read_still(part.body)
        codec = "mjpeg" if still.codec == "jpeg" else still.codec
        return Picture(still.pixels, captured_at, part.began_s, 1e3 * (time.monotonic() - began), codec)


class _StillReader:
    """A still asked for again and again. Unchanged bytes are delivered again: whether that is a frozen camera, the quality gate says."""

    def __init__(self, get: HttpGet, first: Response, pace: Pace, timeout_s: float) -> None:
        self._get = get
        self._pending: Response | None = first
        self._pending_at = (time.time(), time.monotonic())
        self._pace = pace
        self._timeout_s = timeout_s
        self._body = b""
        self._still: Still | None = None
        self._tag = ""

    def read(self) -> Picture:
        if not self._pace.wait_due():
            raise TryAgain("the camera was closed", "Open it again")
        response, (captured_at, captured_s) = self._ask()
        try:
            if response.status == 304 and self._still is not None:
                return Picture(self._still.pixels, captured_at, captured_s, 0.0, self._still.codec)
            body = response.read_all(MAX_BYTES, captured_s + self._timeout_s)
            self._tag = response.headers.get("ETag", "")
        finally:
            response.close()
        return self._decode(body, captured_at, captured_s)

    def _ask(self) -> tuple[Response, tuple[float, float]]:
        if self._pending is not None:
            response, self._pending = self._pending, None
            return response, self._pending_at
        response = self._get.fetch({"If-None-Match": self._tag} if self._tag and self._still is not None else None)
        # The camera takes the picture when it is asked; its answer begins as soon as it has one.
        return response, (time.time(), time.monotonic())

    def _decode(self, body: bytes, captured_at: float, captured_s: float) -> Picture:
        began = time.monotonic()
        if body != self._body or self._still is None:
            self._still = None
            self._still = read_still(body)
            self._body = body
        return Picture(self._still.pixels, captured_at, captured_s, 1e3 * (time.monotonic() - began), self._still.codec)
