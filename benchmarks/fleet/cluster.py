"""A NATS cluster on the loopback: three nodes that speak MQTT, each stored message on all of them before it is acknowledged.

`with LocalCluster(folder) as cluster: cluster.urls`. Nodes are killed and started again singly, with their ports and
their files as they were. From a shell: `python -m benchmarks.fleet.cluster FOLDER` runs one until Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import find_nats_server, free_port

READY_S = 60.0
STOP_S = 10.0
_CONNECT = bytes.fromhex("100f 0004 4d515454 04 02 000a 0003") + b"rdy"
"""MQTT 3.1.1 CONNECT, clean session, keep-alive 10 s, client id `rdy`."""
_ACCEPTED = b"\x20\x02\x00\x00"


@dataclass
class Node:
    """One nats-server: where it listens, what it keeps, and its process if it runs."""

    name: str
    folder: Path
    mqtt: int = field(default_factory=free_port)
    client: int = field(default_factory=free_port)
    route: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def config_file(self) -> Path:
        return self.folder / "nats-server.conf"

    @property
    def log_file(self) -> Path:
        return self.folder / "nats-server.log"

    def end(self, number: int) -> None:
        """Send the signal, and wait for the end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class LocalCluster:
    """Everything it writes is in `folder`; it stops what it started. Node numbers are 0 to `nodes` - 1."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self._folder = folder
        self.nodes = tuple(Node(f"node-{number + 1}", folder / f"node-{number + 1}") for number in range(nodes))

    @property
    def ports(self) -> tuple[int, ...]:
        """Where MQTT is spoken."""
        return tuple(node.mqtt for node in self.nodes)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(f"mqtt://127.0.0.1:{node.mqtt}" for node in self.nodes)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the nodes that run."""
        return tuple(node.process.pid for node in self.nodes if node.runs and node.process is not None)

    def start(self) -> None:
        """Start all nodes and wait until each answers. Raises Unavailable if one does not."""
        try:
            for number in range(len(self.nodes)):
                self.start_node(number, wait=False)
            self.wait_ready()
        except Unavailable:
            self.stop()
            raise

    def start_node(self, number: int, wait: bool = True) -> None:
        """Start one node that does not run; with `wait` until it accepts MQTT connections."""
        node = self.nodes[number]
        if node.runs:
            return
        program = find_nats_server()
        node.folder.mkdir(parents=True, exist_ok=True)
        node.config_file.write_text(self._config(node), "utf-8")
        with node.log_file.open("ab") as log_to:
            node.process = subprocess.Popen(
                [program, "-c", str(node.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log_to,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        if wait:
            self.wait_ready(number)

    def kill(self, number: int) -> None:
        """SIGKILL, as a power cut of one machine."""
        self.nodes[number].end(signal.SIGKILL)

    def stop_node(self, number: int) -> None:
        """SIGTERM: an orderly end of one node."""
        self.nodes[number].end(signal.SIGTERM)

    def stop(self) -> None:
        for node in self.nodes:
            node.end(signal.SIGTERM)

    def wait_ready(self, number: int | None = None) -> None:
        """Until this node, or every running one, accepts MQTT connections. Raises Unavailable."""
        ends = time.monotonic() + READY_S
        for node in self.nodes if number is None else (self.nodes[number],):
            while node.process is not None and not self._accepts(node):
                if not node.runs or time.monotonic() > ends:
                    raise Unavailable(f"{node.name} does not accept connections: {_last_words(node)}")
                time.sleep(0.05)

    def wait_healthy(self, number: int | None = None) -> None:
        """Until this node, or every running one, has caught up with its streams and consumers. Raises Unavailable."""
        ends = time.monotonic() + READY_S
        for node in self.nodes if number is None else (self.nodes[number],):
            while node.process is not None and not _healthy(node):
                if not node.runs or time.monotonic() > ends:
                    raise Unavailable(f"{node.name} is not healthy: {_last_words(node)}")
                time.sleep(0.05)

    def __enter__(self) -> LocalCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self, node: Node) -> str:
        routes = ", ".join(f'"nats://127.0.0.1:{other.route}"' for other in self.nodes)
        replicas = min(3, len(self.nodes))
        return (
            f'server_name: "{node.name}"\n'
            f'listen: "127.0.0.1:{node.client}"\n'
            f'http: "127.0.0.1:{node.monitor}"\n'
            f'jetstream {{ store_dir: "{node.folder}/store", max_file_store: 1GB, sync_interval: always }}\n'
            f'cluster {{ name: "edge", listen: "127.0.0.1:{node.route}", routes: [{routes}] }}\n'
            f'mqtt {{ listen: "127.0.0.1:{node.mqtt}", stream_replicas: {replicas} }}\n'
        )

    def _accepts(self, node: Node) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", node.mqtt), 1.0) as probe:
                probe.settimeout(10.0)
                probe.sendall(_CONNECT)
                return probe.recv(4) == _ACCEPTED
        except OSError:
            return False


def _healthy(node: Node) -> bool:
    asked = http.client.HTTPConnection("127.0.0.1", node.monitor, timeout=2.0)
    try:
        asked.request("GET", "/healthz")
        return bool(json.loads(asked.getresponse().read()).get("status") == "ok")
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _last_words(node: Node) -> str:
    lines = node.log_file.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.cluster", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=3)
    args = parser.parse_args(arguments)
    with LocalCluster(args.folder, args.nodes) as cluster:
        print("\n".join(cluster.urls), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
