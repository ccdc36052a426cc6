"""The daemon as a device runs it: start to first result, memory, CPU and milliseconds by stage.

usage: python -m benchmarks.daemon [--frames 1000] [--fps 10]

A simulated camera (1280x960, 24 slots, a process of its own), nats-server and `edge-runtime run` with its local page.
Timings depend on the machine and on what else it does: compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_runtime.assets import demo_layout
from edge_runtime.fleet.local_broker import LocalBroker

MARKS = (1, 10, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
CONFIG = """
[device]
id = "bench"
site = "bench"
[[camera]]
name = "shelf"
source = "{source}"
layout = "{layout}"
interval_s = 0.05
[mqtt]
url = "{broker}"
[storage]
state_dir = "{state}"
[view]
port = 0
"""


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def camera_of(state: Path) -> dict[str, object]:
    """The camera's line of the status file, or nothing yet."""
    try:
        cameras: list[dict[str, object]] = json.loads((state / "status.json").read_text())["cameras"]
    except (OSError, ValueError):
        return {}
    return cameras[0] if cameras else {}


def watch(daemon: subprocess.Popen[bytes], folder: Path, frames: int, began: float) -> dict[str, object]:
    """Follow the daemon until it has seen so many frames."""
    memory: dict[int, float] = {}
    first: float | None = None
    while True:
        if daemon.poll() is not None:
            sys.exit((folder / "log").read_text())
        if first is None and b"first result" in (folder / "log").read_bytes():
            first = round(time.monotonic() - began, 2)
        camera = camera_of(folder / "state")
        seen = int(str(camera.get("frames", 0)))
        for mark in MARKS:
            if seen >= mark and mark not in memory:
                memory[mark] = resident_mb(daemon.pid)
        if seen >= frames:
            return {
                "frames": seen,
                "first_result_s": first,
                "rss_mb": memory | {seen: resident_mb(daemon.pid)},
                "cpu_ms_per_frame": round(1000 * cpu_s(daemon.pid) / seen, 1),
                "ms": camera.get("ms"),
            }
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--fps", type=float, default=10.0)
    asked = parser.parse_args()
    serve = [sys.executable, "-m", "edge_runtime.simulator", "serve", "--port", "0", "--fps", str(asked.fps)]
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "broker") as broker:
        folder = Path(name)
        camera = subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert camera.stdout is not None
        source = json.loads(camera.stdout.readline())["url"] + "/stream.mjpg"
        config = CONFIG.format(source=source, layout=demo_layout(), broker=broker.url, state=folder / "state")
        (folder / "device.toml").write_text(config)
        began = time.monotonic()
        with (folder / "log").open("wb") as log:
            run = [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(folder / "device.toml")]
            daemon = subprocess.Popen(run, stderr=log)
        try:
            print(json.dumps(watch(daemon, folder, asked.frames, began)))
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=20)
            camera.terminate()
            camera.wait(timeout=20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
