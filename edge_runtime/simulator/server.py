"""The simulated store as a network camera on loopback, in its own process.

/stream.mjpg  multipart MJPEG       /still.jpg   the newest frame       /reference.jpg  /layout.json
/truth        what is really there  /fault?kind= black|frozen|covered|stall|drop|none   /healthz
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs, urlsplit

from edge_runtime.errors import Unavailable
from edge_runtime.records import State
from edge_runtime.simulator.day import Day
from edge_runtime.simulator.demo import REFERENCE, commission
from edge_runtime.simulator.feed import Fault, Feed, Shot

_BOUNDARY = "frame"
_WAIT_S = 0.5
_IDLE_S = 20.0
"""A client that neither reads nor writes for so long is let go."""


@dataclass(frozen=True, slots=True)
class Commissioning:
    """The files that a technician would have made for this camera."""

    layout: bytes
    reference: bytes


def commissioning(day: Day) -> Commissioning:
    with tempfile.TemporaryDirectory(prefix="edge-simulator-") as folder:
        commission(Path(folder), day)
        return Commissioning((Path(folder) / "layout.json").read_bytes(), (Path(folder) / REFERENCE).read_bytes())


class CameraServer:
    """HTTP in front of a feed. `start` binds and serves in threads; `stop` ends them all."""

    def __init__(self, day: Day, fps: float, port: int = 0) -> None:
        self.feed = Feed(day, fps)
        self._files = commissioning(day)
        try:
            self._http = _Server(("127.0.0.1", port), _handler(self.feed, self._files))
        except OSError as fault:
            raise Unavailable(
                f"port {port} can not be served: {fault.strerror}", "Choose another with --port, or 0 for any"
            ) from None
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.feed.start()
        self._thread.start()

    def stop(self) -> None:
        self.feed.stop()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def serve(day: Day, fps: float, port: int, until_stdin_closes: bool = True) -> int:
    """Serve until stdin closes (if asked to), SIGTERM or SIGINT; prints one JSON line `{"port","url"}` first.

    Raises Unavailable when the port is taken.
    """
    over = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    server = CameraServer(day, fps, port)
    server.start()
    sys.stdout.write(json.dumps({"port": server.port, "url": server.url}) + "\n")
    sys.stdout.flush()
    if until_stdin_closes:
        threading.Thread(target=_wait_for_end_of_stdin, args=(over,), name="stdin", daemon=True).start()
    over.wait()
    server.stop()
    return 0


def _wait_for_end_of_stdin(over: threading.Event) -> None:
    descriptor = sys.stdin.buffer.raw if hasattr(sys.stdin.buffer, "raw") else sys.stdin.buffer
    while descriptor.read(4096):
        pass
    over.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of its question is nothing to tell; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(feed: Feed, files: Commissioning) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.feed, Handler.files = feed, files
    return Handler


class _Handler(BaseHTTPRequestHandler):
    feed: Feed
    files: Commissioning
    timeout = _IDLE_S

    def do_GET(self) -> None:
        try:
            parts = urlsplit(self.path)
        except ValueError as fault:
            self.send_error(400, str(fault))
            return
        routes: Mapping[str, Callable[[dict[str, list[str]]], None]] = {
            "/stream.mjpg": self._stream,
            "/still.jpg": self._still,
            "/truth": self._truth,
            "/fault": self._set_fault,
            "/layout.json": lambda _: self._send(self.files.layout, "application/json"),
            "/reference.jpg": lambda _: self._send(self.files.reference, "image/jpeg"),
            "/healthz": self._health,
        }
        route = routes.get(parts.path)
        try:
            if route is None:
                self.send_error(404, f"try one of {' '.join(routes)}")
            else:
                route(parse_qs(parts.query))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent: stdout carries the one JSON line."""

    def _send(self, body: bytes, kind: str, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value, separators=(",", ":")).encode(), "application/json", status=status)

    def _still(self, query: dict[str, list[str]]) -> None:
        if self._refused():
            return
        while self.feed.fault is Fault.STALL and not self.feed.stopped:
            self.feed.after(2**62, _WAIT_S)
        shot = self.feed.latest() or self.feed.after(0, 10.0)
        if shot is None:
            self.send_error(503, "no frame yet")
        else:
            self._send(shot.data, "image/jpeg", _stamp(shot))

    def _stream(self, query: dict[str, list[str]]) -> None:
        if self._refused():
            return
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        sequence = 0
        while not self.feed.stopped and self.feed.fault is not Fault.DROP:
            shot = self.feed.after(sequence, _WAIT_S)
            if shot is None or self.feed.fault in (Fault.STALL, Fault.DROP):
                continue
            sequence = shot.sequence
            head = {"Content-Type": "image/jpeg", "Content-Length": str(len(shot.data)), **_stamp(shot)}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            self.wfile.write(f"--{_BOUNDARY}\r\n{lines}\r\n".encode() + shot.data + b"\r\n")
        self.close_connection = True

    def _refused(self) -> bool:
        if self.feed.fault is not Fault.DROP:
            return False
        self.send_error(503, "the camera is unplugged (fault=drop)")
        return True

    def _truth(self, query: dict[str, list[str]]) -> None:
        since = _number(query.get("since", ["0"])[0])
        if since is None:
            self.send_error(400, "since must be seconds since 1970")
            return
        latest = self.feed.latest()
        happened = self.feed.day.events(latest.day_s) if latest else ()
        self._json(
            {
                "began_at": self.feed.began_at,
                "current": frame_truth(latest) if latest else None,
                "frames": [frame_truth(shot) for shot in self.feed.since(since)],
                "events": [
                    {"at": self.feed.began_at + e.at_s, "kind": e.kind, "slot": e.slot, "detail": e.detail,
                     "state": e.level.state if e.level else ""}
                    for e in happened
                ],
            }
        )  # fmt: skip

    def _set_fault(self, query: dict[str, list[str]]) -> None:
        kind = query.get("kind", [""])[0]
        if kind not in list(Fault):
            self.send_error(400, f"kind must be one of {' '.join(Fault)}")
            return
        self.feed.set_fault(Fault(kind))
        self._json({"fault": kind})

    def _health(self, query: dict[str, list[str]]) -> None:
        shot = self.feed.latest()
        self._json({"frames": shot.sequence if shot else 0, "fault": self.feed.fault}, 200 if shot else 503)


def frame_truth(shot: Shot) -> dict[str, object]:
    """One frame of /truth: `states` has every slot; `covered` and `behind` (the stock) only what is hidden."""
    return {
        "sequence": shot.sequence,
        "at": shot.at,
        "fault": shot.fault,
        "states": {slot: told.state for slot, told in shot.truth.items()},
        "covered": {slot: round(told.covered, 3) for slot, told in shot.truth.items() if told.covered > 0},
        "behind": {slot: told.stock for slot, told in shot.truth.items() if told.state is State.BLOCKED},
    }


def _stamp(shot: Shot) -> dict[str, str]:
    return {"X-Timestamp": f"{shot.at:.6f}", "X-Sequence": str(shot.sequence)}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
