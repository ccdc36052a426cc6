"""A camera that stays read: a capture thread, the newest frame, and an account of how it fares."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from edge_runtime.camera.address import redact
from edge_runtime.camera.picture import TIMEOUT_S, EndOfRecording, Picture, Source, Stalled
from edge_runtime.camera.source import source_for
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.records import Frame

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 10.0
"""A connection that gave pictures for this long was good: the back-off begins anew after it."""
STOP_S = 5.0


class CameraStatus(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    """Connected, but no picture in time; it is being opened again."""
    LOST = "lost"
    """Not connected; it is tried again."""
    ENDED = "ended"
    """A recording that is over, or the camera was stopped."""


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How one camera fares, for telemetry, `status` and `doctor`. Holds no credentials."""

    camera: str
    source: str
    status: CameraStatus
    since: float
    """Wall clock at which the status began."""
    frames: int = 0
    """Pictures captured since the start."""
    dropped: int = 0
    """Of these, replaced by a newer one before anybody took them."""
    refused: int = 0
    """Pictures that could not be decoded."""
    reconnects: int = 0
    """Times the source was opened again."""
    fps: float = 0.0
    """Captured pictures a second, lately."""
    age_s: float | None = None
    """Since the newest picture was captured; None before the first."""
    decode_ms: float = 0.0
    codec: str = ""
    error: str = ""
    """The last fault and its mend; empty while live and never in trouble."""


class Clock(Protocol):
    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep, unless the event comes first; True if it did."""
        ...


class SystemClock:
    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


class OpenSource(Protocol):
    def __call__(self, uri: str, *, interval_s: float, timeout_s: float) -> Source: ...


def retry_wait_s(failures: int, draw: Callable[[], float]) -> float:
    """Exponential back-off with full jitter (Brooker 2015): uniform in 0..min(longest, first * 2^failures).

    `draw` gives numbers in 0..1; `failures` counts from 0.
    """
    return draw() * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 16))


class LiveCamera:
    """One camera of device.toml. `start`, then `newest` from the inference loop, `health` from anywhere, `stop`.

    Raises Usage at once if the address can never work; all later faults are health, and are retried for ever.
    """

    def __init__(
        self,
        name: str,
        source_uri: str,
        *,
        interval_s: float = 1.0,
        stall_s: float = TIMEOUT_S,
        open_source: OpenSource = source_for,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._uri = source_uri
        self._interval_s = interval_s
        self._stall_s = stall_s
        self._open_source = open_source
        self._clock = clock or SystemClock()
        self._draw = draw
        self._source = self._new_source()
        self._health = CameraHealth(name, self._source.name, CameraStatus.CONNECTING, self._clock.wall_s())
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._slot: Frame | None = None
        self._taken = 0
        self._started = False
        self._last_s: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)

    @property
    def name(self) -> str:
        return self._name

    def start(self) -> None:
        """Begin to capture; once in the life of this object."""
        self._started = True
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End the capture, within the time. True if the thread has ended (it always has, unless the kernel hangs)."""
        self._stopping.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def newest(self, timeout_s: float, after_sequence: int = 0) -> Frame | None:
        """The newest frame with a sequence above `after_sequence`, waiting for it; None if the time ran out or it ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._has(after_sequence) or self._over(), timeout_s)
            if not self._has(after_sequence):
                return None
            frame = self._slot
            self._taken = frame.sequence if frame else 0
            return frame

    def has_newer(self, after_sequence: int) -> bool:
        """Whether `newest` would give a frame at once; takes none."""
        with self._changed:
            return self._has(after_sequence)

    def health(self) -> CameraHealth:
        """How the camera fares now. A source that hangs shows as stalled, although nobody has noticed it yet."""
        with self._changed:
            health, last_s = self._health, self._last_s
        if self._started and not self._thread.is_alive() and health.status is not CameraStatus.ENDED:
            # Only a fault of this program ends the thread so; its traceback is in the log.
            return replace(
                health, status=CameraStatus.LOST, error="the capture thread has died; see the log, and restart"
            )
        if last_s is None:
            return health
        age_s = max(0.0, self._clock.monotonic_s() - last_s)
        if health.status is CameraStatus.LIVE and age_s > self._stall_s + 2 * self._interval_s:
            return replace(
                health,
                status=CameraStatus.STALLED,
                since=self._clock.wall_s() - age_s,
                age_s=age_s,
                error=health.error or f"{health.source} gave no picture for {age_s:.0f} s",
            )
        return replace(health, age_s=age_s)

    def _has(self, after_sequence: int) -> bool:
        return self._slot is not None and self._slot.sequence > after_sequence

    def _over(self) -> bool:
        return self._stopping.is_set() or self._health.status is CameraStatus.ENDED

    def _new_source(self) -> Source:
        return self._open_source(self._uri, interval_s=self._interval_s, timeout_s=self._stall_s)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            before, opened_s = self._health.frames, self._clock.monotonic_s()
            try:
                self._source.open()
                self._capture()
                break
            except EdgeError as fault:
                self._report_fault(fault)
            finally:
                self._source.close()
            lasted = self._health.frames > before and self._clock.monotonic_s() - opened_s >= STEADY_S
            failures = 0 if lasted else failures + 1
            if self._clock.wait(self._stopping, retry_wait_s(failures, self._draw)):
                break
            self._source = self._new_source()
            if self._stopping.is_set():
                break  # `stop` may have closed the old source only
            self._update(reconnects=self._health.reconnects + 1)
        self._update(status=CameraStatus.ENDED)

    def _capture(self) -> None:
        """Read until the recording ends or the source fails; only bad pictures for the stall time is failing too."""
        good_s = self._clock.monotonic_s()
        while not self._stopping.is_set():
            try:
                picture = self._source.read()
            except Refused as fault:
                self._update(refused=self._health.refused + 1, error=redact(str(fault)))
                if self._clock.monotonic_s() - good_s > self._stall_s + self._interval_s:
                    raise Stalled(
                        f"only bad pictures for {self._stall_s:g} s, the last: {fault.found}", fault.mend
                    ) from None
                continue
            good_s = self._clock.monotonic_s()
            if isinstance(picture, EndOfRecording):
                return
            self._publish(picture)

    def _publish(self, picture: Picture) -> None:
        with self._changed:
            health = self._health
            unread = self._slot is not None and self._slot.sequence > self._taken
            self._slot = Frame(
                self._name,
                health.frames + 1,
                picture.pixels,
                picture.captured_at,
                picture.captured_monotonic_s,
                picture.decode_ms,
            )
            fps = _smooth_rate(health.fps, self._last_s, picture.captured_monotonic_s)
            self._last_s = picture.captured_monotonic_s
            self._update(
                status=CameraStatus.LIVE,
                frames=health.frames + 1,
                dropped=health.dropped + unread,
                fps=fps,
                decode_ms=picture.decode_ms,
                codec=picture.codec,
            )

    def _report_fault(self, fault: EdgeError) -> None:
        if self._stopping.is_set():
            return
        status = CameraStatus.STALLED if isinstance(fault, Stalled) else CameraStatus.LOST
        self._update(status=status, error=redact(str(fault)))

    def _update(self, status: CameraStatus | None = None, **changes: int | float | str) -> None:
        with self._changed:
            status = status or self._health.status
            since = self._health.since if status is self._health.status else self._clock.wall_s()
            # `changes` are fields of CameraHealth, which `replace` checks by name.
            self._health = replace(self._health, status=status, since=since, **changes)  # type: ignore[arg-type]
            self._changed.notify_all()


def _smooth_rate(fps: float, last_s: float | None, now_s: float) -> float:
    """Exponential mean of the picture interval, as a rate."""
    if last_s is None or now_s <= last_s:
        return fps
    step_s = now_s - last_s
    return 1.0 / step_s if fps == 0 else 1.0 / (0.8 / fps + 0.2 * step_s)
