"""A NATS cluster on the loopback: nodes that speak MQTT, run from the very files in deploy/nats-cluster.

`with LocalCluster(folder) as cluster: cluster.urls`. Nodes are killed and started again singly, with their ports and
their files as they were. Given the folder that `fleet init --broker nats` made, it is that fleet's cluster, with its
certificates and rules and with other addresses only; without one, TLS and rules are taken out and anybody may connect.
From a shell: `python -m benchmarks.fleet.cluster FOLDER` runs one until Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from edge_runtime.assets import broker_files
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import find_nats_server, free_port
from edge_runtime.fleet.operator.settings import read_fleet
from edge_runtime.fleet.settings import parse_url
from edge_runtime.workshop.enrolment.servers import with_settings

READY_S = 60.0
STOP_S = 10.0
_CONNECT = bytes.fromhex("100f 0004 4d515454 04 02 000a 0003") + b"rdy"
"""MQTT 3.1.1 CONNECT, clean session, keep-alive 10 s, client id `rdy`."""
_NEEDS_CERTIFICATES = re.compile(r"\n *(?:tls|authorization) \{[^}]*\}")
_ACCEPTED = b"\x20\x02\x00\x00"


@dataclass
class Node:
    """One nats-server: where it listens, what it keeps, and its process if it runs."""

    name: str
    folder: Path
    host: str = "127.0.0.1"
    mqtt: int = field(default_factory=free_port)
    client: int = field(default_factory=free_port)
    route: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

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

    def __init__(self, folder: Path, nodes: int = 3, fleet: Path | None = None) -> None:
        """`fleet`: the operator's folder; its hosts are addresses of the loopback, such as 127.0.0.1 to 127.0.0.3."""
        self._fleet = fleet
        self._probe = _context(fleet) if fleet is not None else None
        hosts = [parse_url(url).host for url in read_fleet(fleet).urls] if fleet is not None else ["127.0.0.1"] * nodes
        self.nodes = tuple(
            Node(f"node-{number}", folder / f"node-{number}", host) for number, host in enumerate(hosts, 1)
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """Where MQTT is spoken."""
        return tuple(node.mqtt for node in self.nodes)

    @property
    def urls(self) -> tuple[str, ...]:
        scheme = "mqtts" if self._fleet is not None else "mqtt"
        return tuple(f"{scheme}://{node.host}:{node.mqtt}" for node in self.nodes)

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
        self._equip(number)
        with node.log_file.open("ab") as log_to:
            node.process = subprocess.Popen(
                [program, "-c", "nats-server.conf"],
                cwd=node.folder,
                stdin=subprocess.DEVNULL,
                stdout=log_to,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        if wait:
            self.wait_ready(number)

    def add_node(self, host: str) -> Node:
        """One more, which `fleet init --add-host` has made; the others keep running with the files that they have."""
        number = len(self.nodes)
        name = f"node-{number + 1}"
        node = Node(name, self.nodes[0].folder.with_name(name), host)
        self.nodes = (*self.nodes, node)
        self.start_node(number)
        return node

    def kill(self, number: int) -> None:
        """SIGKILL, as a power cut of one machine."""
        self.nodes[number].end(signal.SIGKILL)

    def stop_node(self, number: int) -> None:
        """SIGTERM: an orderly end of one node."""
        self.nodes[number].end(signal.SIGTERM)

    def stop(self) -> None:
        for node in self.nodes:
            node.end(signal.SIGTERM)

    def reload(self) -> None:
        """Bring the fleet's rules to all nodes that run, as `fleet enrol` and `fleet revoke` tell."""
        for number, node in enumerate(self.nodes):
            self._equip(number)
            if node.runs and node.process is not None:
                node.process.send_signal(signal.SIGHUP)

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

    def _equip(self, number: int) -> None:
        """The node's files, as they are shipped but for addresses and, without a fleet, for what needs certificates."""
        node = self.nodes[number]
        node.folder.mkdir(parents=True, exist_ok=True)
        shipped = broker_files("nats-cluster")
        source = self._fleet / f"nats/{node.name}" if self._fleet is not None else shipped
        for path in source.iterdir():
            if path.suffix in (".conf", ".crt", ".key"):
                shutil.copy(path, node.folder / path.name)
        settings = self._settings(node)
        (node.folder / "node.conf").write_text(with_settings((source / "node.conf").read_text("utf-8"), settings))
        if self._fleet is None:
            config = node.folder / "nats-server.conf"
            config.write_text(_NEEDS_CERTIFICATES.sub("", config.read_text("utf-8")) + "no_auth_user: anybody\n")
            (node.folder / "permissions.conf").write_text('users: [{user: "anybody", password: "anybody"}]\n')

    def _settings(self, node: Node) -> Mapping[str, str]:
        routes = ", ".join(f'"nats://{other.host}:{other.route}"' for other in self.nodes)
        return {
            "EDGE_NODE_NAME": f'"{node.name}"',
            "EDGE_MQTT_LISTEN": f'"{node.host}:{node.mqtt}"',
            "EDGE_CLIENT_LISTEN": f'"127.0.0.1:{node.client}"',
            "EDGE_CLUSTER_LISTEN": f'"{node.host}:{node.route}"',
            "EDGE_MONITOR_LISTEN": f'"127.0.0.1:{node.monitor}"',
            "EDGE_ROUTES": f"[{routes}]",
            "EDGE_REPLICAS": str(min(3, len(self.nodes))),
            "EDGE_STORE_DIR": f'"{node.folder / "store"}"',
            "EDGE_MAX_FILE_STORE": "1GB",
        }

    def _accepts(self, node: Node) -> bool:
        try:
            with socket.create_connection((node.host, node.mqtt), 1.0) as plain:
                plain.settimeout(10.0)
                probe = self._probe.wrap_socket(plain, server_hostname=node.host) if self._probe else plain
                with probe:
                    probe.sendall(_CONNECT)
                    return probe.recv(4) == _ACCEPTED
        except OSError:
            return False


def _context(fleet: Path) -> ssl.SSLContext:
    """The operator's."""
    settings = read_fleet(fleet)
    context = ssl.create_default_context(cafile=settings.ca_file)
    assert settings.cert_file is not None
    context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


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
    parser.add_argument("--fleet", type=Path, help="an operator's folder, from `fleet init --broker nats`")
    args = parser.parse_args(arguments)
    with LocalCluster(args.folder, args.nodes, args.fleet) as cluster:
        print("\n".join(cluster.urls), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
