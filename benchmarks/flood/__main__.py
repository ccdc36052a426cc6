"""A flood of 2,000 hostile messages a second against a device: frames, processor, and what still gets through.

usage: python -m benchmarks.flood [--broker nats|mosquitto] [--rounds 3] [--window 20] [--per-s 2000] [--no-valve]

Windows alternate in one run: calm; the same flood under a topic that the device does not hear (what broker and flooder
cost the machine); the flood under the device's own command topic. The daemon has one processor to itself where there
are two, everything else the other. A signed ping is on its way all the time, sent again every two seconds until it is
answered. Timings depend on the machine and on what else it does: compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.daemon import cpu_s, resident_mb
from benchmarks.faults.hostile_brokers import mosquitto, nats
from benchmarks.faults.hostile_mint import TOPICS, Mint
from edge_runtime.assets import demo_layout
from edge_runtime.lifecycle.trust.command_keys import encode_command_keys

CONFIG = """
[device]
id = "box"
site = "store"
groups = ["canary"]
[[camera]]
name = "shelf"
source = "{source}"
layout = "{layout}"
interval_s = 0.05
[mqtt]
url = "mqtt://127.0.0.1:{port}"
commands = "signed"
command_keys = "{keys}"
[telemetry]
interval_s = 5
[storage]
state_dir = "{state}"
[view]
port = 0
"""
WINDOWS = ("calm", "elsewhere", "flood")
RESEND_S = 2.0
SETTLE_S = 1.0
"""Left out at the beginning of each window."""
MESSAGES = 400


@dataclass
class Window:
    """One stretch of time."""

    kind: str
    began_s: float
    ended_s: float
    cpu_s: float
    answered: list[float] = field(default_factory=list)
    """Seconds from sending a ping for the first time to its answer."""
    waiting_s: float = 0.0
    """How long the ping that was not answered has waited."""
    rss_mb: float = 0.0
    """At its end."""
    events: int = 0
    """Records of the device that a subscriber got."""


class Operator:
    """Sends a signed ping, and the next when it is answered."""

    def __init__(self, port: int, mint: Mint) -> None:
        self._mint = mint
        self._asked = ""
        self._first_s = self._last_s = 0.0
        self._payload = b""
        self.answered: list[float] = []
        self.events = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "operator")
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(
            [(f"{TOPICS.base}/resp/+", 1), (f"{TOPICS.base}/telemetry", 1), (f"{TOPICS.base}/event/#", 1)]
        )
        self._client.loop_start()

    def step(self) -> None:
        now_s = time.monotonic()
        if not self._asked:
            self._mint.now = time.time()
            command = self._mint.command()
            self._asked, self._first_s = str(command["id"]), now_s
            self._payload = self._mint.signed(command).payload
            self._last_s = 0.0
        if now_s - self._last_s >= RESEND_S:
            self._last_s = now_s
            self._client.publish(TOPICS.command("ping"), self._payload, 1)

    @property
    def waiting_s(self) -> float:
        return time.monotonic() - self._first_s if self._asked else 0.0

    def _heard(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        if "/resp/" not in message.topic:
            self.events += 1
            return
        answer = json.loads(message.payload)
        if answer["id"] == self._asked and answer["state"] == "succeeded":
            self.answered.append(time.monotonic() - self._first_s)
            self._asked = ""

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def run_windows(
    asked: argparse.Namespace, device: int, flooder: subprocess.Popen[str], operator: Operator, orders: dict[str, str]
) -> list[Window]:
    windows = []
    for kind in WINDOWS * asked.rounds:
        assert flooder.stdin is not None
        flooder.stdin.write(orders[kind] + "\n")
        flooder.stdin.flush()
        time.sleep(SETTLE_S)
        answered, events = len(operator.answered), operator.events
        window = Window(kind, time.monotonic(), 0.0, cpu_s(device))
        while time.monotonic() < window.began_s + asked.window:
            operator.step()
            time.sleep(0.02)
        window.ended_s = time.monotonic()
        window.cpu_s = cpu_s(device) - window.cpu_s
        window.answered = operator.answered[answered:]
        window.waiting_s = operator.waiting_s
        window.events = operator.events - events
        window.rss_mb = resident_mb(device)
        windows.append(window)
        print(f"{kind:9} {len(window.answered)} pings answered", file=sys.stderr, flush=True)
    return windows


def figures(ledger: Path, windows: list[Window], kind: str) -> dict[str, object]:
    """Of all windows of one kind together."""
    rows = np.array([[float(x) for x in line.split()] for line in ledger.read_text().splitlines()])
    ms, cpu, seconds, judged, dropped = [], 0.0, 0.0, 0.0, 0.0
    chosen = [window for window in windows if window.kind == kind]
    for window in chosen:
        inside = rows[(rows[:, 0] >= window.began_s) & (rows[:, 0] < window.ended_s)]
        ms += inside[:, 1].tolist()
        cpu += window.cpu_s
        seconds += window.ended_s - window.began_s
        judged += inside[-1, 2] - inside[0, 2]
        dropped += inside[-1, 3] - inside[0, 3]
    answered = [wait for window in chosen for wait in window.answered]
    return {
        "frames": len(ms),
        "fps": round(len(ms) / seconds, 2),
        "p50_ms": round(float(np.percentile(ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
        "cpu_percent": round(100 * cpu / seconds, 1),
        "messages_judged": int(judged),
        "messages_dropped": int(dropped),
        "pings_answered": len(answered),
        "ping_s": round(float(np.median(answered)), 2) if answered else None,
        "longest_wait_s": round(max([*answered, *(window.waiting_s for window in chosen)], default=0.0), 1),
        "rss_mb": [window.rss_mb for window in chosen],
        "records_received": sum(window.events for window in chosen),
    }


@contextmanager
def processes(
    asked: argparse.Namespace, folder: Path, port: int, mint: Mint
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Camera, device and flooder; (the device's process, the flooder)."""
    (folder / "keys.json").write_bytes(encode_command_keys(mint.keys))
    serve = [sys.executable, "-m", "edge_runtime.simulator", "serve", "--port", "0", "--fps", str(asked.fps)]
    camera = subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert camera.stdout is not None
    source = json.loads(camera.stdout.readline())["url"] + "/stream.mjpg"
    config = folder / "device.toml"
    config.write_text(
        CONFIG.format(source=source, layout=demo_layout(), port=port, keys=folder / "keys.json", state=folder / "state")
    )
    run = [sys.executable, "-m", "benchmarks.flood.device", str(config), str(folder / "ledger")]
    with (folder / "log").open("wb") as log:
        device = subprocess.Popen([*run, *(["--no-valve"] if asked.no_valve else [])], stderr=log)
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(device.pid, {0})
    aim = [sys.executable, "-m", "benchmarks.flood.flooder", str(port), str(asked.per_s)]
    flooder = subprocess.Popen(aim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield device.pid, flooder
    finally:
        flooder.communicate(timeout=20)
        device.send_signal(signal.SIGTERM)
        device.wait(timeout=30)
        camera.terminate()
        camera.wait(timeout=20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=("nats", "mosquitto"), default="nats")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=20.0)
    parser.add_argument("--per-s", type=float, default=2000.0)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--no-valve", action="store_true", help="the device goes on listening")
    asked = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)))  # what is started from here inherits it
    broker = {"nats": nats, "mosquitto": mosquitto}[asked.broker]
    with tempfile.TemporaryDirectory() as name, broker(Path(name) / "broker") as port:
        print(json.dumps(measure(asked, Path(name), port), indent=2))
    return 0


def measure(asked: argparse.Namespace, folder: Path, port: int) -> dict[str, object]:
    mint = Mint(folder / "keys", 6, time.time())
    orders = make_orders(folder, mint)
    with processes(asked, folder, port, mint) as (device, flooder):
        wait_for_frames(folder / "ledger", 30)
        operator = Operator(port, mint)
        windows = run_windows(asked, device, flooder, operator, orders)
        operator.close()
    found = {kind: figures(folder / "ledger", windows, kind) for kind in WINDOWS}
    control, flood = found["elsewhere"], found["flood"]
    ratios = {
        f"{key}_flood_to_elsewhere": round(float(str(flood[key])) / float(str(control[key])), 3)
        for key in ("p50_ms", "p99_ms")
    }
    return {"broker": asked.broker, "per_s": asked.per_s, **found, **ratios}


def make_orders(folder: Path, mint: Mint) -> dict[str, str]:
    """What the flooder is told in each window."""
    mint.seen.append(mint.honest())
    messages = [mint.payload() for _ in range(MESSAGES)]
    (folder / "messages").write_text("\n".join(raw.hex() for raw in messages if raw and len(raw) < 20_000))
    flood = f"{TOPICS.command('ping')} {folder / 'messages'}"
    return {"calm": "-", "elsewhere": f"elsewhere/cmd/ping {folder / 'messages'}", "flood": flood}


def wait_for_frames(ledger: Path, count: int) -> None:
    until_s = time.monotonic() + 60
    while not ledger.exists() or len(ledger.read_text().splitlines()) < count:
        if time.monotonic() > until_s:
            sys.exit("the device does not come up:\n" + ledger.with_name("log").read_text())
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
