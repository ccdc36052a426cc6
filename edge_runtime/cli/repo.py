"""`repo init | publish | put | withdraw | refresh | rotate | verify | show`: a signed model repository in a plain folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.workshop.repository.keys import KeyFolders

_EXAMPLES = """\
  edge-runtime repo init store-models                      then, for every new version:
  edge-runtime repo publish store-models shelf-1.2.0.zip
  edge-runtime repo refresh store-models                   before the signatures run out, from a timer
  edge-runtime repo verify store-models"""


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    parser = add_verb(
        verbs,
        "repo",
        "make and keep a signed repository of models",
        "A repository is a plain folder (metadata/, targets/, root.json) that any web server, share or USB stick serves.\n"
        "Devices are enrolled with its root.json; its keys lie elsewhere and stay with you.",
        _EXAMPLES,
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _register_init(kinds)
    _register_publish(kinds)
    _register_put(kinds)
    _register_withdraw(kinds)
    refresh = _verb(kinds, "refresh", "sign anew before the signatures run out", "store-models")
    refresh.set_defaults(act=_refresh)
    _register_rotate(kinds)
    verify = _verb(kinds, "verify", "do what a new device does, and check every file", "store-models", keys=False)
    verify.add_argument(
        "--root", type=Path, metavar="FILE", help="the root.json of the devices; default: the oldest there"
    )
    add_json(verify)
    verify.set_defaults(act=_verify)
    show = _verb(kinds, "show", "the roles, their keys and times, and the releases", "store-models", keys=False)
    add_json(show)
    show.set_defaults(act=_show)


def _verb(kinds: Verbs, name: str, summary: str, example: str, keys: bool = True) -> argparse.ArgumentParser:
    parser = add_verb(
        kinds, name, summary, f"{summary[0].upper()}{summary[1:]}.", f"  edge-runtime repo {name} {example}"
    )
    parser.add_argument("repository", type=Path, metavar="DIR", help="the repository's folder")
    if keys:
        parser.add_argument(
            "--keys",
            type=Path,
            action="append",
            metavar="KEYS",
            help="folder of .pem keys, may be repeated (<DIR>.keys)",
        )
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line protects the keys")
    return parser


def _register_init(kinds: Verbs) -> None:
    init = _verb(kinds, "init", "begin an empty repository and make its keys", "store-models")
    init.add_argument(
        "--fleet",
        action="store_true",
        help="2 of 3 root keys, a key for every role, delegations for models, desired state and command keys",
    )
    init.add_argument(
        "--days",
        action="append",
        default=[],
        metavar="ROLE=N",
        help="how long signatures of a role are good, may be repeated",
    )
    init.set_defaults(act=_init)


def _register_publish(kinds: Verbs) -> None:
    publish = _verb(kinds, "publish", "verify bundles and offer them", "store-models shelf-1.2.0.zip")
    publish.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="bundle files, oldest first")
    publish.add_argument(
        "--release",
        type=int,
        metavar="N",
        help="number of the first one; only where it must not be the next (a new repository)",
    )
    publish.set_defaults(act=_publish)


def _register_put(kinds: Verbs) -> None:
    put = _verb(kinds, "put", "add or replace a file that is no bundle", "fleet desired/lyon/till-3.json desired.json")
    put.add_argument("path", metavar="PATH", help="its path for devices, as command-keys.json")
    put.add_argument("file", type=Path, metavar="FILE", help="the file")
    put.set_defaults(act=_put)


def _register_withdraw(kinds: Verbs) -> None:
    withdraw = _verb(kinds, "withdraw", "offer a version no longer", "store-models shelf 1.2.0")
    withdraw.add_argument("name", metavar="NAME")
    withdraw.add_argument("version", metavar="VERSION")
    withdraw.set_defaults(act=_withdraw)


def _register_rotate(kinds: Verbs) -> None:
    rotate = _verb(kinds, "rotate", "give roles new keys and sign anew with them", "store-models --role root")
    rotate.add_argument(
        "--role",
        action="append",
        required=True,
        metavar="ROLE",
        help="which role, may be repeated; `all` for every role",
    )
    rotate.add_argument("--only", default="", metavar="KEYID", help="only the key whose id begins so")
    rotate.set_defaults(act=_rotate)


def _keys(args: argparse.Namespace) -> KeyFolders:
    from edge_runtime.workshop.repository.keys import KeyFolders, read_passphrase

    folder = args.repository.resolve()
    if not folder.name:
        raise Usage(f"{folder} can not be a repository", "Name a folder of its own")
    passphrase = read_passphrase(args.passphrase_file) if args.passphrase_file else None
    return KeyFolders(args.keys or [folder.with_name(folder.name + ".keys")], passphrase)


def _init(args: argparse.Namespace) -> int:
    import dataclasses

    keys = _keys(args)
    from edge_runtime.workshop.repository import changes
    from edge_runtime.workshop.repository.plan import FLEET, NEWCOMER
    from edge_runtime.workshop.repository.verify import root_digest

    plan = FLEET if args.fleet else NEWCOMER
    plan = dataclasses.replace(
        plan, days=dict(plan.days) | _days(args.days, {*plan.days, *(d.role for d in plan.delegations)})
    )
    changes.init(args.repository, plan, keys)
    root, sha256 = root_digest(args.repository)
    say(f"repository  {args.repository}")
    say(f"keys        {keys.folders[0]}  (keep them off the server, and a copy elsewhere)")
    say(f"root        {root}")
    say(f"sha256      {sha256}")
    say()
    say("next:")
    say(f"  edge-runtime repo publish {args.repository} BUNDLE.zip")
    say(f"  serve the folder, or copy it: python -m http.server --directory {args.repository}")
    say("  give root.json to each device, and in its device.toml:")
    say('    [model]\n    repository = "https://HOST/PATH"   # or a folder\n    root = "root.json"')
    if args.fleet:
        say("  put the three root-*.pem in three places; any two of them can change all other keys")
        say(f"  every day, from a timer: edge-runtime repo refresh {args.repository}")
    else:
        say(f"  before {plan.days_of('timestamp')} days have passed: edge-runtime repo refresh {args.repository}")
    return EXIT_OK


def _days(given: list[str], roles: set[str]) -> dict[str, int]:
    days = {}
    for text in given:
        role, _, count = text.partition("=")
        if role not in roles or not count.isdecimal() or not 1 <= int(count) <= 36_500:
            raise Usage(f"--days {text} is not understood", f"Write ROLE=N with one of {', '.join(sorted(roles))}")
        days[role] = int(count)
    return days


def _publish(args: argparse.Namespace) -> int:
    keys = _keys(args)
    from edge_runtime.workshop.repository import changes

    if args.release is not None and not 1 <= args.release < 2**53:
        raise Usage(f"--release {args.release} is no release number", "Choose one from 1 to 2^53")
    for published in changes.publish(args.repository, args.bundles, keys, args.release):
        release = published.release
        done = "published" if published.new else "is there already"
        say(f"{release.name} {release.version}: {done} as release {release.release}, sha256 {release.sha256[:12]}")
    return EXIT_OK


def _put(args: argparse.Namespace) -> int:
    keys = _keys(args)
    from edge_runtime.workshop.repository import changes

    for path, role in changes.put_files(args.repository, {args.path: args.file}, keys).items():
        say(f"{path}: offered by {role}")
    return EXIT_OK


def _withdraw(args: argparse.Namespace) -> int:
    keys = _keys(args)
    from edge_runtime.workshop.repository import changes

    changes.withdraw(args.repository, args.name, args.version, keys)
    say(f"{args.name} {args.version}: offered no longer; devices that run it go on")
    return EXIT_OK


def _refresh(args: argparse.Namespace) -> int:
    keys = _keys(args)
    from edge_runtime.workshop.repository import changes

    written, waiting = changes.refresh(args.repository, keys)
    say(f"signed anew: {', '.join(written)}")
    for role in waiting:
        complain(f"{role} should be signed anew, and its keys are not here. Run this again with --keys")
    return EXIT_PROBLEM if waiting else EXIT_OK


def _rotate(args: argparse.Namespace) -> int:
    keys = _keys(args)
    from edge_runtime.workshop.repository import changes
    from edge_runtime.workshop.repository.verify import roles_of, root_digest

    roles = [view.role for view in roles_of(args.repository)] if "all" in args.role else args.role
    retired = changes.rotate(args.repository, list(dict.fromkeys(roles)), keys, args.only)
    say(f"new keys for {', '.join(dict.fromkeys(roles))} in {keys.folders[0]}")
    for path in retired:
        say(f"no longer used: {path}")
    say(f"devices follow by themselves; enrol new ones with root.json, sha256 {root_digest(args.repository)[1]}")
    return EXIT_OK


def _verify(args: argparse.Namespace) -> int:
    import dataclasses

    from edge_runtime.workshop.repository.verify import verify

    found = verify(args.repository, args.root)
    if args.json:
        emit({"path": str(args.repository), "ok": not found.faults} | dataclasses.asdict(found))
    else:
        for fault in found.faults:
            complain(fault)
        for warning in found.warnings:
            complain(warning)
        state = paint("whole", "green") if not found.faults else paint("not usable", "red")
        say(
            f"{args.repository}: {state}, root version {found.root_version}, {found.files} files, {found.bytes / 1e6:.2f} MB"
        )
    return EXIT_PROBLEM if found.faults else EXIT_OK


def _show(args: argparse.Namespace) -> int:
    import dataclasses

    from edge_runtime.workshop.repository.verify import releases_of, roles_of, root_digest

    views, releases = roles_of(args.repository), releases_of(args.repository)
    root, sha256 = root_digest(args.repository)
    if args.json:
        emit(
            {
                "root": str(root),
                "root_sha256": sha256,
                "roles": [dataclasses.asdict(view) for view in views],
                "releases": [dataclasses.asdict(release) for release in releases],
            }
        )
        return EXIT_OK
    rows = [
        (v.role, str(v.version), v.expires, f"{v.threshold} of {len(v.keyids)}", " ".join(k[:8] for k in v.keyids))
        for v in views
    ]
    say(table(("role", "version", "expires", "signed by", "keys"), rows))
    say()
    listed = [(r.name, r.version, str(r.release), f"{r.bytes / 1e6:.2f}", r.sha256[:12]) for r in releases]
    say(table(("model", "version", "release", "MB", "sha256"), listed) if listed else "no model is published yet")
    say(f"\nroot.json sha256 {sha256}")
    return EXIT_OK
