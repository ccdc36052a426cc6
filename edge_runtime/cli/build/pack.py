"""`build pack`: models, receipts and data to one bundle; the same input always gives the same bytes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge_runtime import __version__
from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import check_out, read_whole, write_whole
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say
from edge_runtime.errors import EXIT_OK, Refused, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.manifest import Manifest
    from edge_runtime.workshop.packing.assemble import Evidence, Graphs
    from edge_runtime.workshop.packing.identity import Identity

NO_LICENCE = b"Whoever packed this bundle stated no licence. Ask them before you use or pass on the model.\n"
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


Packed: TypeAlias = "tuple[Manifest, dict[str, bytes], tuple[str, ...]]"


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
        return _pack(args, *_reworded(args))
    if args.model is None:
        raise Usage("no MODEL was given", "Name the float ONNX file, or --check BUNDLE")
    require_build()
    return _pack(args, *(_detector(args) if args.detector else _classifier(args)))


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


def _classifier(args: argparse.Namespace) -> Packed:
    from edge_runtime.workshop.export.receipt import read_receipt
    from edge_runtime.workshop.packing.assemble import Graphs, assemble
    from edge_runtime.workshop.packing.receipts import check_belongs, merged
    from edge_runtime.workshop.quantization.receipt import read_quantization
    from edge_runtime.workshop.validation.record import read_record

    exported = read_receipt(args.model)
    if exported.output is None:
        raise Usage(f"{args.model} was exported as a detector", "Give its --detector description")
    if not args.name or not args.version:
        raise Usage("--name and --version are needed", "A bundle is called <name>-<version>.zip")
    if not args.field and not args.samples:
        raise Usage("neither --field nor --samples was given", "The golden set is made of one of them")
    float32 = read_whole(args.model, "model")
    packed = read_whole(args.int8, "int8 model") if args.int8 else float32
    quantized = read_quantization(args.int8) if args.int8 else None
    validated = read_record(args.validation) if args.validation else None
    check_belongs(packed, float32, quantized, validated)
    graphs = Graphs(packed, float32 if args.int8 else None, exported.input, exported.output)
    evidence = _evidence(args, graphs)
    provenance = _provenance(args) | {"source": exported.source.what, "source_sha256": exported.source.sha256}
    if quantized is not None:
        provenance |= {"quantization_set_sha256": quantized.calibration_sha256, "int8": quantized.types}
    receipt = merged(exported, quantized, validated)
    manifest, files = assemble(
        _identity(args), graphs, evidence, provenance, receipt, _card(args, evidence), _licence(args)
    )
    return manifest, files, evidence.warnings


def _evidence(args: argparse.Namespace, graphs: Graphs) -> Evidence:
    from edge_runtime.records import CropSpec
    from edge_runtime.workshop.packing.datasets import labelled_crops, sample_crops
    from edge_runtime.workshop.packing.labelled import from_crops
    from edge_runtime.workshop.packing.unlabelled import from_pairs

    if args.field:
        crops = labelled_crops(tuple(args.field), CropSpec(graphs.input.size, graphs.input.margin), args.cache)
        return from_crops(graphs, crops, args.seed)
    return from_pairs(graphs, *sample_crops(args.samples, graphs.input), args.seed)


def _detector(args: argparse.Namespace) -> Packed:
    from edge_runtime.workshop.detect import manifest_of, read_description
    from edge_runtime.workshop.packing.assemble import Graphs, assemble
    from edge_runtime.workshop.packing.detectors import fitted_to, from_pictures, pictures_in
    from edge_runtime.workshop.packing.identity import Identity

    described = read_description(args.detector)
    if not args.samples or not args.samples.is_dir():
        raise Usage("a detector's golden set is made from pictures", "Name a folder with --samples")
    named = manifest_of(described, _created(args), _runtime(args))
    float32 = read_whole(args.model, "model")
    packed = read_whole(args.int8, "int8 model") if args.int8 else float32
    tolerance = described.tolerance
    evidence = from_pictures(
        packed, float32 if args.int8 else None, named, pictures_in(args.samples), args.layout, tolerance
    )
    if args.field:
        evidence = fitted_to(evidence, packed, named, tuple(args.field))
    graphs = Graphs(packed, float32 if args.int8 else None, named.input, named.output, named.decoder)
    identity = Identity(
        args.name or named.name,
        args.version or named.version,
        named.created,
        args.description or named.description,
        args.licence or named.licence,
        named.runtime,
    )
    card = named.card | _card(args, evidence)
    manifest, files = assemble(identity, graphs, evidence, _provenance(args), {}, card, _licence(args))
    return manifest, files, evidence.warnings


def _reworded(args: argparse.Namespace) -> Packed:
    """The same members; card, description, licence name, date and version as far as they are given."""
    import msgspec

    from edge_runtime.lifecycle.bundle import read_bundle
    from edge_runtime.workshop.packing.identity import read_card, whole_card

    bundle = read_bundle(args.reword)
    words = {
        "description": args.description,
        "licence": args.licence,
        "created": _created(args) if args.created else "",
        "version": args.version,
        "card": whole_card(read_card(args.card), {}) if args.card else None,
    }
    manifest = msgspec.structs.replace(bundle.manifest, **{key: text for key, text in words.items() if text})
    members = {"model.onnx": bundle.model, "model.fp32.onnx": bundle.fp32, "golden.npz": bundle.golden}
    members |= {"reference.npz": bundle.reference, "LICENSE": _licence(args) if args.licence_file else bundle.licence}
    files = {name: body for name, body in members.items() if body is not None}
    return manifest, files, () if args.version else ("the version stays: do not publish both bundles",)


def _identity(args: argparse.Namespace) -> Identity:
    from edge_runtime.workshop.packing.identity import Identity

    licence = args.licence or ("see LICENSE" if args.licence_file else "not stated")
    description = args.description or f"{args.name}, packed from {args.model.name}."
    return Identity(args.name, args.version, _created(args), description, licence, _runtime(args))


def _created(args: argparse.Namespace) -> str:
    import datetime

    from edge_runtime.config import read_environment
    from edge_runtime.workshop.packing.identity import NOT_RECORDED

    if args.created:
        try:
            return datetime.date.fromisoformat(args.created).isoformat()
        except ValueError:
            raise Usage(f"--created {args.created!r} is not a date", "Write for example 2026-11-23") from None
    epoch = read_environment().source_date_epoch
    return (
        datetime.datetime.fromtimestamp(epoch, datetime.UTC).date().isoformat() if epoch is not None else NOT_RECORDED
    )


def _runtime(args: argparse.Namespace) -> tuple[str, str]:
    first, beyond = args.runtime or (__version__, "2.0.0")
    return str(first), str(beyond)


def _provenance(args: argparse.Namespace) -> dict[str, str | int | float]:
    from edge_runtime.workshop.field import dataset_digest
    from edge_runtime.workshop.packing.toolchain import toolchain

    made: dict[str, str | int | float] = {"seed": args.seed, **toolchain()}
    if args.recipe:
        made["recipe"] = args.recipe
    if args.field:
        made["fitted_on_sha256"] = dataset_digest(tuple(args.field))
    return made


def _card(args: argparse.Namespace, evidence: Evidence) -> dict[str, str]:
    from edge_runtime.workshop.packing.identity import read_card, whole_card

    return whole_card(read_card(args.card) if args.card else {}, dict(evidence.facts))


def _licence(args: argparse.Namespace) -> bytes:
    if not args.licence_file:
        return NO_LICENCE
    body = read_whole(args.licence_file, "licence")
    if not body.strip():
        raise Refused(f"{args.licence_file} is empty; the text of a licence was expected", "Name another file")
    return body
