"""Decoders print remarks on standard error, which is the daemon's log. What matters comes as an error; the rest goes."""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_UNBUFFERED = 2


def silence_decoders() -> None:
    """Stop OpenCV, its ffmpeg and Pillow from printing in this process. Cheap, and may be called often."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # OpenCV reads this when it opens its first video; there is no call for it.
    os.putenv("OPENCV_FFMPEG_LOGLEVEL", "-8")


class Remarks:
    """What C libraries print to their `stderr` while `heard` is open, for those that have no other way to tell.

    Only C's stream is turned, not file descriptor 2: Python's log and child processes are not disturbed. One thread at a
    time. Where the C library is not glibc, whose `stderr` may be set, the remarks are printed as ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = -1
        self._stream: int | None = None
        libc = ctypes.CDLL(None)
        if not hasattr(libc, "gnu_get_libc_version"):
            return
        self._slot = ctypes.c_void_p.in_dll(libc, "stderr")
        libc.fdopen.restype = ctypes.c_void_p
        libc.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        self._file = os.memfd_create("remarks")
        self._stream = libc.fdopen(self._file, b"w")
        libc.setvbuf(self._stream, None, _UNBUFFERED, 0)

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        """The lines are in the list when the block is left."""
        lines: list[str] = []
        if self._stream is None:
            yield lines
            return
        with self._lock:
            before, self._slot.value = self._slot.value, self._stream
            try:
                yield lines
            finally:
                self._slot.value = before
                size = os.lseek(self._file, 0, os.SEEK_CUR)
                if size:
                    lines += os.pread(self._file, size, 0).decode("utf-8", "replace").splitlines()
                    os.lseek(self._file, 0, os.SEEK_SET)
                    os.ftruncate(self._file, 0)
