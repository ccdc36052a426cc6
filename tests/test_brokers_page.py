"""Every command of docs/brokers.md, in its order, below another root folder and with real brokers.

`systemctl`, `chown` and `apt-get` are stand-ins that do here what the page needs of them.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet.brokers import wait_until
from fleet.deployments import Member

from edge_runtime.fleet.local_broker import find_nats_server, free_port
from edge_runtime.workshop.enrolment.servers import with_settings

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "brokers.md").read_text("utf-8")
_SYSTEMCTL = """#!/bin/sh
root=$(cat "$(dirname "$0")/root")
case "$1 $2" in
"restart mosquitto") mosquitto -c "$root/etc/mosquitto/mosquitto.conf" & echo $! > "$root/pid" ;;
"enable --now"|"start nats-edge") cd "$root/etc/nats" && nats-server -c nats-server.conf 2> "$root/nats.log" & echo $! > "$root/pid" ;;
"reload "*) kill -HUP "$(cat "$root/pid")" ;;
"stop "*) kill -USR2 "$(cat "$root/pid")"; while kill -0 "$(cat "$root/pid")" 2> /dev/null; do sleep 0.1; done ;;
esac
"""


def blocks(section: str) -> list[str]:
    """The commands of a section."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


class Host:
    """A machine as far as the page needs one: a folder for its root, and stand-ins for what belongs to the system."""

    def __init__(self, place: Path, root: Path, names: dict[str, str], program: Callable[[str, str], str]) -> None:
        self.place, self.root, self.names = place, root, names
        self.shims = root / "shims"
        self.shims.mkdir(parents=True)
        for name in ("chown", "apt-get"):
            self._shim(name, "#!/bin/sh\n")
        self._shim("systemctl", _SYSTEMCTL)
        (self.shims / "root").write_text(str(root))
        (self.shims / "mosquitto").symlink_to(program("mosquitto", "mosquitto"))
        (self.shims / "nats-server").symlink_to(find_nats_server())

    def run(self, block: str) -> str:
        """The output. AssertionError with what it said if a command failed."""
        for shipped, here in self.names.items():
            block = block.replace(shipped, here)
        for folder in ("/etc/", "/var/lib/"):
            block = block.replace(f" {folder}", f" {self.root}{folder}")
        path = os.pathsep.join((str(self.shims), str(Path(sys.executable).parent), os.environ["PATH"]))
        with (self.root / "said").open("w+b") as said:  # no pipe: what systemctl starts would hold it open
            ran = subprocess.run(
                ["sh", "-ec", block], cwd=self.place, env=os.environ | {"PATH": path}, stdout=said, stderr=said,
                stdin=subprocess.DEVNULL, timeout=60, check=False,
            )  # fmt: skip
        text = (self.root / "said").read_text("utf-8", "replace")
        assert ran.returncode == 0, f"{block}\n{text}"
        return text

    def end(self) -> None:
        pid = self.root / "pid"
        if pid.exists():
            subprocess.run(["kill", "-9", pid.read_text().strip()], capture_output=True, check=False)

    def _shim(self, name: str, text: str) -> None:
        (self.shims / name).write_text(text)
        (self.shims / name).chmod(0o755)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    made: list[Host] = []
    yield made
    for host in made:
        host.end()


@pytest.mark.undocumented("whether a message goes through is asked, and not what it says")
def test_mosquitto_as_the_page_says(tmp_path: Path, program: Callable[[str, str], str], hosts: list[Host]) -> None:
    program("mosquitto_sub", "mosquitto-clients")
    program("openssl", "openssl")
    port = free_port()
    host = Host(tmp_path, tmp_path / "root", {"broker.example": "localhost", "8883": str(port)}, program)
    hosts.append(host)
    begin, backup = blocks("The operator's folder")
    assert "fleet ls --fleet" in host.run(begin)
    install, enrol, rules, look = blocks("mosquitto")
    _mosquitto_of_the_test(tmp_path / "fleet/mosquitto/mosquitto.conf", tmp_path / "root")
    (tmp_path / "root/var/lib/mosquitto").mkdir(parents=True)
    host.run(install)
    host.run(enrol)
    wait_until(lambda: (tmp_path / "root/mosquitto.log").exists(), "mosquitto starts")
    host.run(rules)
    device = _device(tmp_path / "fleet", port, "till-3")
    device.send("edge/v1/lyon/till-3/status", b"well", retain=True)
    assert "edge/v1/lyon/till-3/status well" in host.run(look.replace("-W 3", "-W 3 -C 1"))
    csr, many, renew, revoke = blocks("Certificates")
    host.run(csr)
    assert not (tmp_path / "fleet/devices/lyon/till-7/device.key").exists()
    host.run(many)
    assert (tmp_path / "fleet/devices/lyon/till-9/device.toml").is_file()
    host.run(renew)
    host.run(revoke)
    wait_until(lambda: not _device(tmp_path / "fleet", port, "till-3").admitted, "the revoked device is refused")
    host.run(rules)
    assert _device(tmp_path / "fleet", port, "till-9").admitted
    host.run(backup)
    assert (tmp_path / "fleet-backup.tgz").stat().st_size > 1_000
    device.close()


def test_the_nats_cluster_as_the_page_says(
    tmp_path: Path, program: Callable[[str, str], str], hosts: list[Host]
) -> None:
    program("curl", "curl")
    begin, install, health, rules, backup = blocks("NATS cluster")
    names = {f"nats-{number}.example": f"127.0.0.{number}" for number in (1, 2, 3)}
    hosts += [_node_host(tmp_path, number, names, program) for number in (1, 2, 3)]
    hosts[0].run(begin)
    shutil.copy(ROOT / "deploy/nats-cluster/nats-edge.service", tmp_path)
    places = [_node_of_the_test(tmp_path, number) for number in (1, 2, 3)]
    for host, place in zip(hosts, places, strict=True):
        (host.root / "etc/systemd/system").mkdir(parents=True)
        host.names |= {"127.0.0.1:8222": f"127.0.0.1:{place['monitor']}"}
        host.run(install)
    for host in hosts:
        wait_until(lambda host=host: '"status":"ok"' in _health(host, health), "the node is well")
    hosts[0].run("edge-runtime fleet enrol cluster lyon/till-3")
    for host in hosts:
        host.run(rules)
    address = ("127.0.0.2", places[1]["mqtt"])
    place = tmp_path / "cluster/devices/lyon/till-3"
    wait_until(lambda: _let_in(address, tmp_path / "cluster/ca.crt", place), "the device is let in")
    (tmp_path / "nats-backup").mkdir()
    hosts[2].run(backup)
    assert list((tmp_path / "nats-backup").rglob("*.blk"))
    wait_until(lambda: '"status":"ok"' in _health(hosts[2], health), "the node is well again")


def test_the_unit_is_one_to_systemd(tmp_path: Path, program: Callable[[str, str], str]) -> None:
    unit = (
        (ROOT / "deploy/nats-cluster/nats-edge.service").read_text().replace("/usr/local/bin/nats-server", "/bin/true")
    )
    (tmp_path / "nats-edge.service").write_text(unit)
    asked = [program("systemd-analyze", "systemd"), "verify", str(tmp_path / "nats-edge.service")]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    assert "nats-edge.service:" not in told, told


def _mosquitto_of_the_test(config: Path, root: Path) -> None:
    text = config.read_text().replace("/etc/", f"{root}/etc/").replace("/var/lib/", f"{root}/var/lib/")
    config.write_text(text.replace("log_dest syslog", f"log_dest file {root}/mosquitto.log\nuser {getpass.getuser()}"))


def _node_host(place: Path, number: int, names: dict[str, str], program: Callable[[str, str], str]) -> Host:
    return Host(place, place / f"host-{number}", names | {"node-1": f"node-{number}"}, program)


def _node_of_the_test(place: Path, number: int) -> dict[str, int]:
    """All three nodes are on this machine: other ports, and stores below other folders. As an operator edits the file."""
    ports = {name: free_port() for name in ("mqtt", "client", "monitor")}
    path = place / f"cluster/nats/node-{number}/node.conf"
    settings = {
        "EDGE_MQTT_LISTEN": f'"127.0.0.{number}:{ports["mqtt"]}"',
        "EDGE_CLIENT_LISTEN": f'"127.0.0.{number}:{ports["client"]}"',
        "EDGE_CLUSTER_LISTEN": f'"127.0.0.{number}:{_route(place)}"',
        "EDGE_MONITOR_LISTEN": f'"127.0.0.1:{ports["monitor"]}"',
        "EDGE_STORE_DIR": f'"{place}/host-{number}/var/lib/nats"',
        "EDGE_MAX_FILE_STORE": "100MB",
    }
    text = with_settings(path.read_text(), settings)
    path.write_text(text.replace(":6222", f":{_route(place)}"))
    return ports


def _route(place: Path) -> int:
    """One port for the routes of all three, which have addresses of their own."""
    kept = place / "route"
    if not kept.exists():
        kept.write_text(str(free_port()))
    return int(kept.read_text())


def _health(host: Host, block: str) -> str:
    try:
        return host.run(block)
    except AssertionError:
        return ""


def _let_in(address: tuple[str, int], authority: Path, papers: Path) -> bool:
    member = Member(address, authority, papers, "page")
    member.close()
    return member.admitted


def _device(fleet: Path, port: int, name: str) -> Member:
    return Member(("localhost", port), fleet / "ca.crt", fleet / f"devices/lyon/{name}", f"page-{name}")
