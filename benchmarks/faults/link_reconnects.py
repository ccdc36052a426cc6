"""Fault 18: a thousand connections that come and go, or do not come about, leave no thread, file or memory behind.

`python -m benchmarks.faults.link_reconnects [--quick]` prints the rows.
"""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.row import Row
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.settings import Dialect, MqttSettings, Proof
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics

CONNECTIONS, QUICK_CONNECTIONS = 1_000, 60
SETTLED_AFTER = 0.1
"""Of them: what is there then is what a link needs."""
GROWTH_KB = 1_024
PAGE_KB = 4
ANSWERS = {
    "connects, and is cut": b"\x20\x02\x00\x00",
    "connects with MQTT 5, and is cut": b"\x20\x03\x00\x00\x00",
    "is refused": b"\x20\x02\x00\x03",
    "gets no answer": b"",
    "gets an answer that makes no sense": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds."""

    threads: int
    files: int
    rss_kb: int


def held_now() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return Held(threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), pages * PAGE_KB)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that gives one answer to whatever it is told, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                try:
                    end, _ = server.accept()
                except TimeoutError:
                    continue
                with end:
                    end.settimeout(2.0)
                    try:
                        end.recv(65_536)
                        end.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


class Hasty(MqttLink):
    """Without the pauses."""

    def _pause_s(self) -> float:
        return 0.001


def run(name: str, answer: bytes, connections: int) -> Row:
    dialect = Dialect.V5 if "MQTT 5" in name else Dialect.V311
    with answering(answer) as port:
        settings = MqttSettings(f"mqtt://127.0.0.1:{port}", "box", dialect=dialect, proof=Proof.ECHO)
        link = Hasty(settings, Stamp(Topics("store", "box"), 1))
        link.start()
        held = []
        for number in (int(connections * SETTLED_AFTER), connections):
            until_s = time.monotonic() + 300.0
            while link._failures < number and time.monotonic() < until_s:
                time.sleep(0.01)
            held.append(held_now())
        made = link._failures
        link.stop()
    before, after = held
    flat = after.threads <= before.threads + 1 and after.files <= before.files + 4
    flat &= after.rss_kb - before.rss_kb <= GROWTH_KB and made >= connections
    note = (
        f"threads {before.threads} -> {after.threads}, files {before.files} -> {after.files}, "
        f"memory {after.rss_kb - before.rss_kb:+} kB"
    )
    return Row(18, f"a link {name}, again and again", connections, connections if flat else 0, note)


def campaign(quick: bool) -> Iterable[Row]:
    for name, answer in ANSWERS.items():
        yield run(name, answer, QUICK_CONNECTIONS if quick else CONNECTIONS)


if __name__ == "__main__":
    for row in campaign("--quick" in sys.argv):
        print(row, flush=True)
