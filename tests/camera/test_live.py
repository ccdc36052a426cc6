"""LiveCamera on a source and a clock in memory: back-off, health, the newest-frame slot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.live import FIRST_WAIT_S, LONGEST_WAIT_S, CameraStatus, LiveCamera, retry_wait_s
from edge_runtime.camera.picture import EndOfRecording, Picture, Stalled
from edge_runtime.errors import EdgeError, Refused, Unavailable, Usage

PIXELS = np.zeros((8, 8, 3), np.uint8)
Step = EdgeError | EndOfRecording | float
"""What the script's next step does: fail, end, or give a picture captured at this time."""


class ScriptedSource:
    """Plays a script that outlives it; `open` fails if the script's next step is Unavailable. Waits at the end."""

    name = "fake://***@bay"

    def __init__(self, script: list[Step], clock: FakeClock) -> None:
        self._script = script
        self._clock = clock
        self._closed = threading.Event()

    def open(self) -> None:
        if self._script and isinstance(self._script[0], Unavailable):
            raise self._script.pop(0)  # type: ignore[misc]

    def read(self) -> Picture | EndOfRecording:
        if not self._script:
            self._closed.wait(20.0)
            raise Stalled("the script is over", "Write a longer one")
        step = self._script.pop(0)
        if isinstance(step, EdgeError):
            raise step
        if isinstance(step, EndOfRecording):
            return step
        self._clock.now_s = max(self._clock.now_s, step)
        return Picture(PIXELS, step, step, 1.0, "fake")

    def close(self) -> None:
        self._closed.set()


class FakeClock:
    """Time passes only while somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 5000.0 + self.now_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds
        return event.wait(0.001)


def live(script: list[Step], clock: FakeClock, draw: Callable[[], float] = lambda: 1.0) -> LiveCamera:
    def open_source(uri: str, *, interval_s: float, timeout_s: float) -> ScriptedSource:
        return ScriptedSource(script, clock)

    return LiveCamera("bay", "fake://u:p@bay", stall_s=10.0, open_source=open_source, clock=clock, draw=draw)


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_frames_are_numbered_and_the_newest_is_given() -> None:
    camera = live([1.0, 2.0, 3.0, EndOfRecording(3)], FakeClock())
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.ENDED)
    frame = camera.newest(1.0)
    assert frame is not None and (frame.sequence, frame.captured_monotonic_s) == (3, 3.0)
    assert camera.newest(1.0, 3) is None
    health = camera.health()
    assert (health.frames, health.dropped, health.codec) == (3, 2, "fake")
    assert health.fps == pytest.approx(1.0)
    assert camera.stop()


def waits_of(script: list[Step]) -> list[float]:
    """The waits between the connections of a script, in units of the first."""
    clock = FakeClock()
    camera = live([*script, EndOfRecording(0)], clock)
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.ENDED)
    assert camera.health().reconnects == len(clock.waits)
    camera.stop()
    return [wait_s / FIRST_WAIT_S for wait_s in clock.waits]


LOST: Step = Unavailable("nothing listens", "Check")
QUIET: Step = Stalled("quiet", "Check")


def test_waits_grow_and_begin_anew_after_a_good_connection() -> None:
    assert waits_of([LOST, LOST, LOST, 2000.0, 2030.0, QUIET, LOST]) == [2, 4, 8, 1, 2]


def test_a_connection_that_breaks_after_each_picture_is_not_hammered() -> None:
    assert waits_of([1000.0, QUIET] * 4) == [2, 4, 8, 16]


def test_health_tells_status_since_and_the_last_error_without_credentials() -> None:
    clock = FakeClock()
    camera = live([Unavailable("http://u:p@bay/x?token=abc refuses", "Check")] * 1, clock, draw=lambda: 0.0)
    assert camera.health().status is CameraStatus.CONNECTING
    camera.start()
    eventually(lambda: "refuses" in camera.health().error)
    text = repr(camera.health())
    assert "u:p" not in text and "abc" not in text
    camera.stop()


def test_a_source_that_hangs_shows_as_stalled() -> None:
    clock = FakeClock()
    camera = live([1000.0], clock)
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.LIVE)
    clock.now_s = 1030.0
    health = camera.health()
    assert health.status is CameraStatus.STALLED and health.age_s == 30.0 and "30 s" in health.error
    assert camera.stop()


def test_bad_pictures_are_counted_and_passed_over() -> None:
    camera = live([Refused("cut off", "again"), 1.0, Refused("cut off", "again"), EndOfRecording(1)], FakeClock())
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.ENDED)
    assert (camera.health().frames, camera.health().refused) == (1, 2)
    camera.stop()


def test_only_bad_pictures_for_long_is_a_stall() -> None:
    class Ticking(FakeClock):
        def monotonic_s(self) -> float:
            self.now_s += 1.0
            return self.now_s

    clock = Ticking()
    camera = live([*[Refused("a web page", "Check the address")] * 12, 1.0, EndOfRecording(1)], clock)
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.ENDED)
    health = camera.health()
    assert health.reconnects == 1 and "only bad pictures" in health.error and health.frames == 1
    camera.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_shows() -> None:
    script: list[Step] = [1.0]
    camera = live(script, FakeClock())
    script.append(ZeroDivisionError("a fault of the program"))  # type: ignore[arg-type]
    camera.start()
    eventually(lambda: camera.health().status is CameraStatus.LOST)
    assert "died" in camera.health().error
    camera.stop()


def test_an_address_that_can_never_work_is_refused_at_once() -> None:
    with pytest.raises(Usage):
        LiveCamera("bay", "gopher://bay")


def test_stop_before_start_and_twice() -> None:
    camera = live([], FakeClock())
    assert camera.stop() and camera.stop()


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_wait_is_jittered_and_bounded(failures: int, drawn: float) -> None:
    wait_s = retry_wait_s(failures, lambda: drawn)
    assert 0 <= wait_s <= LONGEST_WAIT_S
    assert wait_s <= retry_wait_s(failures + 1, lambda: drawn)
