"""The brokers' own files: configuration, certificate, and the rules that `enrol` and `revoke` write anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.assets import broker_files
from edge_runtime.workshop.enrolment import rules
from edge_runtime.workshop.enrolment.certificates import Authority, new_key, public_of, urn
from edge_runtime.workshop.enrolment.folder import SECRET, Folder, keep, need, put
from edge_runtime.workshop.enrolment.identity import parse
from edge_runtime.workshop.enrolment.register import Register

ROUTE_PORT = 6222


@dataclass(frozen=True, slots=True)
class Server:
    """One broker, or one node of a cluster, and the folder that is to be copied to it."""

    host: str
    folder: Path
    node: str = ""


def servers(folder: Folder, register: Register) -> tuple[Server, ...]:
    """In the order of the hosts. Several hosts of a mosquitto are names of one broker."""
    if register.broker == "mosquitto":
        return (Server(register.hosts[0], folder / "mosquitto"),)
    names = [f"node-{number}" for number, _ in enumerate(register.hosts, 1)]
    return tuple(Server(host, folder / f"nats/{name}", name) for host, name in zip(register.hosts, names, strict=True))


def urls(register: Register) -> tuple[str, ...]:
    """What clients connect to."""
    hosts = register.hosts if register.broker == "nats" else register.hosts[:1]
    return tuple(f"mqtts://{_bracketed(host)}:{register.port}" for host in hosts)


def write_configuration(folder: Folder, register: Register) -> list[Path]:
    """What is not there yet of the files that an operator may edit; the new ones."""
    made = []
    for server in servers(folder, register):
        texts = _mosquitto_texts(register) if register.broker == "mosquitto" else _nats_texts(register, server)
        made += [server.folder / name for name, text in texts.items() if keep(server.folder / name, text.encode())]
        keep(server.folder / "ca.crt", need(folder / "ca.crt"))
    return made


def write_certificates(folder: Folder, register: Register, authority: Authority, now: float, anew: bool) -> list[Path]:
    """A certificate and key for every server that has none, or with `anew` for each; the new ones."""
    made = []
    for server in servers(folder, register):
        certificate = server.folder / "server.crt"
        if certificate.exists() and not anew:
            continue
        key = new_key()
        names = register.hosts if register.broker == "mosquitto" else (server.host,)
        issued = authority.server(public_of(key), names, register.days, now, node=bool(server.node))
        put(server.folder / "server.key", key, SECRET)
        put(certificate, issued.certificate)
        made.append(certificate)
    return made


def write_rules(folder: Folder, register: Register, authority: Authority, now: float) -> list[Path]:
    """What the brokers are to allow now, and which certificates they are to refuse; the files to copy to them."""
    admitted = register.admitted()
    made = []
    if register.broker == "mosquitto":
        files = {
            "acl": rules.mosquitto_acl(admitted).encode(),
            "crl.pem": authority.revocations(register.revoked(), register.crl_number, now),
        }
    else:
        names = {entry.identity: urn(parse(entry.identity), entry.generation) for entry in admitted}
        files = {"permissions.conf": rules.nats_permissions(admitted, names).encode()}
    for server in servers(folder, register):
        for name, raw in files.items():
            put(server.folder / name, raw)
            made.append(server.folder / name)
    return made


def _mosquitto_texts(register: Register) -> dict[str, str]:
    text = (broker_files("mosquitto") / "mosquitto.conf").read_text("utf-8")
    return {"mosquitto.conf": text.replace("\nlistener 8883\n", f"\nlistener {register.port}\n")}


def _nats_texts(register: Register, server: Server) -> dict[str, str]:
    folder = broker_files("nats-cluster")
    settings = {
        "EDGE_NODE_NAME": f'"{server.node}"',
        "EDGE_MQTT_LISTEN": f'"0.0.0.0:{register.port}"',
        "EDGE_ROUTES": "[" + ", ".join(f'"nats://{_bracketed(host)}:{ROUTE_PORT}"' for host in register.hosts) + "]",
        "EDGE_REPLICAS": str(min(3, len(register.hosts))),
    }
    node = with_settings((folder / "node.conf").read_text("utf-8"), settings)
    return {"nats-server.conf": (folder / "nats-server.conf").read_text("utf-8"), "node.conf": node}


def with_settings(node_conf: str, settings: Mapping[str, str]) -> str:
    """A node.conf with the values of some of its names replaced."""
    lines = []
    for line in node_conf.splitlines():
        name, colon, _ = line.partition(":")
        lines.append(f"{name}: {settings[name]}" if colon and name in settings else line)
    return "\n".join(lines) + "\n"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
