"""The laws of `camera.source.Source` and `LiveCamera`, over a real camera of every kind.

V4L2 is missing here: it needs a device. It shares `ChildSource` with RTSP, and its address is tested in tests/camera.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from camera.rigs import FolderRig, Rig, RtspRig, VideoRig, WebRig, children, find_rtsp_server, open_files

from edge_runtime.camera.live import CameraStatus, LiveCamera
from edge_runtime.camera.source import EndOfRecording, Picture, Source, source_for
from edge_runtime.errors import EdgeError, Unavailable

KINDS = ("mjpeg", "mjpeg without lengths", "mjpeg chunked", "stills", "rtsp h264", "rtsp jpeg", "video", "folder")
pytestmark = pytest.mark.integration
STEP_S = 0.1


@pytest.fixture(params=KINDS, scope="module")
def rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str, str], str]
) -> Iterator[Rig]:
    made = _rig(request.param, tmp_path_factory.mktemp("camera"), program)
    made.start()
    yield made
    made.stop()


def _rig(kind: str, folder: Path, program: Callable[[str, str], str]) -> Rig:
    if kind.startswith("rtsp"):
        find_rtsp_server(program)
        return RtspRig(kind.split()[1])
    if kind == "video":
        return VideoRig(folder, program("ffmpeg", "ffmpeg"))
    if kind == "folder":
        return FolderRig(folder)
    paths = {
        "mjpeg": "/stream.mjpg",
        "mjpeg without lengths": "/nolength.mjpg",
        "mjpeg chunked": "/chunked.mjpg",
        "stills": "/still.jpg",
    }
    return WebRig(paths[kind])


@pytest.fixture
def source(rig: Rig) -> Iterator[Source]:
    made = source_for(rig.uri, interval_s=STEP_S, timeout_s=10.0)
    made.open()
    yield made
    made.close()


class Held:
    """What this process holds now."""

    def __init__(self) -> None:
        self.children = children()
        self.threads = threading.active_count()
        self.files = open_files()

    def within(self, other: Held) -> bool:
        return self.children <= other.children and self.threads <= other.threads and self.files <= other.files


def take(source: Source, count: int) -> list[Picture]:
    pictures = [source.read() for _ in range(count)]
    assert not any(isinstance(p, EndOfRecording) for p in pictures)
    return [p for p in pictures if isinstance(p, Picture)]


def test_pictures_have_the_right_size_and_colours(rig: Rig, source: Source) -> None:
    (picture,) = take(source, 1)
    height, width, channels = picture.pixels.shape
    assert ((width, height), channels, str(picture.pixels.dtype)) == (rig.size, 3, "uint8")
    for (x, y), colour in rig.colours.items():
        assert abs(picture.pixels[y, x].astype(int) - colour).max() < 25, (x, y)
    assert picture.codec


def test_times_go_forward_and_belong_to_this_clock(source: Source) -> None:
    began_wall_s, began_s = time.time(), time.monotonic()
    pictures = take(source, 4)
    times = [p.captured_monotonic_s for p in pictures]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert times[-1] <= time.monotonic()
    for picture in pictures:
        # Both stamps are of the same moment.
        assert abs((picture.captured_at - began_wall_s) - (picture.captured_monotonic_s - began_s)) < 0.5


def test_pictures_are_an_interval_apart(source: Source) -> None:
    times = [p.captured_monotonic_s for p in take(source, 5)]
    assert times[-1] - times[0] >= 4 * STEP_S * 0.6


def test_close_leaves_no_thread_process_or_file(rig: Rig) -> None:
    def once() -> None:
        source = source_for(rig.uri, interval_s=STEP_S)
        source.open()
        take(source, 2)
        source.close()
        source.close()

    once()  # first use loads codecs, which stay
    before = Held()
    once()
    _eventually(lambda: Held().within(before))


def test_close_from_another_thread_ends_a_waiting_read(rig: Rig) -> None:
    source = source_for(rig.uri, interval_s=60.0, timeout_s=60.0)
    source.open()
    take(source, 1)
    ended = threading.Event()

    def read_on() -> None:
        try:
            while not isinstance(source.read(), EndOfRecording):
                pass
        except EdgeError:
            pass
        ended.set()

    reader = threading.Thread(target=read_on)
    reader.start()
    source.close()
    reader.join(20.0)
    assert ended.is_set()


def test_reading_before_open_and_after_close_is_refused(rig: Rig) -> None:
    source = source_for(rig.uri)
    with pytest.raises(EdgeError):
        source.read()
    source.close()
    with pytest.raises(EdgeError):
        source.read()


def test_a_wrong_address_says_what_is_wrong_without_the_password(rig: Rig) -> None:
    before = Held()
    source = source_for(rig.wrong_uri, timeout_s=10.0)
    with pytest.raises(Unavailable) as met:
        source.open()
        source.read()
    _eventually(lambda: Held().within(before))
    source.close()
    said = f"{met.value} {source.name}"
    assert met.value.found and met.value.mend
    assert "s3cret" not in said and "wr0ng" not in said and "tech" not in said


def test_a_live_camera_gives_newer_and_newer_frames_and_stops(rig: Rig) -> None:
    before = Held()
    camera = LiveCamera("bay", rig.uri, interval_s=STEP_S, draw=lambda: 0.1)
    camera.start()
    sequence = 0
    for _ in range(3):
        frame = camera.newest(20.0, sequence)
        assert frame is not None and frame.sequence > sequence and frame.camera == "bay"
        assert frame.pixels.shape[:2] == rig.size[::-1]
        sequence = frame.sequence
    health = camera.health()
    assert health.status is CameraStatus.LIVE and health.frames >= 3 and not health.error
    assert camera.stop()
    assert camera.health().status is CameraStatus.ENDED
    _eventually(lambda: Held().threads <= before.threads and Held().children <= before.children)


def test_a_live_camera_survives_the_restart_of_a_network_camera(rig: Rig) -> None:
    if not rig.is_network:
        pytest.skip("a recording has no server")
    camera = LiveCamera("bay", rig.uri, interval_s=STEP_S, stall_s=5.0, draw=lambda: 0.1)
    camera.start()
    try:
        assert camera.newest(20.0) is not None
        rig.stop()
        _eventually(lambda: camera.health().status is CameraStatus.LOST, 30.0)
        seen = camera.health().frames
        rig.start()
        assert camera.newest(30.0, seen) is not None
        health = camera.health()
        assert health.status is CameraStatus.LIVE and health.reconnects >= 1
        assert "s3cret" not in repr(health)
    finally:
        camera.stop()


def _eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)
