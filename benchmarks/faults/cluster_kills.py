"""Fault 25: nodes of a cluster killed, singly, all at once and in turn, while a device tells and a reader listens.

The device is the `teller`, which knows every node; the reader has a session that the cluster keeps, subscribes with QoS 1
and goes to another node when its own is gone. A point is a record that the device's spool had taken; it holds if the
reader has it in the end, under one id. `receipts` is what the device takes for a proof of delivery.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults.row import Row
from benchmarks.faults.teller import KIND, Teller, Verdict, compare
from benchmarks.fleet.cluster import LocalCluster
from edge_runtime.telemetry.messages import Ack, encode

SETTLE_S = 180.0
PATIENCE_S = 90.0
"""A node gives back what was not acknowledged after 30 s; silence that is longer than this is the end."""
PER_S = 100.0
PATTERN = f"edge/v1/+/+/event/{KIND}"
Drama = Callable[[LocalCluster], None]


class Keeper:
    """Keeps every event by number and id, over whatever node there is; a collector if it acknowledges what it has."""

    def __init__(self, ports: Sequence[int], acknowledges: bool = False, name: str = "keeper") -> None:
        self.seen: dict[int, Counter[str]] = {}
        self.connections = 0
        self._ports, self._at = tuple(ports), 0
        self._acknowledges = acknowledges
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_timeout = 3.0
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._client.on_disconnect = lambda *_: self._turn()
        self._client.on_connect_fail = lambda *_: self._turn()
        self._client.connect("127.0.0.1", self._ports[0], keepalive=5)
        self._client.loop_start()
        if not self._subscribed.wait(30.0):
            raise TimeoutError("the reader could not subscribe")

    @property
    def port(self) -> int:
        """Of the node that it is connected to, or tries."""
        return self._ports[self._at]

    @property
    def count(self) -> int:
        with self._lock:
            return len(self.seen)

    def close(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    def _turn(self) -> None:
        self._at = (self._at + 1) % len(self._ports)
        self._client.connect_async("127.0.0.1", self._ports[self._at], keepalive=5)

    def _connected(self, client: paho.Client, *_: object) -> None:
        self.connections += 1
        client.subscribe(PATTERN, qos=1)

    def _heard(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        record = msgspec.json.decode(message.payload)
        key = str(record["id"])
        with self._lock:
            self.seen.setdefault(int(record["n"]), Counter())[key] += 1
        if self._acknowledges:
            base = message.topic.rsplit("/", 2)[0]
            client.publish(f"{base}/ack", encode(Ack(ids=(key,), collector="keeper", at=time.time())), 0)


def kill_one(cluster: LocalCluster) -> None:
    """The node that everybody came to first is lost, and comes back."""
    cluster.kill(0)
    time.sleep(3.0)
    cluster.start_node(0, wait=False)


def kill_all(cluster: LocalCluster) -> None:
    """The whole cluster loses its power, and it comes back."""
    for number in range(len(cluster.nodes)):
        cluster.kill(number)
    time.sleep(1.0)
    for number in range(len(cluster.nodes)):
        cluster.start_node(number, wait=False)


def roll_waiting(cluster: LocalCluster, kills: int = 5) -> None:
    """One node after the other, each when the one before has caught up: as an operator updates them."""
    for number in range(kills):
        cluster.kill(number % len(cluster.nodes))
        cluster.start_node(number % len(cluster.nodes))
        cluster.wait_healthy()
        time.sleep(0.5)


def roll_hasty(cluster: LocalCluster, kills: int = 5) -> None:
    """One node after the other, whatever the others do: for a while most of the cluster is gone."""
    for number in range(kills):
        cluster.kill(number % len(cluster.nodes))
        time.sleep(1.0)
        cluster.start_node(number % len(cluster.nodes), wait=False)


DRAMAS: tuple[tuple[str, Drama], ...] = (
    ("a node of three is killed", kill_one),
    ("all three nodes are killed at once", kill_all),
    ("five rolling kills, each after the last node is healthy", roll_waiting),
    ("five rolling kills, a second apart", roll_hasty),
)


def perform(
    cluster: LocalCluster, folder: Path, drama: Drama, proof: str, events: int = 1_000, quiet_s: float = 8.0
) -> tuple[Verdict, int]:
    """One device, one reader, one drama in the midst of it; the verdict, and how often the reader connected."""
    keeper = Keeper(cluster.ports, acknowledges=proof == "collector", name=f"keeper-{folder.name}")
    try:
        with Teller(folder, ",".join(cluster.urls), events, PER_S, "--proof", proof) as teller:
            until(lambda: keeper.count >= events // 5, "the first records")
            drama(cluster)
            cluster.wait_healthy()
            until(lambda: teller.done, "the device has told all")
            settle(keeper, quiet_s, events)
        return compare(folder, keeper.seen), keeper.connections
    finally:
        keeper.close()


def perform_away(cluster: LocalCluster, folder: Path, proof: str, events: int, quiet_s: float = 8.0) -> Verdict:
    """The reader is away; the device tells all and believes it; every node is killed; the reader comes back."""
    name = f"keeper-{folder.name}"
    Keeper(cluster.ports, name=name).close()  # its session, and its subscription
    with Teller(folder, ",".join(cluster.urls), events, PER_S, "--proof", proof) as teller:
        until(lambda: teller.done, "the device has told all")
    kill_all(cluster)
    cluster.wait_healthy()
    keeper = Keeper(cluster.ports[1:], name=name)
    try:
        settle(keeper, quiet_s, events)
        return compare(folder, keeper.seen)
    finally:
        keeper.close()


def until(found: Callable[[], object], what: str, wait_s: float = SETTLE_S) -> None:
    """Wait for it. Raises TimeoutError."""
    ends = time.monotonic() + wait_s
    while not found():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {wait_s:.0f} s: {what}")
        time.sleep(0.05)


def settle(keeper: Keeper, quiet_s: float = 8.0, wanted: int = 0) -> None:
    """Until nothing new has come for `quiet_s`; while fewer than `wanted` have come, for PATIENCE_S."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < (quiet_s if keeper.count >= wanted else PATIENCE_S):
        if keeper.count != count:
            count, since = keeper.count, time.monotonic()
        time.sleep(0.1)


def campaign(quick: bool) -> Iterator[Row]:
    """Every drama with every receipt; `quick`: the first two with `echo`."""
    proofs = ("echo",) if quick else ("echo", "collector", "broker")
    for what, drama in DRAMAS[:2] if quick else DRAMAS:
        for proof in proofs:
            with tempfile.TemporaryDirectory(prefix="cluster-kills-") as name, LocalCluster(Path(name)) as cluster:
                verdict, connections = perform(cluster, Path(name) / "device", drama, proof, 300 if quick else 1_500)
            yield _row(f"{what}, receipts = {proof}", verdict, f", {connections} connections of the reader")
    for proof in () if quick else ("echo", "broker"):
        with tempfile.TemporaryDirectory(prefix="cluster-kills-") as name, LocalCluster(Path(name)) as cluster:
            verdict = perform_away(cluster, Path(name) / "device", proof, 1_500)
        yield _row(f"all three nodes are killed while the reader is away, receipts = {proof}", verdict, "")


def _row(what: str, verdict: Verdict, more: str) -> Row:
    fallen = len(verdict.lost) + len(verdict.doubled)
    return Row(25, what, verdict.taken, verdict.taken - fallen, f"{verdict.repeats} repeats of the same id{more}")
