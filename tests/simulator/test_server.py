"""The simulated camera as others meet it: a process, and HTTP on loopback."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

import cv2
import numpy as np
import pytest

from edge_runtime.layout import read_layout

COMMAND = [sys.executable, "-m", "edge_runtime.simulator", "serve", "--size", "320", "240", "--fps", "10"]


def _start(*more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    program = _start()
    assert program.stdout and program.stdin
    told = json.loads(program.stdout.readline())
    assert told["url"].endswith(str(told["port"]))
    yield told["url"]
    program.stdin.close()
    assert program.wait(20) == 0
    assert program.stderr and program.stderr.read() == b""


@pytest.fixture(autouse=True)
def healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "url" in request.fixturenames:
        _get(request.getfixturevalue("url") + "/fault?kind=none")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=15) as answer:
        return bytes(answer.read())


def _truth(url: str) -> dict[str, Any]:
    told = json.loads(_get(url + "/truth"))
    assert isinstance(told, dict)
    return told


def _still(url: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(_get(url + "/still.jpg"), np.uint8), cv2.IMREAD_COLOR)


def _part(stream: IO[bytes]) -> tuple[dict[str, str], bytes]:
    """The next part of a multipart stream: its headers and body."""
    while stream.readline().strip() != b"--frame":
        pass
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name] = value
    return headers, stream.read(int(headers["Content-Length"]))


def _until(seconds: float, what: Any) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_stills_are_pictures(url: str) -> None:
    assert _still(url).shape == (240, 320, 3)


def test_stream_brings_frame_after_frame(url: str) -> None:
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        parts = [_part(stream) for _ in range(3)]
    numbers = [int(headers["X-Sequence"]) for headers, _ in parts]
    assert numbers == sorted(set(numbers))
    assert all(cv2.imdecode(np.frombuffer(body, np.uint8), 1).shape == (240, 320, 3) for _, body in parts)


def test_every_frame_has_its_truth(url: str) -> None:
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as stream:
        headers, _ = _part(stream)
    told = _truth(url)
    frame = next(f for f in told["frames"] if f["sequence"] == int(headers["X-Sequence"]))
    assert frame["at"] == pytest.approx(float(headers["X-Timestamp"]), abs=1e-5)
    assert len(frame["states"]) == 24
    assert told["current"]["sequence"] >= frame["sequence"]
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as stream:
        _part(stream), _part(stream)
    later = json.loads(_get(f"{url}/truth?since={frame['at']}"))["frames"]
    assert later[0]["sequence"] == frame["sequence"] + 1


def test_viewers_share_one_picture(url: str) -> None:
    with (
        urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as a,
        urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as b,
    ):
        one = {h["X-Sequence"]: body for h, body in (_part(a) for _ in range(5))}
        two = {h["X-Sequence"]: body for h, body in (_part(b) for _ in range(5))}
    common = set(one) & set(two)
    assert common
    assert all(one[number] == two[number] for number in common)


def test_commissioning_files(url: str, tmp_path: Any) -> None:
    (tmp_path / "layout.json").write_bytes(_get(url + "/layout.json"))
    layout = read_layout(tmp_path / "layout.json")
    reference = cv2.imdecode(np.frombuffer(_get(url + "/reference.jpg"), np.uint8), 1)
    assert layout.image_size == (320, 240) == (reference.shape[1], reference.shape[0])


def test_black_and_covered(url: str) -> None:
    assert _still(url).mean() > 25
    for kind in ("black", "covered"):
        _get(f"{url}/fault?kind={kind}")
        _until(10, lambda kind=kind: _truth(url)["current"]["fault"] == kind)
        picture = _still(url)
        assert picture.std() < 40
        assert (picture.mean() < 12) == (kind == "black")


def test_frozen_repeats_a_picture_with_new_numbers(url: str) -> None:
    _get(url + "/fault?kind=frozen")
    _until(10, lambda: _truth(url)["current"]["fault"] == "frozen")
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as stream:
        (first, a), (second, b) = _part(stream), _part(stream)
    assert a == b
    assert first["X-Sequence"] != second["X-Sequence"]


def test_stall_keeps_the_line_open_and_silent(url: str) -> None:
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=1.5) as stream:
        _part(stream)
        _get(url + "/fault?kind=stall")
        with pytest.raises(TimeoutError):
            for _ in range(50):
                _part(stream)


def test_drop_cuts_and_refuses(url: str) -> None:
    with urllib.request.urlopen(url + "/stream.mjpg", timeout=15) as stream:
        _part(stream)
        _get(url + "/fault?kind=drop")
        _until(10, lambda: stream.read(65536) == b"")
    with pytest.raises(urllib.error.HTTPError) as refused:
        _still(url)
    assert refused.value.code == 503


@pytest.mark.parametrize("path", ["/nothing", "/fault?kind=fire", "/fault", "/truth?since=yesterday"])
def test_wrong_questions_are_answered_so(url: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get(url + path)
    assert refused.value.code in (400, 404)


HOSTILE = [
    b"\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"GET http://[x/ HTTP/1.0\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.0\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n",
    b"POST /fault?kind=black HTTP/1.0\r\n\r\n",
    b"GET /still.jpg HT",
]


@pytest.mark.parametrize("question", HOSTILE, ids=lambda question: repr(question[:24]))
def test_malformed_questions_and_lost_clients_end_nothing(url: str, question: bytes) -> None:
    """The module's `url` fixture says at the end that none of them left a word on stderr."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as asked:
        asked.sendall(question)
        if question.endswith(b"\n"):
            assert b" 200 " not in asked.recv(64)
        else:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    assert json.loads(_get(url + "/healthz"))["fault"] == "none"


def test_viewers_who_never_read_hold_nobody_up(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as deaf:
        for _ in range(30):
            viewer = deaf.enter_context(socket.create_connection((host, int(port)), 10))
            viewer.sendall(b"GET /stream.mjpg HTTP/1.0\r\n\r\n")
        before = json.loads(_get(url + "/healthz"))["frames"]
        _until(20, lambda: json.loads(_get(url + "/healthz"))["frames"] > before + 5)
        assert _still(url).shape == (240, 320, 3)


def test_ends_at_sigterm_with_viewers_connected() -> None:
    program = _start("--keep-running")
    assert program.stdout and program.stdin and program.stderr
    told = json.loads(program.stdout.readline())
    program.stdin.close()
    with urllib.request.urlopen(told["url"] + "/stream.mjpg", timeout=15) as stream:
        _part(stream)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    assert program.stderr.read() == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", told["port"]), 2)


def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        program = _start("--port", str(other.getsockname()[1]))
        _, said = program.communicate(timeout=30)
    assert program.returncode == 69
    assert b"can not be served" in said and b"--port" in said
