"""Fault 25 with one mosquitto: killed after it has acknowledged, with what it had not yet written.

A reader is away, with a session that the broker keeps; the device tells everything; the broker is killed before it next
writes its file, and started again; the reader comes back. With `receipts = "broker"` the device believed the
acknowledgement and the records are gone. With a collector's word they wait in the spool until the reader has them.
"""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.cluster_kills import Keeper, settle, until
from benchmarks.faults.row import Row
from benchmarks.faults.teller import Teller, Verdict, compare
from edge_runtime.assets import broker_files
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import free_port

_SECURED = ("cafile", "certfile", "keyfile", "crlfile", "tls_version", "require_", "use_identity", "acl_file", "allow_")


class PlainMosquitto:
    """mosquitto with the limits and the persistence of deploy/mosquitto, without certificates and rules."""

    def __init__(self, folder: Path, autosave_s: int = 10) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        shipped = (broker_files("mosquitto") / "mosquitto.conf").read_text("utf-8").splitlines()
        lines = [line for line in shipped if not line.startswith(_SECURED)]
        text = "\n".join([*lines, "allow_anonymous true", f"user {getpass.getuser()}"]) + "\n"
        for old, new in (
            ("listener 8883", f"listener {self.port} 127.0.0.1"),
            ("/var/lib/mosquitto/", f"{folder}/"),
            ("log_dest syslog", f"log_dest file {folder}/mosquitto.log"),
            ("autosave_interval 10", f"autosave_interval {autosave_s}"),
        ):
            text = text.replace(old, new)
        (folder / "mosquitto.conf").write_text(text, "utf-8")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Raises Unavailable without the program."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/sbin")
        if program is None:
            raise Unavailable("mosquitto is not installed", "apt-get install mosquitto")
        self._process = subprocess.Popen(
            [program, "-c", str(self._folder / "mosquitto.conf")], stderr=subprocess.DEVNULL
        )
        until(self._listens, "mosquitto listens")

    def kill(self) -> None:
        """SIGKILL."""
        self._end("kill")

    def stop(self) -> None:
        """SIGTERM: it writes what it has."""
        self._end("terminate")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is not None:
            getattr(process, how)()
            process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def play(folder: Path, proof: str, events: int) -> Verdict:
    """What the reader has in the end of what the device's spool had taken."""
    (folder / "broker").mkdir(parents=True)
    broker = PlainMosquitto(folder / "broker", autosave_s=600)
    broker.start()
    Keeper((broker.port,)).close()  # its session, and its subscription
    broker.stop()
    broker.start()
    try:
        with Teller(folder / "device", broker.url, events, 500.0, "--proof", proof) as teller:
            if proof == "collector":
                until(lambda: len(_taken(folder)) >= events, "the spool has all")
                time.sleep(1.0)
            else:
                until(lambda: teller.done, "the device believes that it has told all")
            broker.kill()
            broker.start()
            keeper = Keeper((broker.port,), acknowledges=proof == "collector")
            until(lambda: teller.done, "the device believes that it has told all")
            settle(keeper, 3.0)
            keeper.close()
        return compare(folder / "device", keeper.seen)
    finally:
        broker.stop()


def _taken(folder: Path) -> list[str]:
    path = folder / "device" / "taken.ledger"
    return path.read_text("ascii").splitlines() if path.exists() else []


def campaign(quick: bool) -> Iterator[Row]:
    """A collector's word against the broker's."""
    events = 200 if quick else 2_000
    with tempfile.TemporaryDirectory(prefix="broker-kills-") as name:
        believed = {proof: play(Path(name) / proof, proof, events) for proof in ("broker", "echo")}
        proven = play(Path(name) / "collector", "collector", events)
    gone = ", ".join(f"{len(v.lost):,} of {v.taken:,} with receipts = {proof}" for proof, v in believed.items())
    fallen = len(proven.lost) + len(proven.doubled)
    yield Row(
        25,
        "mosquitto is killed while a reader is away, receipts = collector",
        proven.taken,
        proven.taken - fallen,
        f"acknowledged records that are gone otherwise: {gone} (docs/brokers.md)",
    )
