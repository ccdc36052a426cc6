"""Which fleet an operator's verb means, and with whose key: --fleet DIR, or --url for a broker on the loopback."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.fleet.operator.reach import Reach
    from edge_runtime.fleet.operator.signer import Opener, Signer

DEFAULT = Path("fleet")


@dataclass(frozen=True, slots=True)
class Place:
    """One fleet and its operator."""

    reach: Reach
    state_dir: Path
    command_key: Path | None
    command_keys: Path | None
    unsigned: bool

    def signer(self, passphrase_file: Path | None = None) -> Signer:
        """Raises Unavailable if this operator has no key, and has not said that none is needed."""
        from edge_runtime.fleet.operator.signer import Unsigned

        if self.unsigned:
            return Unsigned()
        if self.command_key is None:
            raise Unavailable(
                "this operator has no key that devices would believe",
                "Give --fleet DIR of a fleet with a key, or --unsigned for devices that take unsigned commands",
            )
        from edge_runtime.workshop.enrolment.signing import OperatorKey

        return OperatorKey.load(self.command_key, _passphrase(passphrase_file))

    def opener(self) -> Opener:
        """Who says whether the signature of another operator counts."""
        from edge_runtime.fleet.operator.signer import Unsigned

        if self.unsigned:
            return Unsigned()
        if self.command_keys is None:
            raise Unavailable(
                "the fleet's folder names no public keys of its operators", "Add command_keys = to its fleet.toml"
            )
        from edge_runtime.lifecycle.trust.command_keys import read_command_keys
        from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier

        keys = read_command_keys(self.command_keys)
        return EnvelopeVerifier(lambda: keys)


def add_fleet(parser: argparse.ArgumentParser, signs: bool = False) -> None:
    """--fleet or --url; with `signs`, which key."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--fleet", type=Path, metavar="DIR", help=f"the folder made by `fleet init` ({DEFAULT} if it is there)"
    )
    where.add_argument("--url", action="append", metavar="URL", help="a broker without one: mqtt://127.0.0.1:1883")
    if signs:
        parser.add_argument(
            "--unsigned", action="store_true", help='sign nothing: for devices with commands = "unsigned"'
        )
        parser.add_argument(
            "--passphrase-file", type=Path, metavar="FILE", help="the passphrase of the command key, on one line"
        )


def find_place(args: argparse.Namespace) -> Place:
    """Raises Usage if no fleet is named, and what read_fleet raises."""
    from edge_runtime.fleet.operator.reach import Reach
    from edge_runtime.fleet.settings import parse_url

    unsigned = bool(getattr(args, "unsigned", False))
    if args.url:
        for url in args.url:
            parse_url(url)
        return Place(Reach(tuple(args.url)), Path("fleet-state"), None, None, unsigned)
    folder = args.fleet or DEFAULT
    if args.fleet is None and not (folder / "fleet.toml").exists():
        raise Usage("no fleet is named", "Give --fleet DIR (see fleet init), or --url mqtt://127.0.0.1:1883")
    from edge_runtime.fleet.operator.settings import read_fleet

    read = read_fleet(folder)
    reach = Reach(read.urls, read.name, read.ca_file, read.cert_file, read.key_file)
    return Place(reach, read.state_dir, read.command_key, read.command_keys, unsigned)


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.readline(4096).rstrip(b"\r\n")
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Check the path and its rights") from None
