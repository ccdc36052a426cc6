"""A whole device as a process: a real camera over HTTP, a real store, and systemd's end of its notifications."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.daemon.status_file import StatusRecord, read_status
from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.store import ModelStore
from tests.camera.web_camera import WebCamera, jpeg
from tests.daemon.rig import noisy, shelf_picture, write_shelf
from tests.daemon.test_notify import Listener
from tests.lifecycle.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; from pathlib import Path; from edge_runtime.daemon.service import serve; sys.exit(serve(Path(sys.argv[1])))"
PATIENCE_S = 60.0


class NoisyCamera(WebCamera):
    """A network camera whose pictures differ by a sensor's noise; `pixels` is what it sees."""

    def __init__(self) -> None:
        self.pixels = shelf_picture()
        self._asked = 0
        super().__init__()

    @property  # type: ignore[override]
    def picture(self) -> bytes:
        self._asked += 1
        return jpeg(noisy(self.pixels, self._asked))

    @picture.setter
    def picture(self, raw: bytes) -> None:
        """The base class begins with a picture of its own."""


class Device:
    """`with Device(folder) as device:`; the configuration's sections are plain attributes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.config = folder / "device.toml"
        self.state_dir = folder / "state"
        self.camera = NoisyCamera()
        self.systemd = Listener(str(folder / "notify"))
        self.messages: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"
        self.id = "dev-1"
        self.view = "enabled = false"
        self.extra = ""

    def __enter__(self) -> Device:
        write_shelf(self.folder / "shelf")
        self.camera.start()
        store = ModelStore(self.state_dir, [])
        for release, version in enumerate(("1.0.0", "1.1.0"), start=1):
            bundle = make_bundle(self.folder / f"shelf-test-{version}.zip", version)
            store.activate(store.install(bundle, Origin("repository", release, "tests")))
        return self

    def __exit__(self, *args: object) -> None:
        self.camera.stop()
        self.systemd.socket.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def write_config(self) -> None:
        self.config.write_text(
            f'[device]\nid = "{self.id}"\nsite = "store"\n'
            f'[[camera]]\nname = "a"\nsource = "{self.camera.uri("/still.jpg")}"\nlayout = "shelf/layout.json"\n'
            f"interval_s = 0.1\n[view]\n{self.view}\n{self.extra}"
        )

    def start(self) -> None:
        self.launch([sys.executable, "-c", PROGRAM])

    def launch(self, command: list[str]) -> None:
        """Start the process by a command that takes the configuration as its last argument."""
        self.write_config()
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "2000000",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("WATCHDOG_PID", None)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, str(self.config)], env=environment, stderr=log, stdout=log)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def status(self) -> StatusRecord | None:
        try:
            return read_status(self.state_dir)
        except EdgeError:
            return None

    def until(self, holds: Callable[[StatusRecord], bool]) -> StatusRecord:
        """Wait for a status of the process that runs."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            record = self.status()
            assert self.process is not None
            if record is not None and record.pid == self.process.pid and holds(record):
                return record
            assert self.process.poll() is None, self.log.read_text()
            self.messages += self.systemd.heard()
            time.sleep(0.02)
        raise AssertionError(f"it never came to that: {self.status()}\n{self.log.read_text()}")
