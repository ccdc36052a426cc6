"""A cluster and a virtual fleet on it, for as long as a phase needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from benchmarks.fleet.cluster import LocalCluster
from benchmarks.fleet.meters import Meter, ask_node
from edge_runtime.lifecycle.trust.command_keys import CommandKeys, encode_command_keys
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.simulator.fleet.run import Fleet, shown
from edge_runtime.workshop.enrolment.signing import OperatorKey

ROOT = Path(__file__).resolve().parents[2]
MODEL, FIRST, BAD, GOOD = "shelf", "1.0.0", "1.1.0", "1.2.0"
OPERATOR_S = 3_600.0


@dataclass(frozen=True)
class Scale:
    """How large, how fast; the same numbers make the same fleet."""

    devices: int
    processes: int = 2
    seed: int = 1
    telemetry_s: float = 15.0
    spread_s: float = 20.0
    canary: int = 20

    def plan(self, urls: tuple[str, ...], keys: Path) -> FleetPlan:
        return FleetPlan(
            urls=urls,
            devices=self.devices,
            seed=self.seed,
            canary=self.canary,
            spread_s=self.spread_s,
            telemetry_s=self.telemetry_s,
            model=MODEL,
            version=FIRST,
            bad=(BAD,),
            guard=0.5,
            download_s=5.0,
            command_keys=str(keys),
        )


@dataclass
class World:
    """`with World(folder, scale) as world`: three nodes, all devices connected, and an operator with a key."""

    folder: Path
    scale: Scale
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)
    empty_mb: float = 0.0
    """Memory of the nodes before the first device came."""

    def __enter__(self) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cluster = LocalCluster(self.folder / "cluster")
        self.cluster.start()
        self.cluster.wait_healthy()
        self._equip()
        self.fleet = Fleet(self.scale.plan(self.cluster.urls, self.folder / "command-keys.json"), self.scale.processes)
        with self.meter() as meter:
            self.empty_mb = meter.readings["broker"].rss_mb
        self.began_s = time.monotonic()
        self.fleet.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for operator in self.operators:
            if operator.poll() is None:
                operator.kill()
                operator.wait()
        self.fleet.stop()
        self.cluster.stop()

    def meter(self) -> Meter:
        return Meter(
            {
                "broker": lambda: self.cluster.pids,
                "devices": lambda: self.fleet.pids,
                "operator": self._operating,
            }
        )

    def rollout(self, *words: str) -> subprocess.Popen[bytes]:
        """`edge-runtime fleet rollout ... --json` in a process of its own; what it says goes to a file."""
        command = [sys.executable, "-m", "edge_runtime.cli", "fleet", "rollout", *words]
        with self.log.open("ab") as said:
            operator = subprocess.Popen(
                [*command, "--fleet", str(self.folder), "--json"], stdout=said, stderr=subprocess.STDOUT, cwd=ROOT
            )
        self.operators.append(operator)
        return operator

    @property
    def log(self) -> Path:
        return self.folder / "rollouts.jsonl"

    def said(self, name: str) -> list[dict[str, object]]:
        """What operators said of a rollout, oldest first."""
        return [line for line in _objects(self.log) if line.get("rollout") == name]

    def nodes(self) -> dict[str, float]:
        """What the cluster says of itself: connections, messages, retained bytes."""
        found = {"connections": 0.0, "in_msgs": 0.0, "out_msgs": 0.0, "in_bytes": 0.0, "out_bytes": 0.0}
        for node in self.cluster.nodes:
            told = ask_node(node.monitor, "varz")
            for key in found:
                found[key] += float(told.get(key, 0))
        stored = [ask_node(node.monitor, "jsz") for node in self.cluster.nodes]
        found["streams"] = max((float(told.get("streams", 0)) for told in stored), default=0.0)
        found["consumers"] = max((float(told.get("consumers", 0)) for told in stored), default=0.0)
        found["stored_messages"] = max((float(told.get("messages", 0)) for told in stored), default=0.0)
        found["stored_bytes"] = max((float(told.get("bytes", 0)) for told in stored), default=0.0)
        return found

    def leaders(self) -> dict[str, str]:
        """The name of the node that leads each stream; `nobody` while there is none."""
        found: dict[str, str] = {}
        for node in self.cluster.nodes:
            asked = ask_node(node.monitor, "jsz?accounts=true&streams=true") if node.runs else {}
            for account in asked.get("account_details", []):
                for stream in account.get("stream_detail", []):
                    found.setdefault(stream["name"], stream.get("cluster", {}).get("leader") or "nobody")
        return found

    def watch(self, every_s: float = 5.0) -> Watch:
        """`with world.watch()`: says on standard error what the fleet and the nodes are doing."""
        return Watch(self, every_s)

    def _operating(self) -> Iterable[int]:
        return [operator.pid for operator in self.operators if operator.poll() is None]

    def _equip(self) -> None:
        """The operator's folder: a key, and what devices must know of it."""
        path = self.folder / "command.pem"
        key = OperatorKey.load(path, name="bench") if path.exists() else OperatorKey.create(path, "bench")
        keys = encode_command_keys(CommandKeys((key.public_entry(),)))
        (self.folder / "command-keys.json").write_bytes(keys)
        urls = ", ".join(json.dumps(url) for url in self.cluster.urls)
        (self.folder / "fleet.toml").write_text(
            f'urls = [{urls}]\nname = "bench"\ncommand_key = "command.pem"\ncommand_keys = "command-keys.json"\n',
            "utf-8",
        )


class Watch:
    """One line every few seconds: what the devices wait for, and who leads the nodes' streams."""

    def __init__(self, world: World, every_s: float) -> None:
        self._world, self._every_s = world, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        began_s, before = time.monotonic(), self._world.fleet.figures.counts
        while not self._over.wait(self._every_s):
            figures = self._world.fleet.figures
            delta = {key: count - before.get(key, 0) for key, count in figures.counts.items()}
            before = figures.counts
            told = {key: delta.get(key, 0) for key in ("sent", "acknowledged", "births") if key in delta}
            failed = {key: count for key, count in delta.items() if key.startswith("failed_") and count}
            line = f"{time.strftime('%H:%M:%S')} +{time.monotonic() - began_s:.0f} s {shown(figures)}; {told | failed}"
            print(f"{line}; {self._nodes()}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)

    def _nodes(self) -> str:
        """Connections of each node, and each stream with its leader."""
        nodes = self._world.cluster.nodes
        told = [ask_node(node.monitor, "varz") if node.runs else {} for node in nodes]
        each = "/".join(str(one.get("connections", "-")) for one in told)
        leaders = self._world.leaders()
        return f"connections {each}, " + ", ".join(f"{name} {leader}" for name, leader in sorted(leaders.items()))


def _objects(path: Path) -> list[dict[str, object]]:
    found = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
