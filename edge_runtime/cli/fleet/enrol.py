"""`fleet enrol` and `fleet revoke`: who belongs to a fleet, and who no longer does."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.workshop.enrolment.members import Done, Wanted
    from edge_runtime.workshop.enrolment.register import Entry

_EXAMPLES = """\
  edge-runtime fleet enrol fleet lyon/till-3 --group canary
  edge-runtime fleet enrol fleet lyon/till-3 --csr till-3.csr    the key was made on the device and stays there
  edge-runtime fleet enrol fleet --from devices.csv              lines of: site,device,groups
  edge-runtime fleet enrol fleet lyon/till-3 --renew             before its certificate runs out
  edge-runtime fleet enrol fleet _collector/warehouse            who keeps events; _reader/NAME only looks
  edge-runtime fleet enrol fleet _operator/bob --verb ping --audience 'lyon/*'
  edge-runtime fleet enrol fleet --list"""
_MAX_FILE_BYTES = 16_000_000
_SOON_S = 60 * 86_400


def register(verbs: Verbs) -> None:
    """Add both verbs."""
    enrol = add_verb(
        verbs,
        "enrol",
        "let devices and people into the fleet: certificate, rules, configuration",
        "Makes a certificate for each, a folder to copy to it, and writes the brokers' rules anew.",
        _EXAMPLES,
    )
    _common(enrol)
    enrol.add_argument(
        "names", nargs="*", metavar="SITE/DEVICE", help="or _operator/NAME, _collector/NAME, _reader/NAME, _home/NAME"
    )
    enrol.add_argument("--group", action="append", default=[], metavar="NAME", help="may be repeated")
    enrol.add_argument("--out", type=Path, metavar="FOLDER", help="where its files go (DIR/devices/SITE/DEVICE)")
    enrol.add_argument("--csr", type=Path, metavar="FILE", help="signing request from the device, in PEM")
    enrol.add_argument("--from", type=Path, dest="listed", metavar="CSV", help="many: site,device,groups (by space)")
    enrol.add_argument("--days", type=int, metavar="N", help="life of the certificate (as `fleet init` said)")
    enrol.add_argument("--verb", action="append", default=[], metavar="PATTERN", help="an operator may ask only this")
    enrol.add_argument("--audience", action="append", default=[], metavar="PATTERN", help="... and only of these")
    kinds = enrol.add_mutually_exclusive_group()
    kinds.add_argument("--renew", action="store_true", help="the next certificate of who is enrolled")
    kinds.add_argument("--regroup", action="store_true", help="other groups for who is enrolled")
    kinds.add_argument("--list", action="store_true", help="who is enrolled, and until when")
    add_json(enrol)
    enrol.set_defaults(act=_enrol)
    revoke = add_verb(
        verbs,
        "revoke",
        "let somebody in no more",
        "Refuses every certificate that it ever had, from the moment when the brokers have read the new rules.",
        "  edge-runtime fleet revoke fleet lyon/till-3",
    )
    _common(revoke)
    revoke.add_argument("names", nargs="+", metavar="SITE/DEVICE", help="who")
    revoke.set_defaults(act=_revoke)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the operator's folder")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line opens the keys")


def _enrol(args: argparse.Namespace) -> int:
    from edge_runtime.workshop.enrolment import members
    from edge_runtime.workshop.enrolment.folder import Folder

    folder = Folder(args.folder)
    if args.list:
        return _list(folder.read_register().entries, args.json)
    wanted = _wanted(args)
    if args.days is not None and not 1 <= args.days <= 3_650:
        raise Usage(f"--days {args.days} is not possible", "Choose from 1 to 3650")
    folder.read_register()
    with folder.alone():
        signer = members.authority(folder, _passphrase(args))
        if args.regroup:
            done = [members.regroup(folder, want.identity, want.groups, signer, time.time) for want in wanted][-1]
        else:
            done = members.enrol(folder, wanted, signer, time.time, args.renew, args.days)
    _tell(done, args.json)
    return EXIT_OK


def _revoke(args: argparse.Namespace) -> int:
    from edge_runtime.workshop.enrolment import members
    from edge_runtime.workshop.enrolment.folder import Folder
    from edge_runtime.workshop.enrolment.identity import parse

    folder = Folder(args.folder)
    folder.read_register()
    with folder.alone():
        signer = members.authority(folder, _passphrase(args))
        done = members.revoke(folder, [parse(name) for name in args.names], signer, time.time)
    for entry in done.entries:
        say(f"revoked  {entry.identity}")
    say(f"{done.revoked} certificates count no more")
    _tell_copies(done.copies)
    return EXIT_OK


def _wanted(args: argparse.Namespace) -> list[Wanted]:
    from edge_runtime.workshop.enrolment.identity import parse
    from edge_runtime.workshop.enrolment.members import Wanted
    from edge_runtime.workshop.enrolment.operators import Rights

    named = [(name, tuple(args.group)) for name in args.names]
    named += [(name, (*groups, *args.group)) for name, groups in (_read_csv(args.listed) if args.listed else ())]
    if not named:
        raise Usage("nobody is named", "Name SITE/DEVICE, or a file with --from")
    if (args.csr or args.out) and len(named) > 1:
        raise Usage("--csr and --out are for one device at a time", "Name one")
    csr = _read(args.csr) if args.csr else None
    known = _passphrase(args) if args.renew else None  # opens a key that is there; a new one goes to somebody else
    rights = Rights(tuple(args.verb) or ("*",), tuple(args.audience) or ("*",), known)
    return [Wanted(parse(name), groups, csr, args.out, rights) for name, groups in named]


def _read_csv(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    try:
        lines = _read(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Usage(f"{path} is not UTF-8", "Save it as UTF-8") from None
    try:
        rows = list(csv.reader(lines))
    except csv.Error as fault:
        raise Usage(f"{path} can not be read as CSV: {fault}", "Write lines of site,device,groups") from None
    found = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or (number == 1 and cells[:2] == ["site", "device"]):
            continue
        if not 2 <= len(cells) <= 3:
            raise Usage(f"{path}:{number} has {len(cells)} columns", "Write site,device or site,device,groups")
        found.append((f"{cells[0]}/{cells[1]}", tuple(cells[2].replace(";", " ").split()) if cells[2:] else ()))
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Check the path") from None
    if len(raw) > _MAX_FILE_BYTES:  # cut in a line, it would enrol a device that nobody named
        raise Usage(f"{path} has more than {_MAX_FILE_BYTES} bytes", "Split it")
    return raw


def _passphrase(args: argparse.Namespace) -> bytes | None:
    from edge_runtime.workshop.repository.keys import read_passphrase

    return read_passphrase(args.passphrase_file) if args.passphrase_file else None


def _tell(done: Done, as_json: bool) -> None:
    if as_json:
        for entry in done.entries:
            place = done.folders.get(entry.identity)
            emit(_record(entry) | {"folder": str(place) if place else None})
        return
    for entry in done.entries:
        place = done.folders.get(entry.identity)
        say(f"{entry.identity}{': ' + str(place) if place else ''}  groups: {' '.join(entry.groups) or 'none'}")
    _tell_copies(done.copies)
    if any(not identity.startswith("_") for identity in done.folders):
        say(
            "  copy each folder to its device, keep device.key readable by the service alone, and merge its device.toml"
        )
    for identity, place in done.folders.items():
        if identity.startswith("_"):
            say(f"  bring {place} to whom it is for; there: edge-runtime fleet ls --fleet {place.name}")


def _tell_copies(copies: Sequence[Path]) -> None:
    say("\nnext:")
    for path in copies:
        if path.name == "command-keys.json":
            say(f"  bring {path} to the devices: edge-runtime repo put REPOSITORY {path.name} {path}")
        else:
            say(f"  copy {path} to its broker")
    names = {path.name for path in copies}
    if "acl" in names:
        say("  then there: systemctl reload mosquitto    (or kill -HUP)")
    if "permissions.conf" in names:
        say("  then there: nats-server --signal reload   (or kill -HUP)")


def _list(entries: Sequence[Entry], as_json: bool) -> int:
    if as_json:
        for entry in entries:
            emit(_record(entry))
        return EXIT_OK
    rows = [(e.identity, " ".join(e.groups), str(e.generation), _state(e)) for e in entries]
    say(table(("identity", "groups", "generation", "certificate"), rows) if rows else "nobody is enrolled yet")
    return EXIT_OK


def _state(entry: Entry) -> str:
    current = entry.current
    if current is None:
        return paint("revoked" if entry.certificates else "none", "red")
    left = current.not_after - time.time()
    until = f"until {time.strftime('%Y-%m-%d', time.gmtime(current.not_after))}"
    if left < 0:
        return paint(f"ran out: {until}", "red")
    return paint(f"{until}, renew it", "yellow") if left < _SOON_S else until


def _record(entry: Entry) -> dict[str, object]:
    current = entry.current
    return {
        "identity": entry.identity,
        "groups": list(entry.groups),
        "generation": entry.generation,
        "admitted": entry.admitted,
        "serial": current.serial if current else None,
        "not_after": current.not_after if current else None,
    }
