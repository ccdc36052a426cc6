"""Recordings: a video file or a folder of stills, read in order. The same files give the same frames, always."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.camera.pace import Pace
from edge_runtime.camera.picture import EndOfRecording, Picture
from edge_runtime.camera.silence import silence_decoders
from edge_runtime.camera.still import SUFFIXES, read_still, read_taken_at
from edge_runtime.errors import Refused, TryAgain, Unavailable
from edge_runtime.records import Frame, Image

STILL_STEP_S = 1.0
"""Time between two stills of a folder that does not tell (no interval given, no EXIF times)."""
_VIDEO_MEND = (
    "Check the file with ffprobe; an MP4 that was cut off has lost its index, MKV and TS are read as far as they go"
)


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One picture of a recording."""

    pixels: Image
    at_s: float
    """Time in the recording, seconds from its first picture; never goes backwards."""
    captured_at: float
    decode_ms: float
    codec: str


def read_recording(
    path: Path,
    interval_s: float = 0.0,
    camera: str = "recording",
    on_refused: Callable[[Refused], None] | None = None,
) -> Iterator[Frame]:
    """Every picture of a video file or folder of stills, in order, as frames.

    `captured_monotonic_s` is the time in the recording. `interval_s` > 0 takes from a video the first picture of each
    interval; of a folder every still is taken, an interval apart unless all carry increasing EXIF times. `captured_at`
    is the EXIF time, or the file's modification time (of the first still) plus the time in the recording.
    Raises Unavailable if nothing is there, Refused for a file that is no video or picture, both when iterated; a bad
    still of a folder goes to `on_refused` instead, if given, and the next one follows.
    """
    for number, picture in enumerate(iterate(path, interval_s, on_refused), 1):
        yield Frame(camera, number, picture.pixels, picture.captured_at, picture.at_s, picture.decode_ms)


def iterate(path: Path, interval_s: float, on_refused: Callable[[Refused], None] | None = None) -> Iterator[Recorded]:
    """As `read_recording`, without frames around the pictures."""
    if path.is_dir():
        return _stills(stills_in(path), interval_s, on_refused)
    if not path.exists():
        raise Unavailable(f"there is no file or folder {path}", "Check the path")
    if path.suffix.lower() in SUFFIXES - {".gif"}:
        return _stills((path,), interval_s, None)
    if not path.is_file():
        raise Unavailable(f"{path} is not a file", "Name a video file, a folder of stills, or /dev/videoN")
    return _video(path, interval_s)


def stills_in(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder, by name with numbers in their order. Raises Unavailable if there are none."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file()]
    except OSError as fault:
        raise Unavailable(f"folder {folder} can not be read: {fault.strerror}", "Check its rights") from None
    pictures = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
    if not pictures:
        what = f"{len(entries)} other files" if entries else "nothing"
        raise Unavailable(
            f"the folder {folder} holds no pictures, but {what}", f"Expected {', '.join(sorted(SUFFIXES))} files"
        )
    return tuple(sorted(pictures, key=_natural))


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts: list[tuple[int, str]] = []
    digits = ""
    for c in path.name.lower() + "\0":
        if c.isdecimal() and c.isascii():
            digits += c
            continue
        if digits:
            parts.append((int(digits), ""))
            digits = ""
        parts.append((-1, c))
    return parts, path.name


def _stills(
    paths: tuple[Path, ...], interval_s: float, on_refused: Callable[[Refused], None] | None
) -> Iterator[Recorded]:
    step_s = interval_s or STILL_STEP_S
    start = paths[0].stat().st_mtime
    times = _exif_times(paths)
    for number, path in enumerate(paths):
        began = time.perf_counter()
        try:
            still = read_still(path)
        except Refused as fault:
            if on_refused is None:
                raise
            on_refused(fault)
            continue
        decode_ms = 1e3 * (time.perf_counter() - began)
        captured_at = times[number] if times else start + number * step_s
        yield Recorded(still.pixels, captured_at - (times[0] if times else start), captured_at, decode_ms, still.codec)


def _exif_times(paths: tuple[Path, ...]) -> list[float]:
    """The capture time of every still, or nothing unless all have one and they increase."""
    times: list[float] = []
    for path in paths:
        taken_at = read_taken_at(path)
        if taken_at is None or (times and taken_at <= times[-1]):
            return []
        times.append(taken_at)
    return times


def _video(path: Path, interval_s: float) -> Iterator[Recorded]:
    start = path.stat().st_mtime
    capture = _open_video(path)
    codec = _codec(capture)
    clock = _VideoClock(capture.get(cv2.CAP_PROP_FPS))
    due_s = 0.0
    try:
        while True:
            began = time.perf_counter()
            if not capture.grab():
                break
            at_s = clock.tick(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
            if at_s + 1e-6 < due_s:
                continue
            good, pixels = capture.retrieve()
            if not good:
                continue
            if interval_s > 0:
                due_s = ((at_s + 1e-6) // interval_s + 1) * interval_s
            decode_ms = 1e3 * (time.perf_counter() - began)
            yield Recorded(np.asarray(pixels, np.uint8), at_s, start + at_s, decode_ms, codec)
    finally:
        capture.release()
    if clock.ticks == 0:
        raise Refused(f"{path} holds no picture that can be decoded", _VIDEO_MEND)


class _VideoClock:
    """Presentation times to seconds from the first picture; where a file has none, its rate counts."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1.0 / fps if 0.001 < fps < 1000 else 0.04
        self._first_s = 0.0
        self._at_s = 0.0
        self.ticks = 0

    def tick(self, shown_s: float) -> float:
        if self.ticks == 0:
            self._first_s = shown_s
        else:
            at_s = shown_s - self._first_s
            self._at_s = at_s if at_s > self._at_s else self._at_s + self._step_s
        self.ticks += 1
        return self._at_s


def _open_video(path: Path) -> cv2.VideoCapture:
    silence_decoders()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if capture.isOpened():
        return capture
    size = path.stat().st_size
    raise Refused(f"{path} ({size} bytes) is not a video that can be read", _VIDEO_MEND)


def _codec(capture: cv2.VideoCapture) -> str:
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC))
    text = fourcc.to_bytes(4, "little", signed=True).decode("latin-1").lower()
    return text if text.isascii() and text.isprintable() else ""


class RecordingSource:
    """A recording as if it were a camera: in real time, stamped with the time at which it is shown."""

    def __init__(self, path: Path, *, interval_s: float) -> None:
        self._path = path
        self._step_s = interval_s or STILL_STEP_S
        self._interval_s = interval_s
        self._pace = Pace(interval_s)
        self._pictures: Iterator[Recorded] | None = None
        self._is_folder = False
        self._began_s = 0.0
        self._given = 0
        self._refused: list[Refused] = []

    @property
    def name(self) -> str:
        return str(self._path)

    def open(self) -> None:
        self._is_folder = self._path.is_dir()
        if not self._is_folder and self._path.is_file() and self._path.suffix.lower() not in SUFFIXES:
            _open_video(self._path).release()
        self._pictures = iterate(self._path, self._interval_s, self._refused.append)
        self._began_s = time.monotonic()

    def read(self) -> Picture | EndOfRecording:
        if self._pictures is None or self._pace.closed:
            raise TryAgain(f"{self.name} is not open", "Open it again")
        recorded = next(self._pictures, None)
        if self._refused:
            # Told once for the picture that was passed over; the good one after it comes with the next read.
            self._pictures = chain([recorded] if recorded else [], self._pictures)
            raise self._refused.pop()
        if recorded is None:
            self._pace.close()
            return EndOfRecording(self._given)
        offset_s = self._given * self._step_s if self._is_folder else recorded.at_s
        self._given += 1
        if not self._pace.wait_until(self._began_s + offset_s):
            raise TryAgain(f"{self.name} was closed", "Open it again")
        return Picture(recorded.pixels, time.time(), time.monotonic(), recorded.decode_ms, recorded.codec)

    def close(self) -> None:
        self._pace.close()
