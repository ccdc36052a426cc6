"""`fleet init`: an operator's folder, with the files for the brokers and for the operator."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_verb, say
from edge_runtime.errors import EXIT_OK, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.workshop.enrolment.begin import Begun, Plan
    from edge_runtime.workshop.enrolment.servers import Server

_EXAMPLES = """\
  edge-runtime fleet init fleet --host broker.acme.example
  edge-runtime fleet init fleet --broker nats --host nats-1.acme.example --host nats-2.acme.example --host nats-3.acme.example
  edge-runtime fleet init fleet --renew                     new certificates for brokers and operator
  edge-runtime fleet init fleet --add-host nats-4.acme.example"""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "init",
        "make an operator's folder: authority, keys, and the brokers' files",
        "Makes a private certificate authority, the operator's certificate and key for commands, and everything that the\n"
        "broker needs: certificate, configuration and rules. Nothing that is there is overwritten; after an interruption\n"
        "run it again with the same arguments.",
        _EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the operator's folder, new or to be finished")
    parser.add_argument("--broker", choices=("mosquitto", "nats"), help="one mosquitto (default), or a NATS cluster")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address by which devices reach the broker; NATS: one for each node, mosquitto: further ones are other names",
    )
    parser.add_argument("--port", type=int, metavar="N", help="of MQTT over TLS (8883)")
    parser.add_argument("--operator", metavar="NAME", help="who commands (operator)")
    parser.add_argument("--days", type=int, metavar="N", help="life of devices' and brokers' certificates (730)")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line protects the keys")
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument("--renew", action="store_true", help="new certificates for the brokers and the operator")
    changes.add_argument("--add-host", metavar="NAME", help="one more node of a NATS cluster")
    parser.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    from edge_runtime.workshop.enrolment import begin
    from edge_runtime.workshop.enrolment.folder import Folder
    from edge_runtime.workshop.repository.keys import read_passphrase

    folder = Folder(args.folder)
    passphrase = read_passphrase(args.passphrase_file) if args.passphrase_file else None
    if (args.renew or args.add_host) and (args.host or args.broker or args.operator or args.days or args.port):
        raise Usage("--renew and --add-host take what the folder says", "Leave the other arguments out")
    if args.renew:
        for path in begin.renew(folder, passphrase, time.time):
            say(f"new  {path}")
        say("\nnext: copy each server's folder to it again, and reload the brokers: docs/brokers.md")
        return EXIT_OK
    if args.add_host:
        server = begin.add_host(folder, _host(args.add_host), passphrase, time.time)
        say(f"new  {server.folder}\n\nnext:\n  {_install(server)[0]}")
        say(f"  add its url to fleet.toml and to the devices' [mqtt] url: mqtts://{server.host}:PORT")
        return EXIT_OK
    begun = begin.begin(folder, _plan(args), passphrase, time.time)
    _tell(args.folder, begun)
    return EXIT_OK


def _plan(args: argparse.Namespace) -> Plan:
    from edge_runtime.workshop.enrolment.begin import Plan

    if not args.host:
        raise Usage("the broker's host is not named", "Add --host NAME, as devices will reach it")
    port = 8883 if args.port is None else args.port
    days = 730 if args.days is None else args.days
    if not 1 <= port <= 65_535:
        raise Usage(f"--port {port} is no port", "Choose one from 1 to 65535")
    if not 1 <= days <= 3_650:
        raise Usage(f"--days {days} is not possible", "Choose from 1 to 3650")
    hosts = tuple(dict.fromkeys(_host(name) for name in args.host))
    if args.broker == "nats" and len(hosts) == 2:
        raise Usage("a cluster of two nodes stops when either is lost", "Name one host, or three")
    return Plan(args.broker or "mosquitto", hosts, port, args.operator or "operator", days)


def _host(name: str) -> str:
    labels = name.replace(":", ".").split(".")
    if len(name) > 253 or not all(part.replace("-", "").isalnum() or not part for part in labels) or not name.isascii():
        raise Usage(f"{name!r} is no host's name or address", "Write it without a scheme and a port")
    return name


def _tell(folder: Path, begun: Begun) -> None:
    for path in begun.made:
        say(f"new  {path}")
    say(f"\nfolder   {folder}  (with all its keys: keep a copy in another place)")
    say(f"brokers  {', '.join(begun.urls)}")
    say("\nnext:")
    for server in begun.servers:
        for line in _install(server):
            say(f"  {line}")
    name = shlex.quote(str(folder))
    say(f"  edge-runtime fleet enrol {name} SITE/DEVICE --group canary")
    say(f"  edge-runtime fleet ls --fleet {name}")


def _install(server: Server) -> list[str]:
    source = shlex.quote(str(server.folder))
    if server.node:
        return [f"copy {source}/ to {server.host} as /etc/nats/, and start nats-server there: docs/brokers.md"]
    return [f"copy {source}/ to {server.host} as /etc/mosquitto/edge/, and start mosquitto there: docs/brokers.md"]
