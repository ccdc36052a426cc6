"""A device that only tells: numbered durable events through spool, uplink and link, in a process that may be killed.

`python -m benchmarks.faults.teller FOLDER URL --events 500` counts on from where it was killed. What it asks of the
spool and what the spool has taken is in two ledgers, fsynced; `Witness` is who listens, and `compare` the verdict.
A number is asked for once, whatever happens; it may be taken though the ledger does not know yet, so a number that only
the witness knows is no fault, and one in two records under different ids is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.settings import Dialect, MqttSettings, Proof
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.courier import CourierSettings
from edge_runtime.telemetry.messages import Ack, encode
from edge_runtime.telemetry.session import next_session
from edge_runtime.telemetry.spool import Entry, Grade, Lane, Spool, SpoolCounts
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import Uplink, UplinkSettings

KIND = "told"
QUICK = CourierSettings(live_per_s=500.0, backlog_events_per_s=500.0)
"""A campaign need not spare the broker."""
FRAME_S = 0.02
TAKEN, ASKED, DONE, ENOUGH = "taken.ledger", "asked.ledger", "done", "enough"


class Ledger:
    """Lines that are on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def write(self, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if text:
            self._file.write(text.encode())
            self._file.flush()
            os.fsync(self._file.fileno())


def read_ledger(path: Path) -> list[str]:
    """Its whole lines: one that was cut off was not written."""
    return path.read_text("ascii").split("\n")[:-1] if path.exists() else []


class BookedSpool:
    """A spool that books what it has taken."""

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self._spool = spool
        self._ledger = ledger

    def add(self, entries: Iterable[Entry]) -> int:
        given = tuple(entries)
        kept = self._spool.add(given)
        self._ledger.write(entry.id for entry in given if entry.grade is Grade.EVENT)
        return kept

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        return self._spool.begin(limit, grade, lane, without)

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        self._spool.end(accepted, rejected, kept, why)

    def mark(self) -> None:
        self._spool.mark()

    def note(self, dropped: Mapping[str, int]) -> None:
        self._spool.note(dropped)

    def counts(self) -> SpoolCounts:
        return self._spool.counts()

    def close(self) -> None:
        self._spool.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._spool, name)


def tell(folder: Path, settings: MqttSettings, topics: Topics, events: int, per_s: float, haste: float = 1.0) -> None:
    """Tell until the number `events`, or until there is a file `enough`, and until the spool is empty; or until SIGTERM.

    The back-off is `haste` times as short as it is.
    """
    stamp = Stamp(topics, next_session(folder / "session"))
    link = MqttLink(settings, stamp, chance=lambda: random.random() / haste)
    asked, taken = Ledger(folder / ASKED), Ledger(folder / TAKEN)
    spool = SqliteSpool(folder / "spool.db")
    uplink = Uplink(link, BookedSpool(spool, taken), UplinkSettings(QUICK))
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    uplink.start()
    link.start()
    number = int((read_ledger(folder / ASKED) or ["0"])[-1])
    last, due = "", 0.0
    while not stopping.wait(FRAME_S):
        if (folder / ENOUGH).exists():
            events = number
        due += per_s * FRAME_S
        numbers = range(number + 1, min(events, number + int(due)) + 1)
        due -= int(due)
        asked.write(map(str, numbers))
        for number in numbers:
            entry = _entry(topics, stamp.session, number)
            uplink.offer(entry)
            last = entry.id
        if number >= events and last in ("", *read_ledger(folder / TAKEN)[-1:]) and not spool.counts().events:
            (folder / DONE).write_text("")
            stopping.wait()
    uplink.stop()
    link.stop()


def _entry(topics: Topics, session: int, number: int) -> Entry:
    key = f"{session}-{number}"
    payload = json.dumps({"id": key, "n": number, "at": round(time.time(), 3)}, separators=(",", ":"))
    return Entry(key, Grade.EVENT, topics.event(KIND), payload.encode())


class Teller:
    """The process: `start`, `kill` and `start` again as often as wanted."""

    def __init__(self, folder: Path, url: str, events: int = 500, per_s: float = 200.0, *options: str) -> None:
        """`options` go to the command line as they are."""
        self.folder = folder
        self._arguments = [str(folder), url, "--events", str(events), "--per-s", str(per_s), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def enough(self) -> None:
        """It shall tell nothing new, and be done with what waits."""
        (self.folder / ENOUGH).write_text("")

    @property
    def done(self) -> bool:
        """All that it had to tell has left its spool."""
        return (self.folder / DONE).exists()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / DONE).unlink(missing_ok=True)
        with (self.folder / "teller.log").open("ab") as log_to:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.faults.teller", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log_to,
                stderr=log_to,
                cwd=Path(__file__).resolve().parents[2],
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Teller:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Witness:
    """Listens with a session that the broker keeps, and notes every event by number and id."""

    def __init__(
        self, port: int, pattern: str = f"edge/v1/+/+/event/{KIND}", name: str = "witness", confirms: bool = False
    ) -> None:
        """`confirms`: tell the device that its record is kept, as a collector does."""
        self._confirms = confirms
        self.seen: dict[int, Counter[str]] = {}
        """Number -> how often it came, by id."""
        self._lock = threading.Lock()
        self._pattern = pattern
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(0.05, 0.25)
        self._client.on_connect = lambda client, *_: client.subscribe(self._pattern, qos=1)
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()
        if not self._subscribed.wait(15.0):
            raise TimeoutError(f"the witness could not subscribe at port {port}")

    def _heard(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        record = json.loads(message.payload)
        with self._lock:
            self.seen.setdefault(int(record["n"]), Counter())[str(record["id"])] += 1
        if self._confirms:
            base = message.topic.partition("/event/")[0]
            self.publish(f"{base}/ack", encode(Ack(ids=(str(record["id"]),), collector="witness")))

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, 1)

    @property
    def numbers(self) -> set[int]:
        with self._lock:
            return set(self.seen)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a witness saw of what a teller's spool had taken."""

    taken: int
    lost: list[int] = field(default_factory=list)
    """Taken by the spool and never seen."""
    doubled: list[int] = field(default_factory=list)
    """Seen under more than one id: a reader can not tell that they are the same."""
    repeats: int = 0
    """Seen again under the same id: a reader drops them."""

    @property
    def held(self) -> bool:
        return not self.lost and not self.doubled


def compare(folder: Path, seen: dict[int, Counter[str]]) -> Verdict:
    """The verdict over the ledger in `folder`."""
    taken = {int(key.rsplit("-", 1)[1]) for key in read_ledger(folder / TAKEN)}
    repeats = sum(times - 1 for ids in seen.values() for times in ids.values())
    doubled = sorted(number for number, ids in seen.items() if len(ids) > 1)
    return Verdict(len(taken), sorted(taken - set(seen)), doubled, repeats)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults.teller", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url", help="of the broker; of the nodes of a cluster with commas between them")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--per-s", type=float, default=200.0)
    parser.add_argument("--proof", type=Proof, choices=list(Proof), default=Proof.BROKER)
    parser.add_argument("--site", default="store")
    parser.add_argument("--device", default="teller")
    parser.add_argument("--dialect", type=Dialect, choices=list(Dialect), default=Dialect.AUTO)
    parser.add_argument("--keepalive", type=int, default=30)
    parser.add_argument("--haste", type=float, default=1.0, help="how much shorter the back-off is")
    args = parser.parse_args(arguments)
    url, *others = args.url.split(",")
    settings = MqttSettings(
        url,
        f"{args.site}-{args.device}",
        others=tuple(others),
        proof=args.proof,
        dialect=args.dialect,
        keepalive_s=args.keepalive,
    )
    tell(args.folder, settings, Topics(args.site, args.device), args.events, args.per_s, args.haste)


if __name__ == "__main__":
    main(sys.argv[1:])
