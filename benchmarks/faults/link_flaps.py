"""Fault 18: a device that tells while its connection, its broker and itself are cut, swallowed, slowed down and killed.

A real device process, a real broker, a TCP proxy between them and a witness beside them. After each kind of fault all
that the device's spool has taken must have been seen by the witness, each record under one id.
`python -m benchmarks.faults.link_flaps [--quick]` prints the rows.
"""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from benchmarks.faults.row import Row
from benchmarks.faults.tcp_proxy import Proxy
from benchmarks.faults.teller import Teller, Verdict, Witness, compare
from edge_runtime.fleet.local_broker import LocalBroker, free_port

QUICK_FLAPS = 3
PER_S = 40.0
HASTE = 40.0
KEEPALIVE_S = 5
RECOVERS_S = 60.0
DRAINS_S = 180.0


class Broker(Protocol):
    @property
    def port(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Mosquitto:
    """mosquitto on the loopback, killed with SIGKILL."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
            f"persistence true\npersistence_location {folder}/\nlog_dest file {folder}/mosquitto.log\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/sbin")
        if program is None:
            raise FileNotFoundError("mosquitto")
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 10.0
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Scene:
    """A broker and what the device takes as proof there."""

    name: str
    broker: Literal["nats-server", "mosquitto"]
    dialect: str
    proof: str


SCENES = (
    Scene("nats-server, 3.1.1, echo", "nats-server", "auto", "echo"),
    Scene("mosquitto, 5, echo", "mosquitto", "5", "echo"),
    Scene("mosquitto, 3.1.1, collector", "mosquitto", "3.1.1", "collector"),
)


@dataclass(slots=True)
class Stage:
    """All that takes part."""

    broker: Broker
    proxy: Proxy
    teller: Teller
    witness: Witness

    def arrives(self, more: int = 5) -> None:
        """Wait until the witness has seen some more. TimeoutError if it does not."""
        wanted = len(self.witness.numbers) + more
        await_(lambda: len(self.witness.numbers) >= wanted, "records arrive again")


Flap = Callable[[Stage, int], None]
"""One fault; the number says which of them. When it returns, the connection may still be broken."""


def cut_upward(stage: Stage, number: int) -> None:
    """After each few bytes from the device: within CONNECT, SUBSCRIBE, the birth, and records."""
    _cut_after(stage, 1 + number * 17, "up")


def cut_downward(stage: Stage, number: int) -> None:
    """After each few bytes from the broker: within CONNACK, SUBACK, PUBACK, and echoes."""
    _cut_after(stage, 1 + number * 11, "down")


def _cut_after(stage: Stage, count: int, side: Literal["up", "down"]) -> None:
    stage.proxy.cut_after(count, side, reset=bool(count % 2))
    stage.proxy.cut()
    await_(lambda: not stage.proxy.cutting, "the cut comes")


def reset(stage: Stage, number: int) -> None:
    """RST to both, at any moment."""
    stage.arrives(1 + number % 7)
    stage.proxy.cut()


def half_open(stage: Stage, number: int) -> None:
    """The broker is gone and nobody says so: only the keep-alive can find it."""
    stage.arrives(1 + number % 7)
    stage.proxy.half_open()


def black_hole(stage: Stage, number: int) -> None:
    """Connections are taken and nothing comes back; then they end."""
    stage.proxy.black_hole(True)
    time.sleep(0.2 + 0.1 * (number % 5))
    stage.proxy.black_hole(False)


def slow(stage: Stage, number: int) -> None:
    """2 kB/s and half a second each way, and a cut at the end of it."""
    stage.proxy.throttle(2_000.0)
    stage.proxy.delay(0.25)
    time.sleep(1.0 + 0.2 * (number % 5))
    stage.proxy.throttle(None)
    stage.proxy.delay(0.0)
    stage.proxy.cut()


def broker_killed(stage: Stage, number: int) -> None:
    """SIGKILL and a start, at any moment."""
    time.sleep(0.01 * (number % 13))
    stage.broker.kill()
    stage.broker.start()


def device_killed(stage: Stage, number: int) -> None:
    """SIGKILL and a start, at any moment, also while it still connects."""
    time.sleep(0.05 * (number % 13))
    stage.teller.kill()
    stage.teller.start()


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    flap: Flap
    flaps: int


KINDS = (
    Kind("cut mid-packet, from the device", cut_upward, 60),
    Kind("cut mid-packet, from the broker", cut_downward, 60),
    Kind("connection reset", reset, 20),
    Kind("half-open", half_open, 6),
    Kind("black hole", black_hole, 15),
    Kind("throttled and delayed, then cut", slow, 9),
    Kind("broker killed with SIGKILL", broker_killed, 15),
    Kind("device killed with SIGKILL", device_killed, 15),
)
"""200 flaps a scene."""


def await_(found: Callable[[], object], what: str, seconds: float = RECOVERS_S) -> None:
    """TimeoutError naming it if it does not come."""
    until_s = time.monotonic() + seconds
    while not found():
        if time.monotonic() > until_s:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)


@contextmanager
def staged(scene: Scene, folder: Path) -> Iterator[Stage]:
    """The broker, the witness, the proxy and the device, started in this order."""
    broker: Broker = Mosquitto(folder / "broker") if scene.broker == "mosquitto" else LocalBroker(folder / "broker")
    broker.start()
    try:
        witness = Witness(broker.port, confirms=scene.proof == "collector")
        try:
            with Proxy(broker.port) as proxy:
                options = ("--proof", scene.proof, "--dialect", scene.dialect, "--haste", str(HASTE))
                keep = ("--keepalive", str(KEEPALIVE_S))
                with Teller(folder / "device", proxy.url, 1_000_000, PER_S, *options, *keep) as teller:
                    yield Stage(broker, proxy, teller, witness)
        finally:
            witness.close()
    finally:
        broker.stop()


def run(scene: Scene, kind: Kind, flaps: int, folder: Path) -> Row:
    """One row: so many flaps of a kind in a scene. All of them hold if every record was seen, under one id."""
    what = f"{kind.name}: {scene.name}"
    with staged(scene, folder) as stage:
        done = 0
        try:
            stage.arrives()
            for number in range(flaps):
                kind.flap(stage, number * kind.flaps // flaps)
                stage.arrives(2)
                done += 1
            stage.teller.enough()
            await_(lambda: stage.teller.done, "the spool is empty", DRAINS_S)
            verdict = _verdict(stage)
        except TimeoutError as fault:
            return Row(18, what, flaps, done, f"{fault} ({_last_words(stage)})")
    return Row(18, what, flaps, flaps if verdict.held else 0, _told(verdict))


def _verdict(stage: Stage) -> Verdict:
    """After what is on its way to the witness has come."""
    verdict = compare(stage.teller.folder, stage.witness.seen)
    until_s = time.monotonic() + 10.0
    while verdict.lost and time.monotonic() < until_s:
        time.sleep(0.1)
        verdict = compare(stage.teller.folder, stage.witness.seen)
    return verdict


def _told(verdict: Verdict) -> str:
    return (
        f"{verdict.taken:,} records, {len(verdict.lost)} lost, {len(verdict.doubled)} doubled, "
        f"{verdict.repeats:,} repeated under the same id"
    )


def _last_words(stage: Stage) -> str:
    lines = (stage.teller.folder / "teller.log").read_text("utf-8", "replace").strip().splitlines()
    return json.dumps(lines[-1][:200]) if lines else "the device said nothing"


def campaign(quick: bool) -> Iterable[Row]:
    """Every kind in every scene; `quick`: some flaps of each kind in one scene.

    But for one: mosquitto loses with a SIGKILL what it has acknowledged and not yet handed to the witness, and an echo
    can not prove more than that the broker had it. There a collector is the proof.
    """
    for scene in SCENES[:1] if quick else SCENES:
        for kind in KINDS:
            if kind.flap is broker_killed and scene.broker == "mosquitto" and scene.proof == "echo":
                continue
            flaps = min(QUICK_FLAPS, kind.flaps) if quick else kind.flaps
            with tempfile.TemporaryDirectory(prefix="link-flaps-") as folder:
                yield run(scene, kind, flaps, Path(folder))


if __name__ == "__main__":
    for row in campaign("--quick" in sys.argv):
        print(row, flush=True)
