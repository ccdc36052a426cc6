from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edge_runtime.errors import Unavailable
from edge_runtime.web.board import Board, CameraBoard
from edge_runtime.web.server import MAX_CONNECTIONS, ViewServer

from .outcomes import STATES, crops, good, layout, missing, refused


@pytest.fixture
def view() -> Iterator[tuple[ViewServer, CameraBoard]]:
    board = Board("store-7/bay", "0.0.0")
    camera = board.watch("bay-1", layout(), lambda: crops(40))
    server = ViewServer(board)
    server.start()
    yield server, camera
    server.close()


def get(server: ViewServer, path: str) -> tuple[int, dict[str, str], bytes]:
    with urllib.request.urlopen(server.url + path.lstrip("/")) as answer:
        return answer.status, dict(answer.headers), answer.read()


def asked(server: ViewServer, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"{host}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_state_names_every_slot_before_and_after_the_first_frame(view: tuple[ViewServer, CameraBoard]) -> None:
    server, camera = view
    (before,) = json.loads(get(server, "/api/state")[2])["cameras"]
    assert [s["state"] for s in before["slots"]] == ["unknown"] * 8
    camera.observe(good())
    (after,) = json.loads(get(server, "/api/state")[2])["cameras"]
    assert [s["state"] for s in after["slots"]] == [s.value for s in STATES]
    assert after["slots"][0]["confidence"] == 0.97
    assert after["events"][0]["now"] == "empty"
    assert after["model"]["version"] == "1.2.3"
    assert after["registration"]["status"] == "ok"
    assert (after["registration"]["remarks"], after["registration"]["packs_px"]) == (["camera_moved"], 8.25)
    assert after["light"]["decision"] == "applied"


def test_an_unusable_frame_is_told_with_its_reason(view: tuple[ViewServer, CameraBoard]) -> None:
    server, camera = view
    camera.observe(refused())
    (state,) = json.loads(get(server, "/api/state")[2])["cameras"]
    assert (state["usable"], state["reason"]) == (False, "wrong_scene")
    assert "9 inliers" in state["detail"]
    assert asked(server, "/camera/bay-1/view.jpg")[0] == 404


def test_the_pictures_are_jpegs_of_what_was_seen(view: tuple[ViewServer, CameraBoard]) -> None:
    server, camera = view
    buffer = crops(200)
    camera.observe(good(buffer=buffer))
    buffer[:] = 0
    for name in ("frame.jpg", "view.jpg", "reference.jpg"):
        assert cv2.imdecode(np.frombuffer(get(server, f"/camera/bay-1/{name}")[2], np.uint8), 1) is not None
    shown = cv2.imdecode(np.frombuffer(get(server, "/camera/bay-1/crops.jpg")[2], np.uint8), 1)
    assert abs(float(shown.mean()) - 200) < 3, "the crops were copied before the normalizer used its buffer again"


def test_health_follows_the_frames(view: tuple[ViewServer, CameraBoard]) -> None:
    server, camera = view
    assert asked(server, "/healthz")[0] == 503
    camera.observe(good())
    assert asked(server, "/healthz")[0] == 200


def test_a_camera_that_is_away_is_not_healthy_and_shows_no_picture() -> None:
    now = [0.0]
    camera = CameraBoard("bay-1", layout(), lambda: crops(40), clock=lambda: now[0])
    camera.observe(good())
    now[0] = 500.0
    camera.observe(missing())
    assert camera.stale
    assert camera.age_s == 500.0
    assert camera.state()["frames"] == 1
    assert camera.state()["reason"] == "no_camera"
    assert camera.picture("frame.jpg") is None


def test_a_camera_that_is_read_every_ten_minutes_is_healthy_in_between() -> None:
    now = [0.0]
    camera = CameraBoard("bay-1", layout(), lambda: crops(40), 600.0, clock=lambda: now[0])
    assert camera.stale, "no frame yet"
    camera.observe(good())
    now[0] = 1_500.0
    assert not camera.stale


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_path_is_answered(view: tuple[ViewServer, CameraBoard], path: str) -> None:
    assert asked(view[0], "/" + quote(path))[0] in (200, 404)


def test_only_the_page_itself_may_use_the_page(view: tuple[ViewServer, CameraBoard]) -> None:
    server, _ = view
    _, headers, body = get(server, "/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"://" not in body.replace(b"http://www.w3.org", b"")
    assert asked(server, "/api/state", host="evil.example")[0] == 403
    assert asked(server, "/../../pyproject.toml")[0] == 404
    assert asked(server, "/camera/other/frame.jpg")[0] == 404
    assert asked(server, "/", method="POST")[0] == 501
    status, body = asked(server, "/", method="HEAD")
    assert (status, body) == (200, b"")


def test_a_taken_port_is_unavailable_with_the_mend() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(Unavailable, match=r"can not listen .* Choose another port"):
            ViewServer(Board("d", "0"), holder.getsockname()[1])


def test_a_crowd_does_not_take_the_server_down(view: tuple[ViewServer, CameraBoard]) -> None:
    server, _ = view
    port = int(server.url.rstrip("/").rpartition(":")[2])
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(MAX_CONNECTIONS + 4)]
    turned_away = 0
    for guest in crowd[MAX_CONNECTIONS:]:
        turned_away += guest.recv(1) == b""
    for guest in crowd:
        guest.close()
    assert turned_away == 4


@pytest.mark.integration
def test_a_real_browser_shows_the_slots_without_an_error(
    view: tuple[ViewServer, CameraBoard], program: Callable[[str, str], str], tmp_path: Path
) -> None:
    chromium = program("chromium", "chromium")
    server, camera = view
    camera.observe(good())
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--virtual-time-budget=4000",
        "--enable-logging=stderr",
    ]
    done = subprocess.run(
        [chromium, *flags, f"--user-data-dir={tmp_path}", "--dump-dom", server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console
    for number, state in enumerate(STATES):
        assert f'data-slot="r{number // 4}s{number % 4}" data-state="{state.value}"' in done.stdout
    for text in ("painted 1.2.3", "camera moved", "8.3 px, made up for", "corrected (applied)"):
        assert text in done.stdout
