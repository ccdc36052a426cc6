"""A web server on loopback that serves a folder or misbehaves, as a test tells it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Answer = Callable[[socket.socket, str, dict[str, str]], None]
"""Is given the connection, the path and the headers, and writes what it likes."""


class WebServer:
    """`answer` may be replaced at any time; the requests are in `asked`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answer = folder, self.serve
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, line: socket.socket, path: str, headers: dict[str, str]) -> None:
        """A good server that knows ranges."""
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            line.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        raw = file.read_bytes()
        first = int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if first and first >= len(raw):
            line.sendall(b"HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n")
            return
        status = f"206 Part\r\nContent-Range: bytes {first}-{len(raw) - 1}/{len(raw)}" if first else "200 OK"
        line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw) - first}\r\n\r\n".encode() + raw[first:])

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = line.recv(4096)
                    if not piece:
                        return
                    head += piece
                first, *rest = head.decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (text.partition(":") for text in rest if text)}
                path = first.split(" ")[1]
                self.asked.append((path, headers))
                self.answer(line, path, headers)
            except OSError:
                return


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server until the block ends."""
    server = WebServer(folder)
    try:
        yield server
    finally:
        server.close()
