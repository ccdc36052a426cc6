"""`model install | activate | shadow | rollback | commit | release`: change which model a device runs.

They work on the device's store; a daemon that runs takes the change over between two frames, within a second or two.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli import model_place
from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say
from edge_runtime.errors import EXIT_OK, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.daemon.model_desk import Began, ModelDesk
    from edge_runtime.daemon.terms import Terms
    from edge_runtime.lifecycle.entries import Entry
    from edge_runtime.records import ModelId

LONG_S = 2_592_000.0
"""A shadow run that nobody ends: 30 days."""
_TAKEN = "a daemon that runs takes it over within a second or two, any other at its next start"


def register(kinds: Verbs) -> None:
    """Add the verbs of this file."""
    _register_install(kinds)
    _register_activate(kinds)
    shadow = _verb(kinds, "shadow", "run a model beside the current one, deciding nothing", "1.1.0 --for 3600")
    shadow.add_argument("model", help="version, digest, or NAME VERSION as one word: name-version")
    shadow.add_argument(
        "--for", dest="shadow_s", type=float, default=LONG_S, metavar="S", help="seconds; default: 30 days"
    )
    shadow.set_defaults(act=_shadow)
    back = _verb(
        kinds,
        "rollback",
        "take the candidate (on trial, or beside) out, else go back to the previous one",
        '--why "too many empties"',
    )
    back.set_defaults(act=_rollback)
    keep = _verb(kinds, "commit", "end a trial now and keep the model", "")
    keep.set_defaults(act=_commit)
    free = _verb(kinds, "release", "lift the quarantine of a bundle", "3f0a9c12ab44")
    free.add_argument("model", help="digest, or its first digits")
    free.set_defaults(act=_release)


def _verb(kinds: Verbs, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    detail = f"{summary[0].upper()}{summary[1:]}. On the device itself; over MQTT the command is model.{name}."
    if name == "shadow":
        detail = f"{summary[0].upper()}{summary[1:]}."
    parser = add_verb(kinds, name, summary, detail, f"  edge-runtime model {name} {example} --config device.toml")
    model_place.add_device(parser)
    parser.add_argument("--why", default="by hand", metavar="TEXT", help="kept in the device's history")
    add_json(parser)
    return parser


def _register_install(kinds: Verbs) -> None:
    verb = add_verb(
        kinds,
        "install",
        "fetch a release from the device's signed repository (nothing runs yet)",
        "Fetches a release that the repository's keys vouch for, checks it, and keeps it on the device. An interrupted\n"
        "download is gone on with. A bundle file is unsigned: only --development takes one.",
        "  edge-runtime model install shelf-occupancy --config device.toml\n"
        "  edge-runtime model install shelf-occupancy --version 1.1.0 --state state --repository URL --root root.json\n"
        "  edge-runtime model install my-model-0.1.0.zip --development --state state",
    )
    verb.add_argument("model", nargs="?", default="", metavar="NAME|FILE", help="default: the device's own model")
    verb.add_argument("--version", default="", metavar="V", help="default: the newest")
    model_place.add_device(verb, source=True)
    add_json(verb)
    verb.set_defaults(act=_install)


def _register_activate(kinds: Verbs) -> None:
    verb = _verb(kinds, "activate", "prove a model on this device, then let it in step by step", "1.1.0")
    verb.add_argument("model", help="version, digest, or name-version")
    verb.add_argument(
        "--shadow", dest="shadow_s", type=float, metavar="S", help="seconds beside the current model first"
    )
    verb.add_argument("--trial", dest="trial_s", type=float, metavar="S", help="seconds on trial, at least")
    verb.add_argument("--trial-frames", type=int, metavar="N", help="frames on trial, at least")
    verb.add_argument(
        "--no-trial", action="store_true", help="keep it at once: the proof is enough (benches, not stores)"
    )
    verb.set_defaults(act=_activate)


def _install(args: argparse.Namespace) -> int:
    place, desk = model_place.open_desk(args)
    if args.model.endswith(".zip") or "/" in args.model:
        model = _install_file(args, desk)
    else:
        model = desk.install_release(args.model, args.version)
    _tell(args, {"name": model.name, "version": model.version, "sha256": model.sha256, "phase": "staged"})
    if not args.json:
        say(f"{paint('installed', 'green')}: {model.name} {model.version} ({model.sha256[:12]}). Nothing runs it yet:")
        named = f"--config {args.config}" if args.config else f"--state {place.state_dir}"
        named += " --development" if args.development else ""
        short = model.version if model.name == place.name else f"{model.name}-{model.version}"
        say(f"  edge-runtime model activate {short} {named}")
    return EXIT_OK


def _install_file(args: argparse.Namespace, desk: ModelDesk) -> ModelId:
    if not args.development:
        raise Usage(
            f"{args.model} is a file, and nobody vouches for it",
            "Publish it (`edge-runtime repo publish`) and install it by name, or give --development on a bench",
        )
    complain(paint("UNSIGNED: nobody vouches for this bundle. A service refuses to run it.", "red"))
    return desk.install_file(Path(args.model))


def _activate(args: argparse.Namespace) -> int:
    place, desk = model_place.open_desk(args)
    entry = _find(desk, place.name, args.model)
    if args.no_trial:
        return _began(args, desk.activate_at_once(entry, args.why), place.terms)
    import msgspec

    given = {
        key: getattr(args, key) for key in ("shadow_s", "trial_s", "trial_frames") if getattr(args, key) is not None
    }
    if any(not 0 <= value <= LONG_S for value in given.values()) or given.get("trial_frames", 1) < 1:
        raise Usage(f"{given} is out of range", f"Seconds from 0 to {LONG_S:.0f}, at least one frame")
    terms = msgspec.structs.replace(place.terms, **given)
    return _began(args, desk.activate(entry, terms, args.why), terms)


def _shadow(args: argparse.Namespace) -> int:
    import msgspec

    place, desk = model_place.open_desk(args)
    if not 1 <= args.shadow_s <= LONG_S:
        raise Usage(f"--for {args.shadow_s} is out of range", f"Give 1 to {LONG_S:.0f} seconds")
    terms = msgspec.structs.replace(place.terms, shadow_s=args.shadow_s)
    return _began(args, desk.activate(_find(desk, place.name, args.model), terms, args.why), terms)


def _began(args: argparse.Namespace, began: Began, terms: Terms) -> int:
    model = began.model
    line = {"name": model.name, "version": model.version, "sha256": model.sha256, "phase": began.phase}
    _tell(args, line | {"variant": began.variant, "said": began.said})
    if args.json:
        return EXIT_OK
    say(f"proved: {began.variant} is to run. {began.said}")
    trial = f"on trial for {terms.trial_s:.0f} s and {terms.trial_frames} frames at least"
    step = {
        "shadow": f"runs beside the current one for {terms.shadow_s:.0f} s, then, if they agree, {trial}",
        "trial": f"runs {trial}; a bad one gives way by itself",
        "committed": "is the current model",
    }
    say(f"{paint(began.phase, 'green')}: {model.name} {model.version} {step[began.phase]}; {_TAKEN}")
    return EXIT_OK


def _rollback(args: argparse.Namespace) -> int:
    _, desk = model_place.open_desk(args)
    model = desk.rollback(args.why)
    _tell(args, {"name": model.name, "version": model.version, "sha256": model.sha256} if model else {"name": ""})
    if not args.json:
        say(f"{f'{model.name} {model.version}' if model else 'no model'} is to run; {_TAKEN}")
    return EXIT_OK


def _commit(args: argparse.Namespace) -> int:
    _, desk = model_place.open_desk(args)
    model = desk.commit(args.why)
    _tell(args, {"name": model.name, "version": model.version, "sha256": model.sha256, "phase": "committed"})
    if not args.json:
        say(f"{model.name} {model.version} stays")
    return EXIT_OK


def _release(args: argparse.Namespace) -> int:
    _, desk = model_place.open_desk(args)
    entry = desk.release(args.model)
    _tell(args, {"name": entry.name, "version": entry.version, "sha256": entry.sha256, "phase": "released"})
    if not args.json:
        say(f"{entry.name} {entry.version} ({entry.sha256[:12]}) may run again. It was barred for: {entry.reason}")
    return EXIT_OK


def _find(desk: ModelDesk, own: str, asked: str) -> Entry:
    """By version of the device's own model, by name-version, or by digest."""
    name, _, version = asked.rpartition("-")
    if asked.count(".") == 2:
        return desk.find(name=name or own, version=version)
    return desk.find(sha256=asked)


def _tell(args: argparse.Namespace, record: Mapping[str, object]) -> None:
    if args.json:
        emit(record)
