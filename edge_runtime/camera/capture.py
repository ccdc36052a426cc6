"""RTSP and V4L2: a `cv2.VideoCapture` in a process of its own, which is killed when it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import parse_qs

import numpy as np

from edge_runtime.camera import capture_child
from edge_runtime.camera.address import NetAddress, redact
from edge_runtime.camera.picture import Picture, Stalled
from edge_runtime.errors import EdgeError, TryAgain, Unavailable, Usage
from edge_runtime.records import Image

_RTSP_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|max_delay;0|analyzeduration;500000|fpsprobesize;0"
"""TCP, because stores' Wi-Fi loses datagrams; the last two save the 2 s in which ffmpeg measures a rate nobody needs."""
START_S = 10.0
"""Allowed on top of the timeout for the process to start: a slow device imports OpenCV for seconds."""
MAX_SIDE_PX = 16_384
_STDERR_KEPT = 4000
_HEADER = capture_child.HEADER


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What the child opens. `target` may hold credentials, so it travels on a pipe, not on the command line."""

    kind: str
    target: str = field(repr=False)
    name: str
    options: str = ""
    width: int = 0
    height: int = 0
    format: str = "MJPG"


def rtsp_source(address: NetAddress, *, interval_s: float, timeout_s: float) -> ChildSource:
    """`rtsp://`, `rtsps://` over TCP."""
    request = CaptureRequest("rtsp", address.with_credentials, address.name, _RTSP_OPTIONS)
    return ChildSource(request, interval_s=interval_s, timeout_s=timeout_s)


def device_source(uri: str, *, interval_s: float, timeout_s: float) -> ChildSource:
    """`/dev/videoN` or `v4l2:/dev/videoN`, with `?size=WxH&format=MJPG`. Raises Usage for anything else."""
    found = re.fullmatch(r"(?:v4l2:)?(/dev/(?:video\d+|v4l/[\w./:-]+))(?:\?(.*))?", uri)
    options = {key: values[-1] for key, values in parse_qs(found[2] or "").items()} if found else {}
    size = re.fullmatch(r"(\d{2,5})x(\d{2,5})", options.get("size", "1280x960"))
    pixel_format = options.get("format", "MJPG").upper()
    if not found or not size or set(options) - {"size", "format"} or not re.fullmatch(r"[A-Z0-9]{4}", pixel_format):
        raise Usage(f"{uri} is not a V4L2 address", "Write /dev/video0, or v4l2:/dev/video0?size=1280x960&format=MJPG")
    request = CaptureRequest("v4l2", found[1], found[1], "", int(size[1]), int(size[2]), pixel_format)
    return ChildSource(request, interval_s=interval_s, timeout_s=timeout_s)


class ChildSource:
    """A camera read by `capture_child.py`."""

    def __init__(self, request: CaptureRequest, *, interval_s: float, timeout_s: float) -> None:
        self._request = request
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._said = b""
        self._reading = threading.Lock()

    @property
    def name(self) -> str:
        return self._request.name

    @property
    def process_id(self) -> int | None:
        """Of the child, while it runs."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    def open(self) -> None:
        if self._closed:
            raise TryAgain(f"{self.name} was closed", "Open a new one")
        if self._request.kind == "v4l2":
            _check_device(Path(self._request.target))
        try:
            with self._reading:
                self._start()
                kind, *_ = self._header(self._timeout_s + START_S)
                if kind != capture_child.OPENED:
                    raise self._ended()
        except EdgeError:
            self.close()
            raise

    def read(self) -> Picture:
        with self._reading:
            if self._child is None or self._closed:
                raise TryAgain(f"{self.name} is not open", "Open it again")
            deadline_s = time.monotonic() + self._interval_s + self._timeout_s
            while time.monotonic() < deadline_s:
                kind, width, height, _, wall_s, monotonic_s, codec = self._header(self._timeout_s)
                if kind == capture_child.FRAME:
                    pixels = self._pixels(width, height)
                    decode_ms = 1e3 * (time.monotonic() - monotonic_s)
                    return Picture(pixels, wall_s, monotonic_s, decode_ms, codec.rstrip(b"\0").decode("ascii"))
                if kind != capture_child.ALIVE:
                    raise self._ended()
            raise Stalled(
                f"{self.name} sends, but nothing that can be decoded", "Check the camera's codec: H.264 or JPEG"
            )

    def close(self) -> None:
        self._closed = True
        child = self._child
        if child is None:
            return
        child.kill()
        child.wait()
        with self._reading:  # a read that waits sees the end of the pipe now, and lets go
            for pipe in (child.stdin, child.stdout, child.stderr):
                with contextlib.suppress(OSError):
                    cast(BinaryIO, pipe).close()

    def _start(self) -> None:
        command = [sys.executable, "-P", "-u", str(Path(capture_child.__file__))]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C at the terminal is the parent's to answer
            )
        except OSError as fault:
            raise TryAgain(
                f"no capture process for {self.name}: {fault.strerror}", "Free memory or processes"
            ) from None
        request = {
            "kind": self._request.kind,
            "target": self._request.target,
            "options": self._request.options,
            "width": self._request.width,
            "height": self._request.height,
            "format": self._request.format,
            "interval_s": self._interval_s,
            "timeout_s": self._timeout_s,
        }
        with contextlib.suppress(OSError):
            cast(BinaryIO, self._child.stdin).write(json.dumps(request).encode() + b"\n")
        if self._closed:
            self._child.kill()

    def _header(self, timeout_s: float) -> tuple[bytes, int, int, int, float, float, bytes]:
        raw = bytearray(_HEADER.size)
        self._fill(memoryview(raw), timeout_s)
        kind, width, height, reserved, wall_s, monotonic_s, codec = _HEADER.unpack(raw)
        return kind, width, height, reserved, wall_s, monotonic_s, codec

    def _pixels(self, width: int, height: int) -> Image:
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
            raise TryAgain(f"the capture process of {self.name} sent a {width}x{height} picture", "It is started again")
        pixels = np.empty((height, width, 3), np.uint8)
        self._fill(pixels.data.cast("B"), self._timeout_s)
        return pixels

    def _fill(self, into: memoryview, timeout_s: float) -> None:
        """Read exactly the view's bytes. Raises Stalled after `timeout_s` without all of them, or what `_ended` says."""
        child = cast("subprocess.Popen[bytes]", self._child)
        out, err = cast(BinaryIO, child.stdout).fileno(), cast(BinaryIO, child.stderr).fileno()
        deadline_s = time.monotonic() + timeout_s
        watched = [out, err]
        while into:
            ready = select.select(watched, [], [], max(0.0, deadline_s - time.monotonic()))[0]
            if not ready:
                raise Stalled(f"{self.name} gave no picture for {timeout_s:g} s", "Check the camera and the network")
            if err in ready and not self._listen(err):
                watched.remove(err)
            if out in ready:
                count = os.readv(out, [into])
                if not count:
                    raise self._ended()
                into = into[count:]

    def _listen(self, err: int) -> bool:
        text = os.read(err, 65_536)
        self._said = (self._said + text)[-_STDERR_KEPT:]
        return bool(text)

    def _ended(self) -> EdgeError:
        """Why the child gave up, from what it said and how it ended."""
        child = cast("subprocess.Popen[bytes]", self._child)
        if self._closed:
            return TryAgain(f"{self.name} was closed", "Open it again")
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2.0)
        while select.select([cast(BinaryIO, child.stderr).fileno()], [], [], 0.0)[0]:
            if not self._listen(cast(BinaryIO, child.stderr).fileno()):
                break
        return explain_end(self.name, self._said.decode("utf-8", "replace"), child.poll())


def explain_end(name: str, said: str, code: int | None) -> EdgeError:
    """An error for what ffmpeg wrote and the exit code of the child (negative: killed by a signal)."""
    for pattern, found, mend in _SAYINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return Unavailable(f"{name} {found}", mend)
    if code is not None and code < 0:
        return TryAgain(f"the capture process of {name} was killed (signal {-code})", "It is started again")
    if code == 0:
        return TryAgain(f"{name} ended the stream", "It is opened again")
    last = redact(said.strip().rpartition("\n")[2])[:200]
    return Unavailable(
        f"{name} can not be opened{f': {last}' if last else ''}", "Check the address, and that the camera is on"
    )


_SAYINGS = (
    (r"\b401\b|\b403\b|unauthorized|forbidden", "refuses the login", "Check user and password in the address"),
    (r"\b404\b|not found", "has no such stream (404)", "Check the path; the camera's manual names its RTSP path"),
    (r"connection refused", "does not listen there", "Check that the camera is on, and the port (RTSP is mostly 554)"),
    (r"timed out", "did not answer in time", "Check the address, the network and the camera"),
    (r"name or service not known|failed to resolve", "has a host that is not known", "Use the camera's IP address"),
    (r"no route to host|network is unreachable", "can not be reached", "Check the address and the network"),
    (r"invalid data found", "does not speak RTSP", "Check the port and the path"),
    (r"No module named|ImportError", "needs OpenCV, which does not load", "Install opencv-python-headless"),
)


def _check_device(path: Path) -> None:
    if not path.exists():
        raise Unavailable(f"there is no device {path}", "See `edge-runtime camera list`; is the camera plugged in?")
    if not os.access(path, os.R_OK | os.W_OK):
        raise Unavailable(f"{path} may not be used by this user", "Add the user to the group `video`, and log in again")
    if not path.is_char_device():
        raise Unavailable(f"{path} is not a device", "Name a video file by its path, without v4l2:")
