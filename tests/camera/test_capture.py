"""The capture process: killed, stopped, orphaned; and what ffmpeg's words mean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from camera.rigs import RtspRig, find_rtsp_server
from edge_runtime.camera.capture import ChildSource, explain_end
from edge_runtime.camera.live import LiveCamera
from edge_runtime.camera.picture import Stalled
from edge_runtime.camera.source import source_for
from edge_runtime.errors import TryAgain, Unavailable


@pytest.fixture(scope="module")
def rig(program: Callable[[str, str], str]) -> Iterator[RtspRig]:
    find_rtsp_server(program)
    made = RtspRig("h264")
    made.start()
    yield made
    made.stop()


def opened(rig: RtspRig, timeout_s: float = 10.0) -> tuple[ChildSource, int]:
    source = source_for(rig.uri, timeout_s=timeout_s)
    assert isinstance(source, ChildSource)
    source.open()
    assert source.process_id is not None
    return source, source.process_id


def test_the_password_is_not_on_the_command_line(rig: RtspRig) -> None:
    source, pid = opened(rig)
    assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    source.close()


def test_a_killed_child_is_told(rig: RtspRig) -> None:
    source, pid = opened(rig)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TryAgain, match="killed"):
        for _ in range(100):
            source.read()
    source.close()


def test_a_child_that_hangs_is_stalled_and_close_ends_it(rig: RtspRig) -> None:
    source, pid = opened(rig, timeout_s=5.0)
    source.read()
    source._timeout_s = 0.3
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Stalled):
        for _ in range(100):
            source.read()
    source.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_live_camera_starts_a_killed_child_again(rig: RtspRig) -> None:
    camera = LiveCamera("bay", rig.uri, interval_s=0.1, draw=lambda: 0.1)
    camera.start()
    try:
        frame = camera.newest(20.0)
        assert frame is not None and isinstance(camera._source, ChildSource)
        pid = camera._source.process_id
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20.0
        while camera.health().reconnects == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert camera.newest(20.0, camera.health().frames) is not None
    finally:
        assert camera.stop()


def test_the_child_ends_when_its_parent_is_killed(rig: RtspRig) -> None:
    code = (
        "import sys\nfrom edge_runtime.camera.source import source_for\n"
        "source = source_for(sys.stdin.readline().strip())\nsource.open()\nsource.read()\n"
        "sys.stdout.write(f'{source.process_id}\\n')\nsys.stdout.flush()\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(rig.uri + "\n")
    parent.stdin.flush()
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10.0
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_such_device() -> None:
    source = source_for("/dev/video987")
    with pytest.raises(Unavailable, match="no device") as met:
        source.open()
    assert "camera list" in met.value.mend


@pytest.mark.parametrize(
    ("said", "code", "family", "word"),
    [
        ("method DESCRIBE failed: 401 Unauthorized", 1, Unavailable, "login"),
        ("method DESCRIBE failed: 404 Not Found", 1, Unavailable, "404"),
        ("Connection to tcp://h:1 failed: Connection refused", 1, Unavailable, "listen"),
        ("something odd rtsp://u:p4ss@cam/x", 1, Unavailable, "odd"),
        ("", 1, Unavailable, "can not be opened"),
        ("", 0, TryAgain, "ended"),
        ("", -9, TryAgain, "signal 9"),
    ],
)
def test_the_end_of_the_child_is_explained(said: str, code: int, family: type[Exception], word: str) -> None:
    fault = explain_end("rtsp://***@cam/x", said, code)
    assert isinstance(fault, family) and word in fault.found and fault.mend and "p4ss" not in str(fault)
