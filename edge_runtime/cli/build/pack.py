"""`build pack`: models, receipts and data to one bundle; the same input always gives the same bytes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.build import pack_parts
from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import check_out, write_whole
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say
from edge_runtime.errors import EXIT_OK, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.manifest import Manifest

_DETAIL = """\
Makes <name>-<version>.zip of a float model (as `build export` writes it) and, if there is one, its int8 file. With
--field, a labelled dataset that the model was not trained on, confidence and thresholds are fitted and the golden set and
the drift reference are taken from it. Without labels --samples is enough, but the confidence is then not calibrated, and
the card says so. Nothing is measured and no clock is read here: the same input gives the same bytes."""
_EXAMPLES = """\
  edge-runtime build pack shelf.onnx --int8 shelf.int8.onnx --name shelf --version 1.0.0 --field validation/ --out .
  edge-runtime build pack shelf.onnx --name shelf --version 0.1.0 --samples crops.npz --card card.toml --out .
  edge-runtime build pack yolox.onnx --detector yolox.toml --samples photographs/ --out .
  edge-runtime build pack --check shelf-1.0.0.zip"""


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    verb = add_verb(verbs, "pack", "a bundle of models, receipts and data", _DETAIL, _EXAMPLES)
    verb.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="the float ONNX file, its export receipt beside it"
    )
    verb.add_argument("--check", type=Path, metavar="BUNDLE", help="check a bundle and name what was changed in it")
    verb.add_argument(
        "--reword", type=Path, metavar="BUNDLE", help="a bundle again with other words, its members untouched"
    )
    verb.add_argument("--int8", type=Path, metavar="FILE", help="the int8 file, its quantization receipt beside it")
    verb.add_argument("--name", help="small letters, digits and '-'")
    verb.add_argument("--version", help="three numbers: 1.0.0")
    verb.add_argument("--out", type=Path, metavar="DIR", default=Path(), help="folder of the bundle; default: here")
    verb.add_argument("--force", action="store_true", help="replace what is there")
    _add_data(verb)
    _add_words(verb)
    add_json(verb)
    verb.set_defaults(act=_act)


def _add_data(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("data and receipts")
    group.add_argument("--field", type=Path, action="append", metavar="DATASET", help="labelled shelves to fit on")
    group.add_argument("--samples", type=Path, metavar="DIR|NPZ", help="crops (a detector: pictures) without labels")
    group.add_argument(
        "--validation", type=Path, metavar="JSON", help="what `build validate --json` said of these files"
    )
    group.add_argument("--detector", type=Path, metavar="TOML", help="a detector's description (docs/detectors.md)")
    group.add_argument("--layout", type=Path, metavar="FILE", help="of a detector's sample frames")
    group.add_argument("--cache", type=Path, metavar="DIR", help="keep the crops of --field here for the next time")
    group.add_argument("--seed", type=int, default=0, help="chooses among golden cases; default 0")


def _add_words(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("words")
    group.add_argument("--card", type=Path, metavar="TOML", help="intended_use, limits, training_data, how_measured")
    group.add_argument("--description", default="", help="one sentence")
    group.add_argument("--licence", default="", metavar="NAME", help="such as Apache-2.0")
    group.add_argument("--licence-file", type=Path, metavar="FILE", help="its text")
    group.add_argument("--created", default="", metavar="DATE", help="default: SOURCE_DATE_EPOCH, else `not recorded`")
    group.add_argument("--recipe", default="", metavar="TEXT", help="what made the model, for the provenance")
    group.add_argument(
        "--runtime", nargs=2, metavar=("FIRST", "BEYOND"), help="runtime range; default: this version up to 2.0.0"
    )


def _act(args: argparse.Namespace) -> int:
    if args.check:
        return _check(args.check, args.json)
    if args.reword:
        return _pack(args, *pack_parts.reworded(args))
    if args.model is None:
        raise Usage("no MODEL was given", "Name the float ONNX file, or --check BUNDLE")
    require_build()
    return _pack(args, *(pack_parts.detector(args) if args.detector else pack_parts.classifier(args)))


def _check(path: Path, as_json: bool) -> int:
    from edge_runtime.lifecycle.bundle import verify_bundle

    report = verify_bundle(path)
    if as_json:
        emit({"path": str(path), "ok": True, "sha256": report.id.sha256, "members": report.members})
    else:
        say(f"{path}: whole, {report.id.name} {report.id.version}, sha256 {report.id.sha256}")
    return EXIT_OK


def _pack(args: argparse.Namespace, manifest: Manifest, files: dict[str, bytes], warnings: tuple[str, ...]) -> int:
    import hashlib

    from edge_runtime.workshop.pack import pack

    path = args.out / f"{manifest.name}-{manifest.version}.zip"
    if not args.out.is_dir():
        raise Usage(f"--out {args.out} is not a folder", "Make it, or name another one")
    check_out(path, args.force)
    body = pack(manifest, files)
    sha256 = hashlib.sha256(body).hexdigest()
    write_whole(path, body)
    for warning in warnings:
        complain(f"note: {warning}")
    if args.json:
        emit({"path": str(path), "sha256": sha256, "bytes": len(body), "warnings": list(warnings)})
    else:
        say(f"{path}: {len(body)} bytes, sha256 {sha256}")
    return EXIT_OK
