"""Folders, sticks and web servers: what they break, the device takes up again; what they forge, it refuses; none holds it."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_runtime.errors import EdgeError, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.trust.addresses import open_repository
from edge_runtime.lifecycle.trust.ceilings import CEILINGS
from edge_runtime.lifecycle.trust.folder import FolderTransport
from edge_runtime.lifecycle.trust.http import HttpTransport, _Line
from edge_runtime.lifecycle.trust.transport import Moved, NotThere, read_whole
from edge_runtime.lifecycle.trust.updater import Updater

from ..disks import HandClock
from .simulator import Simulator
from .web import WebServer, serving

HASTY = replace(CEILINGS, connect_s=0.4, metadata_s=0.6, refresh_s=2.0)


@pytest.fixture
def folder(tmp_path: Path, sim: Simulator) -> Path:
    """The simulator's repository as files."""
    folder = tmp_path / "repository"
    for role in ("snapshot", "targets"):
        _put(folder / "metadata" / f"1.{role}.json", sim.raw(role))
    _put(folder / "metadata" / "timestamp.json", sim.raw("timestamp"))
    _put(folder / "metadata" / "1.root.json", sim.roots[0])
    for path, file in sim.targets.targets.items():
        where, _, name = path.rpartition("/")
        _put(folder / "targets" / where / f"{file.hashes['sha256']}.{name}", sim.files[path])
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[WebServer]:
    with serving(folder) as server:
        yield server


@pytest.fixture
def updater(tmp_path: Path, sim: Simulator, server: WebServer) -> Updater:
    return Updater(tmp_path / "state", server.url, sim.roots[0], HandClock(), ceilings=HASTY)


def _put(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


def _part(tmp_path: Path, updater: Updater) -> Path:
    release = updater.releases("shelf")[0]
    path = tmp_path / "state" / "staging" / f"{release.sha256}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_a_repository(tmp_path: Path, sim: Simulator, folder: Path, form: str) -> None:
    updater = Updater(tmp_path / "state", form.format(folder), sim.roots[0], HandClock())
    assert updater.fetch(updater.releases("shelf")[0]).read_bytes() == b"first" * 100


def test_a_web_server_is_a_repository(updater: Updater, server: WebServer) -> None:
    assert updater.fetch(updater.releases("shelf")[0]).read_bytes() == b"first" * 100
    assert server.asked[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/x",
        "file://host/x",
        "",
        "http://user:secret@host/",
        "ftp://user:secret@host/",
        "http://host:port/",
        "http:///x",
        "a\0b",
        "file:///a%00b",
        "http://[::1",
        "https://user:secret@[x]/",
        "file://[x",
    ],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(Refused) as met:
        open_repository(address)
    assert met.value.mend and "secret" not in str(met.value)


def test_a_stick_that_is_not_plugged_in(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no repository"):
        read_whole(FolderTransport(tmp_path / "stick"), "metadata/timestamp.json", 10, 1.0)
    with pytest.raises(NotThere):
        read_whole(FolderTransport(tmp_path), "metadata/timestamp.json", 10, 1.0)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(Refused, match="not a file"):
        read_whole(FolderTransport(tmp_path), "x", 10, 1.0)


def test_a_folder_reads_on_from_a_byte(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    with FolderTransport(tmp_path).open("x", 1.0, 4) as stream:
        assert (stream.first_byte, stream.announced, b"".join(stream.pieces)) == (4, 6, b"456789")
    with pytest.raises(Moved), FolderTransport(tmp_path).open("x", 1.0, 11):
        pass


def drip(line: socket.socket, text: bytes) -> None:
    for place in range(len(text)):
        line.sendall(text[place : place + 1])
        time.sleep(0.1)


def slow_head(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    drip(line, b"HTTP/1.1 200 OK\r\n" + b"X-Wait: a little\r\n" * 50)


def slow_body(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    drip(line, b"{" * 500)


def silent(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    time.sleep(3)


def cut(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nhalf")


def nonsense(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    line.sendall(b"\x00\x01\x02 I am no web server\r\n\r\n")


def overloaded(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    line.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


def lying_chunks(line: socket.socket, path: str, headers: dict[str, str]) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n")


@pytest.mark.parametrize("answer", [slow_head, slow_body, silent, cut, nonsense, overloaded, lying_chunks])
def test_a_server_that_is_slow_silent_or_broken(
    updater: Updater, server: WebServer, answer: Callable[..., None]
) -> None:
    server.answer = answer
    began = time.monotonic()
    with pytest.raises(TryAgain) as met:
        updater.refresh()
    assert met.value.mend and time.monotonic() - began < 30
    server.answer = server.serve
    updater.refresh()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_a_server_that_never_ends(updater: Updater, server: WebServer, head: bytes) -> None:
    def endless(line: socket.socket, path: str, headers: dict[str, str]) -> None:
        line.sendall(head)
        piece = b"x" * 4096 if b"chunked" not in head else b"1000\r\n" + b"x" * 4096 + b"\r\n"
        while True:
            line.sendall(piece)

    server.answer = endless
    with pytest.raises(Refused, match="more than the"):
        updater.refresh()


def test_a_server_that_is_not_there(tmp_path: Path, sim: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    updater = Updater(tmp_path / "state", f"http://127.0.0.1:{port}/", sim.roots[0], HandClock())
    with pytest.raises(TryAgain, match="refused"):
        updater.refresh()


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//user:pw@127.0.0.1/x", "", "http://[::1"]
)
def test_a_redirect_to_elsewhere_is_refused(updater: Updater, server: WebServer, target: str) -> None:
    def redirect(line: socket.socket, path: str, headers: dict[str, str]) -> None:
        line.sendall(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())

    server.answer = redirect
    with pytest.raises(Refused):
        updater.refresh()
    assert len(server.asked) <= 2 * CEILINGS.redirects


def test_a_host_that_can_be_none(tmp_path: Path, sim: Simulator) -> None:
    for host in ("a" * 70 + ".example", "a..b", "no-such-host.invalid"):
        updater = Updater(tmp_path / "state", f"http://{host}/", sim.roots[0], HandClock(), ceilings=HASTY)
        with pytest.raises(TryAgain):
            updater.refresh()


def test_a_redirect_to_another_folder_is_followed(updater: Updater, server: WebServer) -> None:
    def redirect(line: socket.socket, path: str, headers: dict[str, str]) -> None:
        if path.startswith("/mirror/"):
            server.serve(line, path.removeprefix("/mirror"), headers)
        else:
            line.sendall(f"HTTP/1.1 301 Moved\r\nLocation: /mirror{path}\r\nContent-Length: 0\r\n\r\n".encode())

    server.answer = redirect
    assert updater.releases("shelf")


# Going on with a download


def test_a_download_goes_on_where_it_ended(tmp_path: Path, updater: Updater, server: WebServer) -> None:
    part = _part(tmp_path, updater)
    part.write_bytes((b"first" * 100)[:123])
    told: list[tuple[int, int]] = []
    path = updater.fetch(updater.releases("shelf")[0], lambda there, of: told.append((there, of)))
    assert path.read_bytes() == b"first" * 100 and not part.exists()
    assert server.asked[-1][1]["range"] == "bytes=123-" and told[-1] == (500, 500)


def test_a_line_that_breaks_again_and_again(tmp_path: Path, updater: Updater, server: WebServer) -> None:
    release = updater.releases("shelf")[0]

    def breaks(line: socket.socket, path: str, headers: dict[str, str]) -> None:
        if not path.startswith("/targets"):
            return server.serve(line, path, headers)
        first = int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        raw = (b"first" * 100)[first:]
        status = f"206 Part\r\nContent-Range: bytes {first}-499/500" if first else "200 OK"
        return line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw[:130])

    server.answer = breaks
    for _ in range(3):
        with pytest.raises(TryAgain, match="came short"):
            updater.fetch(release)
    assert updater.fetch(release).read_bytes() == b"first" * 100


@pytest.mark.parametrize("kind", ["ignores ranges", "another range", "416", "no content range"])
def test_a_server_that_can_not_go_on(tmp_path: Path, updater: Updater, server: WebServer, kind: str) -> None:
    _part(tmp_path, updater).write_bytes((b"first" * 100)[:123])

    def odd(line: socket.socket, path: str, headers: dict[str, str]) -> None:
        ranged = headers.pop("range", "")
        if not ranged or kind == "ignores ranges":
            return server.serve(line, path, headers)
        if kind == "416":
            return line.sendall(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n")
        field = b"Content-Range: bytes 7-499/500\r\n" if kind == "another range" else b""
        return line.sendall(b"HTTP/1.1 206 Part\r\n" + field + b"Content-Length: 4\r\n\r\nevil")

    server.answer = odd
    assert updater.fetch(updater.releases("shelf")[0]).read_bytes() == b"first" * 100


@pytest.mark.parametrize("left", [b"other" * 20, b"x" * 500, b"x" * 9_000, b""])
def test_a_part_that_does_not_fit_is_begun_afresh(tmp_path: Path, updater: Updater, left: bytes) -> None:
    _part(tmp_path, updater).write_bytes(left)
    assert updater.fetch(updater.releases("shelf")[0]).read_bytes() == b"first" * 100


def test_a_part_that_is_whole_is_not_asked_for_again(tmp_path: Path, updater: Updater, server: WebServer) -> None:
    _part(tmp_path, updater).write_bytes(b"first" * 100)
    asked = len(server.asked)
    assert updater.fetch(updater.releases("shelf")[0]).exists() and len(server.asked) == asked


def test_a_staged_file_that_was_spoiled_is_fetched_again(tmp_path: Path, updater: Updater) -> None:
    release = updater.releases("shelf")[0]
    path = updater.fetch(release)
    path.write_bytes(b"zero" * 125)
    assert updater.fetch(release).read_bytes() == b"first" * 100
    updater.discard(release)
    updater.discard(release)
    assert not list(path.parent.iterdir())


def test_wrong_bytes_leave_nothing(tmp_path: Path, updater: Updater, server: WebServer, folder: Path) -> None:
    release = updater.releases("shelf")[0]
    (bad,) = (folder / "targets" / "models" / "shelf").iterdir()
    bad.write_bytes(b"evil!" * 100)
    with pytest.raises(Refused, match="not the file"):
        updater.fetch(release)
    assert not list((tmp_path / "state" / "staging").iterdir())


def test_the_web_server_that_python_brings(tmp_path: Path, sim: Simulator, folder: Path) -> None:
    """It knows no ranges."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        updater = Updater(tmp_path / "state", f"http://127.0.0.1:{web.server_port}", sim.roots[0], HandClock())
        _part(tmp_path, updater).write_bytes((b"first" * 100)[:123])
        assert updater.fetch(updater.releases("shelf")[0]).read_bytes() == b"first" * 100
        with pytest.raises(NotThere):
            read_whole(HttpTransport(f"http://127.0.0.1:{web.server_port}/"), "metadata/9.root.json", 10, 5.0)
        web.shutdown()


# TLS


@pytest.mark.integration
def test_a_certificate_that_nobody_vouches_for(
    tmp_path: Path, folder: Path, program: Callable[[str, str], str]
) -> None:
    openssl = program("openssl", "openssl")
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def accept() -> None:
        line, _ = listener.accept()
        try:
            with context.wrap_socket(line, server_side=True) as secure:
                seen.append(secure.recv(100))
        except OSError:
            line.close()

    threading.Thread(target=accept, daemon=True).start()
    transport = HttpTransport(f"https://localhost:{listener.getsockname()[1]}/")
    with pytest.raises(Unavailable, match="certificate"):
        read_whole(transport, "metadata/timestamp.json", 10, 5.0)
    listener.close()
    assert not seen, "nothing is sent to a server that is not the right one"


def test_a_line_that_is_cut_keeps_its_session_for_whoever_reads(tmp_path: Path) -> None:
    """ssl's own `shutdown` takes it away, and the reader then meets an AttributeError or a ValueError."""
    near, far = socket.socketpair()
    context = ssl.create_default_context()
    line = _Line(urlsplit("https://localhost/"), time.monotonic() + 60.0, 1.0)
    with far, context.wrap_socket(near, server_hostname="localhost", do_handshake_on_connect=False) as shaken:
        line._socket = shaken
        line._cut()
        with pytest.raises(OSError):
            shaken.do_handshake()
    line.close()


def test_a_handshake_that_drips_is_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            line, _ = listener.accept()
            with line:
                try:
                    drip(line, b"\x16\x03\x03\x40\x00" + b"\x02" * 100)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        transport = HttpTransport(f"https://localhost:{listener.getsockname()[1]}/", HASTY)
        with pytest.raises(EdgeError) as met:
            read_whole(transport, "x", 10, 0.6)
        assert isinstance(met.value, TryAgain)
