"""The local view's HTTP server: loopback unless told otherwise, a bounded number of threads, its own files only, a strict content policy."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from socketserver import ThreadingMixIn
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import Unavailable
from edge_runtime.web.board import Board
from edge_runtime.web.exposition import CONTENT_TYPE

LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 16
"""A browser keeps up to six open; each costs a thread while it is."""
IDLE_S = 20.0
_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ViewServer:
    """Serves a board from its own thread until `close`. Port 0 lets the system choose; `url` says which."""

    def __init__(self, board: Board, port: int = 0, host: str = LOOPBACK) -> None:
        """Bind at once. Raises Unavailable if the port is taken or the address is not this device's."""
        handler = type("_BoundHandler", (_Handler,), {"board": board})
        try:
            self._http = _BoundedServer((host, port), handler)
        except (OSError, OverflowError) as fault:
            reason = fault.strerror if isinstance(fault, OSError) else "not a port number"
            raise Unavailable(
                f"the local view can not listen on {host}:{port}: {reason}",
                "Choose another port under [view] in device.toml, or 0 for any free one",
            ) from None
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.2,), name="view", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser on this device finds the page."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/"

    def start(self) -> None:
        """Begin to answer, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and give the port back."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()


class _BoundedServer(ThreadingMixIn, HTTPServer):
    """At most MAX_CONNECTIONS at a time; more are closed at once, so that nobody can exhaust the device."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A browser that goes away in the middle of an answer is not an error of the device."""


class _Handler(BaseHTTPRequestHandler):
    board: Board
    protocol_version = "HTTP/1.1"
    server_version = "edge-runtime"
    sys_version = ""
    timeout = IDLE_S

    def do_GET(self) -> None:
        if not self._is_addressed_directly():
            self._answer(HTTPStatus.FORBIDDEN, b"ask for this device by its address\n", "text/plain")
            return
        path = unquote(urlsplit(self.path).path)
        if path in _FILES:
            name, kind = _FILES[path]
            self._answer(HTTPStatus.OK, (_PAGE / name).read_bytes(), kind)
        elif path == "/api/state":
            self._json(HTTPStatus.OK, self.board.state())
        elif path == "/healthz":
            ok, record = self.board.health()
            self._json(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, record)
        elif path == "/metrics":
            self._metrics()
        else:
            self._picture(path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Requests of the local view are not worth a line each."""

    def _metrics(self) -> None:
        page = self.board.metrics()
        if page is None:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"no figures yet\n", "text/plain")
        else:
            self._answer(HTTPStatus.OK, page, CONTENT_TYPE)

    def _picture(self, path: str) -> None:
        """/camera/<id>/<picture>.jpg"""
        parts = path.split("/")
        camera = self.board.camera(parts[2]) if len(parts) == 4 and parts[1] == "camera" else None
        jpeg = camera.picture(parts[3]) if camera else None
        if jpeg is None:
            self._answer(HTTPStatus.NOT_FOUND, b"not here (yet)\n", "text/plain")
        else:
            self._answer(HTTPStatus.OK, jpeg, "image/jpeg")

    def _is_addressed_directly(self) -> bool:
        """Only `localhost` and plain addresses: a page elsewhere must not get in by pointing its own name at this device."""
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() == "localhost":
            return True
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _json(self, status: HTTPStatus, record: object) -> None:
        self._answer(status, json.dumps(record, allow_nan=False).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
