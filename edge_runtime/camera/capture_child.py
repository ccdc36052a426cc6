"""The process that holds a `cv2.VideoCapture` for RTSP and V4L2, because its `grab` can hang for good.

Run as a script by `capture.py`; knows nothing else of the package. One JSON line on standard input says what to open;
standard input's end (the parent closed it, or died) ends this process. Standard output carries messages: a header,
and for a picture its pixels. It decodes every picture (the codec needs that), but converts and sends only those that
are due, and between them says that it lives.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct("<4sIIIdd8s")
"""kind, width, height, reserved, wall clock s, monotonic clock s (both of the grab), codec."""
OPENED, ALIVE, FRAME, ENDED = b"open", b"live", b"pict", b"end."
ALIVE_EVERY_S = 0.5
FFMPEG_ERRORS_ONLY = "16"


def main() -> int:
    """Open what standard input says, and pump until it ends. 0: the stream ended; 1: it could not be opened."""
    request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.dup(1)
    os.dup2(2, 1)
    # Read by OpenCV when it opens its first stream; there is no call for these.
    os.putenv("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_ERRORS_ONLY)
    os.putenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", request["options"])
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    cv2.setNumThreads(1)
    api = cv2.CAP_FFMPEG if request["kind"] == "rtsp" else cv2.CAP_V4L2
    capture = cv2.VideoCapture(request["target"], api, _flat(cv2, request))
    if not capture.isOpened():
        _send(out, ENDED)
        return 1
    codec = _codec(int(capture.get(cv2.CAP_PROP_FOURCC)))
    _send(out, OPENED, codec=codec)
    _pump(capture, out, codec, float(request["interval_s"]))
    _send(out, ENDED)
    return 0


def _pump(capture: Any, out: int, codec: bytes, interval_s: float) -> None:
    due_s = alive_s = 0.0
    while capture.grab():
        wall_s, now_s = time.time(), time.monotonic()
        if now_s >= due_s - 0.1 * interval_s:
            good, pixels = capture.retrieve()
            if good and pixels is not None:
                # As `pace.next_due_s`, which this process does not load.
                due_s = due_s + interval_s if now_s < due_s + 0.5 * interval_s else now_s + interval_s
                _send(out, FRAME, pixels, wall_s, now_s, codec)
                alive_s = now_s
        if now_s - alive_s >= ALIVE_EVERY_S:
            _send(out, ALIVE)
            alive_s = now_s


def _send(
    out: int, kind: bytes, pixels: Any = None, wall_s: float = 0.0, now_s: float = 0.0, codec: bytes = b""
) -> None:
    height, width = (0, 0) if pixels is None else pixels.shape[:2]
    _write(out, HEADER.pack(kind, width, height, 0, wall_s, now_s, codec))
    if pixels is not None:
        _write(out, memoryview(pixels).cast("B"))


def _write(out: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


def _flat(cv2: Any, request: dict[str, Any]) -> Sequence[int]:
    if request["kind"] == "rtsp":
        timeout_ms = int(1000 * request["timeout_s"])
        settings = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: timeout_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: timeout_ms,
            # Frame threads hold one picture each back: one thread is the least delay and memory.
            cv2.CAP_PROP_N_THREADS: 1,
        }
    else:
        settings = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*request["format"]),
            cv2.CAP_PROP_FRAME_WIDTH: request["width"],
            cv2.CAP_PROP_FRAME_HEIGHT: request["height"],
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
    return [int(number) for pair in settings.items() for number in pair]


def _codec(fourcc: int) -> bytes:
    text = bytes((fourcc >> shift) & 0xFF for shift in (0, 8, 16, 24)) if fourcc > 0 else b""
    return bytes(c for c in text.lower() if 33 <= c < 127)


def _end_with_parent() -> None:
    try:
        while os.read(0, 4096):
            pass
    finally:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
