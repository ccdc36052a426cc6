"""The demo's stage: simulator, broker and daemon as processes of their own, in one folder, ended in the right order."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_runtime.cli.scoring import Truth
from edge_runtime.cli.witness import Witness, last_words
from edge_runtime.errors import TryAgain, Unavailable
from edge_runtime.fleet.local_broker import LocalBroker
from edge_runtime.lifecycle.store import ModelStore

SITE, DEVICE, CAMERA = "demo-store", "demo-device", "bay"
START_S = 60.0
STOP_S = 15.0
_CONFIG = """\
[device]
id = "{device}"
site = "{site}"
[[camera]]
name = "{camera}"
source = "{source}"
layout = "layout.json"
interval_s = {interval_s}
[mqtt]
url = "{broker}"
commands = "{commands}"
[telemetry]
interval_s = {telemetry_s}
heartbeat_s = 1
[storage]
state_dir = "state"
[view]
enabled = {view}
port = {port}
{more}
"""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What the stage shows."""

    bundle: Path | None = None
    """Run this model instead of the newest that ships with the runtime."""
    view: bool = True
    port: int = 0
    fps: float = 2.0
    commands: str = "off"
    telemetry_s: float = 5.0
    prepare: Callable[[Path], str] = lambda folder: ""
    """Called with the stage's folder before the daemon starts; gives more of its device.toml."""


class Stage:
    """`with Stage(folder) as stage`: everything runs; on leaving, the daemon ends first, then the witness, broker, store."""

    def __init__(self, folder: Path, plan: StagePlan | None = None) -> None:
        self.folder = folder
        self._plan = plan or StagePlan()
        self.broker = ""
        """The broker's address, once it runs."""
        self._ending = ExitStack()
        self._url = ""
        self._truth = Truth()
        self._daemon: subprocess.Popen[bytes] | None = None
        self.witness: Witness

    def __enter__(self) -> Stage:
        try:
            broker = self._ending.enter_context(LocalBroker(self.folder / "broker"))
            self.broker = broker.url
            self._url = self._open_store()
            for name in ("layout.json", "reference.jpg"):
                (self.folder / name).write_bytes(self._get(f"/{name}"))
            self.witness = Witness(broker.url, SITE, DEVICE, self.truth)
            self.witness.start()
            self._ending.callback(self.witness.stop)
            self._await(lambda: self.witness.connected, "the subscriber found no broker", self.folder / "broker")
            if self._plan.bundle is not None:
                store = ModelStore(self.folder / "state", (), allow_unsigned=True)
                store.activate(store.install(self._plan.bundle))
            self._start_daemon(self._plan.prepare(self.folder))
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_daemon()
        self._ending.close()

    def stop_daemon(self) -> None:
        """SIGTERM, and wait: it sends what it has and says goodbye. May be called twice."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            _end(daemon)

    def check(self) -> None:
        """Raises Unavailable if the daemon ended by itself."""
        if self._daemon is not None and self._daemon.poll() is not None:
            words = last_words(self.folder / "daemon.log")
            raise Unavailable(
                f"the daemon ended with code {self._daemon.returncode}: {words}", "See `edge-runtime doctor`"
            )

    def status(self) -> dict[str, Any]:
        """The daemon's status file; empty before the first."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "state" / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def truth(self, at: float) -> Mapping[str, str] | None:
        """What the slots really were in the frame captured at a wall-clock time."""
        if at >= self._truth.newest:
            self._learn()
        return self._truth.of(at)

    def _learn(self) -> None:
        """Ask the store for the truth of the frames since the last time."""
        try:
            record = json.loads(self._get(f"/truth?since={self._truth.newest:.6f}"))
        except TryAgain:
            return
        for frame in record["frames"]:
            self._truth.add(float(frame["at"]), frame["states"])

    def _open_store(self) -> str:
        """Start the simulated store; its first line says where it listens."""
        log_file = self.folder / "simulator.log"
        with log_file.open("wb") as log_to:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge_runtime.simulator", "serve", "--fps", str(self._plan.fps)],
                stdin=subprocess.PIPE,  # it ends when this closes, even if this process is killed
                stdout=subprocess.PIPE,
                stderr=log_to,
                process_group=0,
                cwd=self.folder,
            )
        self._ending.callback(_end, process)
        assert process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if waiting.select(START_S) else b""
        try:
            return str(json.loads(line)["url"]).rstrip("/")
        except (ValueError, KeyError, TypeError):
            raise Unavailable(
                f"the simulated store did not open: {last_words(log_file)}", "See `edge-runtime doctor`"
            ) from None

    def _start_daemon(self, more: str) -> None:
        plan = self._plan
        config = self.folder / "device.toml"
        config.write_text(
            _CONFIG.format(
                device=DEVICE,
                site=SITE,
                camera=CAMERA,
                source=f"{self._url}/stream.mjpg",
                interval_s=1.0 / plan.fps,
                broker=self.broker,
                commands=plan.commands,
                telemetry_s=plan.telemetry_s,
                view=str(plan.view).lower(),
                port=plan.port,
                more=more,
            ),
            "utf-8",
        )
        development = ["--development"] if plan.bundle is not None else []  # a file that nobody has signed
        with (self.folder / "daemon.log").open("wb") as log_to:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(config), *development],
                stdin=subprocess.DEVNULL,
                stdout=log_to,
                stderr=subprocess.STDOUT,
                process_group=0,
                cwd=self.folder,
            )
        self._ending.callback(self.stop_daemon)

    def _get(self, path: str) -> bytes:
        try:
            with urllib.request.urlopen(self._url + path, timeout=10.0) as answer:
                body: bytes = answer.read()
        except (OSError, urllib.error.URLError) as fault:
            raise TryAgain(f"the simulated store did not answer {path.partition('?')[0]}: {fault}") from None
        return body

    def _await(self, there: Any, found: str, where: Path) -> None:
        until_s = time.monotonic() + START_S
        while not there():
            if time.monotonic() > until_s:
                raise Unavailable(found, f"See {where}")
            time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL if that does not help."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
