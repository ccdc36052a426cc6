"""One rig for every kind of source: a real camera of that kind, with a picture that is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import cv2

from camera.web_camera import COLOURS, HEIGHT, WIDTH, WebCamera, jpeg, quadrants

RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
Program = Callable[[str, str], str]
BARS = {(68, 60): (0, 190, 190), (160, 60): (0, 190, 0), (251, 60): (0, 0, 190), (297, 60): (190, 0, 0)}
"""Of `smpte75`: seven bars over two thirds of the height; the second is yellow, the fourth green, the last blue."""


class Rig(Protocol):
    uri: str
    wrong_uri: str
    """As `uri`, but nothing is there; with credentials where the kind knows them."""
    size: tuple[int, int]
    colours: dict[tuple[int, int], tuple[int, int, int]]
    """BGR at points."""
    is_network: bool

    def start(self) -> None: ...

    def stop(self) -> None: ...


class WebRig:
    size = (WIDTH, HEIGHT)
    colours = COLOURS
    is_network = True

    def __init__(self, path: str) -> None:
        self._camera = WebCamera()
        self._path = path

    def start(self) -> None:
        self._camera.start()
        self.uri = self._camera.uri(self._path)
        self.wrong_uri = self._camera.uri("/nowhere?user=tech", "tech:s3cret@")

    def stop(self) -> None:
        self._camera.stop()


class RtspRig:
    size = (WIDTH, HEIGHT)
    colours = BARS
    is_network = True

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._port = "0"
        self._server: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), self._port, self._codec, str(WIDTH), str(HEIGHT), "20"]
        self._server = subprocess.Popen(
            [*command, "tech", "s3cret"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        word, self._port = self._server.stdout.readline().split()
        assert word == "ready"
        self.uri = f"rtsp://tech:s3cret@127.0.0.1:{self._port}/cam"
        self.wrong_uri = f"rtsp://tech:wr0ng@127.0.0.1:{self._port}/nowhere"

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.kill()
            server.communicate()


class FolderRig:
    size = (WIDTH, HEIGHT)
    colours = COLOURS
    is_network = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stills"
        self.uri = str(self._folder)
        self.wrong_uri = str(folder / "nowhere")

    def start(self) -> None:
        self._folder.mkdir()
        for number in range(1, 13):
            (self._folder / f"shelf{number}.jpg").write_bytes(jpeg())

    def stop(self) -> None:
        """Nothing runs."""


class VideoRig(FolderRig):
    def __init__(self, folder: Path, ffmpeg: str) -> None:
        super().__init__(folder)
        self._ffmpeg = ffmpeg
        self._picture = folder / "quadrants.png"
        self.uri = str(folder / "shelf.mp4")

    def start(self) -> None:
        cv2.imwrite(str(self._picture), quadrants())
        make_video(self._ffmpeg, self._picture, Path(self.uri), seconds=3.0)


def make_video(ffmpeg: str, picture: Path, video: Path, seconds: float, fps: int = 10) -> None:
    """A still as an H.264 video with B-frames, as recorders write them."""
    command = [ffmpeg, "-v", "error", "-y", "-loop", "1", "-framerate", str(fps), "-i", str(picture)]
    command += ["-t", str(seconds), "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", str(video)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def find_rtsp_server(program: Program) -> None:
    """Skip, naming the packages, if GStreamer's RTSP server is not here."""
    program("python3", "python3")
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None); "
    check += "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
    if subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True).returncode:
        program("gst-rtsp-server with python3-gi", "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly")


def children() -> set[int]:
    """Process ids whose parent is this process, zombies among them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


assert sys.platform == "linux"
