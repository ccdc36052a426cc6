"""A network camera on loopback: MJPEG and stills, well behaved or not, by path. Tests change it by plain assignment."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 240
COLOURS = {(80, 60): (0, 0, 230), (240, 60): (0, 230, 0), (80, 180): (230, 0, 0), (240, 180): (230, 230, 230)}
"""BGR at points of `quadrants()`: red, green, blue, white."""


def quadrants() -> NDArray[np.uint8]:
    """A picture whose colour order and orientation can be told."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (x, y), colour in COLOURS.items():
        pixels[y - 60 : y + 60, x - 80 : x + 80] = colour
    return pixels


def jpeg(pixels: NDArray[np.uint8] | None = None) -> bytes:
    good, data = cv2.imencode(".jpg", quadrants() if pixels is None else pixels)
    assert good
    return bytes(data)


class WebCamera:
    """Serves on a port of its own choosing, and on the same one again after `stop` and `start`."""

    def __init__(self) -> None:
        self.picture = jpeg()
        self.period_s = 0.04
        self.tag = ""
        self.user, self.password = "tech", "s3cr/t"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.port = 0
        self.stopping = threading.Event()
        self._server: _Server | None = None

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self.stopping.set()
        server.shutdown()
        server.server_close()

    def uri(self, path: str, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, where: tuple[str, int], camera: WebCamera) -> None:
        super().__init__(where, _Handler)
        self.camera = camera
        self.open_sockets: set[socket.socket] = set()

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self.open_sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self.open_sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""

    def server_close(self) -> None:
        for request in list(self.open_sockets):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden argument
        """Quiet."""

    def do_GET(self) -> None:
        self.camera = self.server.camera
        path = urlsplit(self.path).path
        self.camera.requests.append((self.path, dict(self.headers.items())))
        route: Callable[[], None] | None = getattr(self, "serve_" + path.strip("/").replace(".", "_"), None)
        if route is None:
            self.send_error(404)
        else:
            route()

    def serve_stream_mjpg(self) -> None:
        self._begin_stream()
        while self._part(self.camera.picture):
            pass

    def serve_nolength_mjpg(self) -> None:
        self._begin_stream('multipart/x-mixed-replace;boundary="--cam"')
        while not self.camera.stopping.wait(self.camera.period_s):
            self.wfile.write(b"--cam\r\nContent-Type: image/jpeg\r\n\r\n" + self.camera.picture + b"\r\n")

    def serve_chunked_mjpg(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cam")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.camera.stopping.wait(self.camera.period_s):
            part = _part_head(self.camera.picture) + self.camera.picture + b"\r\n"
            for piece in (part[:100], part[100:]):
                self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")

    def serve_stall_mjpg(self) -> None:
        self._begin_stream()
        self._part(self.camera.picture)
        self.wfile.write(_part_head(self.camera.picture) + self.camera.picture[:500])
        self.camera.stopping.wait()

    def serve_trickle_mjpg(self) -> None:
        self._begin_stream()
        self.wfile.write(_part_head(self.camera.picture))
        for byte in self.camera.picture:
            self.wfile.write(bytes([byte]))
            if self.camera.stopping.wait(0.02):
                return

    def serve_cut_mjpg(self) -> None:
        self._begin_stream()
        self._part(self.camera.picture)
        self.wfile.write(_part_head(self.camera.picture) + self.camera.picture[:500])

    def serve_damaged_mjpg(self) -> None:
        """Every second picture is cut off inside a part that is whole."""
        self._begin_stream()
        while self._part(self.camera.picture[: len(self.camera.picture) // 2]) and self._part(self.camera.picture):
            pass

    def serve_never(self) -> None:
        self.camera.stopping.wait()

    def serve_html(self) -> None:
        self._reply(b"<html><body>Log in</body></html>", "text/html; charset=utf-8")

    def serve_html_as_jpeg(self) -> None:
        self._reply(b"<html><body>Log in</body></html>", "image/jpeg")

    def serve_busy(self) -> None:
        self.send_error(503)

    def serve_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/still.jpg")
        self.end_headers()

    def serve_round(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/round")
        self.end_headers()

    def serve_still_jpg(self) -> None:
        if self.camera.tag and self.headers.get("If-None-Match") == self.camera.tag:
            self.send_response(304)
            self.end_headers()
            return
        self._reply(self.camera.picture, "image/jpeg", {"ETag": self.camera.tag} if self.camera.tag else {})

    def serve_cut_jpg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(self.camera.picture)))
        self.end_headers()
        self.wfile.write(self.camera.picture[:500])

    def serve_basic_jpg(self) -> None:
        token = base64.b64encode(f"{self.camera.user}:{self.camera.password}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {token}":
            self._reply(self.camera.picture, "image/jpeg")
        else:
            self._challenge('Basic realm="cam"')

    def serve_digest_jpg(self) -> None:
        given = self.headers.get("Authorization", "")
        if given.startswith("Digest ") and self._digest_is_right(given[7:]):
            self._reply(self.camera.picture, "image/jpeg")
        else:
            self._challenge('Digest realm="cam", nonce="abc123", qop="auth", algorithm=MD5')

    def _digest_is_right(self, given: str) -> bool:
        fields = {k.strip(): v.strip().strip('"') for k, _, v in (f.partition("=") for f in given.split(","))}
        ha1 = _md5(f"{self.camera.user}:cam:{self.camera.password}")
        ha2 = _md5(f"GET:{self.path}")
        wanted = _md5(f"{ha1}:abc123:{fields.get('nc')}:{fields.get('cnonce')}:auth:{ha2}")
        return fields.get("response") == wanted

    def _challenge(self, value: str) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", value)
        self.end_headers()

    def _reply(self, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _begin_stream(self, kind: str = "multipart/x-mixed-replace; boundary=cam") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _part(self, body: bytes) -> bool:
        self.wfile.write(_part_head(body) + body + b"\r\n")
        return not self.camera.stopping.wait(self.camera.period_s)


def _part_head(body: bytes) -> bytes:
    return b"--cam\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
