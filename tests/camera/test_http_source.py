"""HTTP cameras that misbehave: each ends in an error that says what to do, within the time-out, or in a picture."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camera.web_camera import WebCamera, jpeg
from edge_runtime.camera.live import CameraStatus, LiveCamera
from edge_runtime.camera.picture import Picture, Source, Stalled
from edge_runtime.camera.source import source_for
from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable


@pytest.fixture
def camera() -> Iterator[WebCamera]:
    made = WebCamera()
    made.start()
    yield made
    made.stop()


def opened(camera: WebCamera, path: str, login: str = "", timeout_s: float = 0.4) -> Source:
    source = source_for(camera.uri(path, login), timeout_s=timeout_s)
    source.open()
    return source


@pytest.mark.parametrize(
    ("path", "login", "word"),
    [
        ("/html", "", "web page"),
        ("/nowhere", "", "404"),
        ("/never", "", "did not answer"),
        ("/basic.jpg", "", "refuses the login"),
        ("/basic.jpg", "tech:wrong@", "refuses the login"),
        ("/digest.jpg", "tech:wrong@", "refuses the login"),
        ("/round", "", "redirects again"),
    ],
)
def test_what_never_opens(camera: WebCamera, path: str, login: str, word: str) -> None:
    with pytest.raises(Unavailable, match=word) as met:
        opened(camera, path, login)
    assert met.value.mend and "wrong" not in met.value.found


def test_a_busy_camera_is_tried_again(camera: WebCamera) -> None:
    with pytest.raises(TryAgain, match="503"):
        opened(camera, "/busy")


@pytest.mark.parametrize("path", ["/stall.mjpg", "/trickle.mjpg"])
def test_a_stream_that_stops_in_a_picture_is_stalled(camera: WebCamera, path: str) -> None:
    source = opened(camera, path)
    with pytest.raises(Stalled):
        for _ in range(2):
            source.read()
    source.close()


def test_a_stream_that_is_cut_in_a_picture_is_tried_again(camera: WebCamera) -> None:
    source = opened(camera, "/cut.mjpg")
    assert isinstance(source.read(), Picture)
    with pytest.raises(TryAgain, match="ended"):
        source.read()
    source.close()


def test_one_damaged_picture_is_refused_and_the_next_one_comes(camera: WebCamera) -> None:
    source = opened(camera, "/damaged.mjpg")
    with pytest.raises(Refused, match="cut off"):
        source.read()
    assert isinstance(source.read(), Picture)
    source.close()


def test_a_still_that_is_cut_off_is_tried_again(camera: WebCamera) -> None:
    source = opened(camera, "/cut.jpg")
    with pytest.raises(TryAgain, match="500 of"):
        source.read()
    source.close()


def test_a_web_page_that_says_it_is_a_jpeg_is_refused(camera: WebCamera) -> None:
    source = opened(camera, "/html_as.jpeg")
    with pytest.raises(Refused, match="web page"):
        source.read()
    source.close()


@pytest.mark.parametrize("path", ["/basic.jpg", "/digest.jpg"])
def test_login_with_basic_and_digest(camera: WebCamera, path: str) -> None:
    source = opened(camera, path, "tech:s3cr%2Ft@")
    assert [isinstance(source.read(), Picture) for _ in range(3)] == [True] * 3
    source.close()


def test_the_password_is_sent_only_when_asked_for(camera: WebCamera) -> None:
    opened(camera, "/still.jpg", "tech:s3cr%2Ft@").close()
    assert all("Authorization" not in headers for _, headers in camera.requests)


def test_a_redirect_is_followed(camera: WebCamera) -> None:
    source = opened(camera, "/moved")
    assert isinstance(source.read(), Picture)
    source.close()


def test_an_unchanged_still_is_delivered_again_with_a_new_time(camera: WebCamera) -> None:
    camera.tag = '"one"'
    source = opened(camera, "/still.jpg")
    first, second = source.read(), source.read()
    assert isinstance(first, Picture) and isinstance(second, Picture)
    assert second.pixels is first.pixels and second.captured_monotonic_s > first.captured_monotonic_s
    camera.tag, camera.picture = '"two"', jpeg(np.full((100, 200, 3), 90, np.uint8))
    third = source.read()
    assert isinstance(third, Picture) and third.pixels.shape == (100, 200, 3)
    source.close()


def test_pictures_in_between_are_not_decoded(camera: WebCamera) -> None:
    camera.period_s = 0.02
    source = source_for(camera.uri("/stream.mjpg"), interval_s=0.3)
    source.open()
    first, second = source.read(), source.read()
    assert isinstance(first, Picture) and isinstance(second, Picture)
    assert second.captured_monotonic_s - first.captured_monotonic_s > 0.2
    source.close()


def test_a_live_camera_reports_a_stall_and_comes_back(camera: WebCamera) -> None:
    live = LiveCamera("bay", camera.uri("/stall.mjpg"), interval_s=0.0, stall_s=0.3, draw=lambda: 0.05)
    live.start()
    first = live.newest(10.0)
    assert first is not None
    assert live.newest(10.0, first.sequence) is not None
    health = live.health()
    assert (health.reconnects >= 1 and "gave" in health.error) or "sent nothing" in health.error
    assert live.stop()


def test_a_live_camera_stops_while_it_connects() -> None:
    # A socket that listens and has its queue full: the connection is never made.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        live = LiveCamera("bay", f"http://127.0.0.1:{silent.getsockname()[1]}/", stall_s=60.0)
        live.start()
        assert live.newest(0.3) is None
        assert live.health().status is CameraStatus.CONNECTING
        assert live.stop()
        for filler in fillers:
            filler.close()
    assert not any(thread.name == "camera-bay" for thread in threading.enumerate())


@contextmanager
def raw_server(answer: bytes) -> Iterator[int]:
    """Accepts connections one after the other, says these bytes to each, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg()) + jpeg()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_answer_is_a_picture_or_an_expected_error(data: st.DataObject) -> None:
    answer = bytearray(data.draw(st.sampled_from([GOOD, GOOD.replace(b"image/jpeg", b"multipart/x; boundary=a"), b""])))
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, min(len(answer), 120)))
        answer[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with raw_server(bytes(answer)) as port:
        source = source_for(f"http://127.0.0.1:{port}/x", timeout_s=2.0)
        try:
            source.open()
            assert isinstance(source.read(), Picture)
        except EdgeError as fault:
            assert fault.found.isprintable()
        finally:
            source.close()


def test_what_a_camera_calls_its_pictures_can_not_write_on_the_terminal() -> None:
    with raw_server(GOOD.replace(b"image/jpeg", b"\x00\x1b[31m x/y")) as port:
        source = source_for(f"http://127.0.0.1:{port}/x", timeout_s=2.0)
        with pytest.raises(EdgeError) as fault:
            source.open()
        source.close()
    assert fault.value.found.isprintable() and "x/y" in fault.value.found


_HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)


@settings(max_examples=40, deadline=None)
@given(_HEADER_TEXT)
@example("http://u:hidden@[::1/")
@example("rtsp://127.0.0.1/")
@example("gopher://x/")
def test_any_redirect_is_followed_or_refused(where: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\n\r\n".encode("latin-1")
    with raw_server(answer) as port, pytest.raises(EdgeError) as met:
        source_for(f"http://127.0.0.1:{port}/x", timeout_s=1.0).open()
    assert "hidden" not in str(met.value)


@settings(max_examples=40, deadline=None)
@given(_HEADER_TEXT)
@example("garbage")
@example("realm=")
@example('realm="a", nonce="b", algorithm=SHA-512-256')
def test_any_challenge_is_answered_or_refused(challenge: str) -> None:
    answer = f"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest {challenge}\r\n\r\n".encode("latin-1")
    with raw_server(answer) as port, pytest.raises(Unavailable, match="refuses the login"):
        source_for(f"http://tech:s3cret@127.0.0.1:{port}/x", timeout_s=1.0).open()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_path_is_asked_for_or_refused(path: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        try:
            source_for(f"http://127.0.0.1:{unused.getsockname()[1]}/{path}").open()
        except EdgeError as fault:
            assert fault.mend


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "no-such-host.invalid", "127.0.0.1.2.3.4"])
def test_a_host_that_is_not_known(host: str) -> None:
    with pytest.raises(Unavailable) as met:
        source_for(f"http://{host}/x", timeout_s=2.0).open()
    assert met.value.mend


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path, program: Callable[[str, str], str]) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    made = WebCamera()
    made.start(context)
    try:
        with pytest.raises(Unavailable, match="no trusted TLS") as met:
            source_for(made.uri("/still.jpg").replace("http:", "https:"), timeout_s=5.0).open()
        assert "authority" in met.value.mend and not made.requests
    finally:
        made.stop()
