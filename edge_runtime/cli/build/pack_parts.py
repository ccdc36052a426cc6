"""The parts of a bundle, out of the options of `build pack`: of a classifier, of a detector, or of a bundle with other words."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

from edge_runtime import __version__
from edge_runtime.cli.build.writing import read_whole
from edge_runtime.errors import Refused, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.manifest import Manifest
    from edge_runtime.workshop.export.receipt import ExportReceipt
    from edge_runtime.workshop.packing.assemble import Evidence, Graphs
    from edge_runtime.workshop.packing.identity import Identity
    from edge_runtime.workshop.quantization.receipt import QuantizationReceipt
    from edge_runtime.workshop.validation.record import ValidationRecord

NO_LICENCE = b"Whoever packed this bundle stated no licence. Ask them before you use or pass on the model.\n"
Packed: TypeAlias = "tuple[Manifest, dict[str, bytes], tuple[str, ...]]"
"""A manifest without digests, the members, and what is to be told."""


def classifier(args: argparse.Namespace) -> Packed:
    """A model of slot crops, as `build export` left it."""
    from edge_runtime.workshop.export.receipt import read_receipt
    from edge_runtime.workshop.packing.assemble import Graphs, assemble
    from edge_runtime.workshop.packing.identity import check_identity
    from edge_runtime.workshop.packing.receipts import merged

    exported = read_receipt(args.model)
    if exported.output is None:
        raise Usage(f"{args.model} was exported as a detector", "Give its --detector description")
    if not args.name or not args.version:
        raise Usage("--name and --version are needed", "A bundle is called <name>-<version>.zip")
    if not args.field and not args.samples:
        raise Usage("neither --field nor --samples was given", "The golden set is made of one of them")
    check_identity(args.name, args.version, args.runtime)
    packed, float32 = _models(args)
    quantized, validated = _receipts(args, packed, float32 or packed)
    graphs = Graphs(packed, float32, exported.input, exported.output)
    evidence = _evidence(args, graphs)
    card, licence = _card(args, evidence, {}), _licence(args)
    provenance, receipt = _provenance(args, exported, quantized), merged(exported, quantized, validated)
    return *assemble(_identity(args), graphs, evidence, provenance, receipt, card, licence), evidence.warnings


def _models(args: argparse.Namespace) -> tuple[bytes, bytes | None]:
    """model.onnx, and model.fp32.onnx where the first is int8."""
    float32 = read_whole(args.model, "model")
    return (read_whole(args.int8, "int8 model"), float32) if args.int8 else (float32, None)


def _receipts(
    args: argparse.Namespace, packed: bytes, float32: bytes
) -> tuple[QuantizationReceipt | None, ValidationRecord | None]:
    from edge_runtime.workshop.packing.receipts import check_belongs
    from edge_runtime.workshop.quantization.receipt import read_quantization
    from edge_runtime.workshop.validation.record import read_record

    quantized = read_quantization(args.int8) if args.int8 else None
    validated = read_record(args.validation) if args.validation else None
    check_belongs(packed, float32, quantized, validated)
    return quantized, validated


def _evidence(args: argparse.Namespace, graphs: Graphs) -> Evidence:
    from edge_runtime.records import CropSpec
    from edge_runtime.workshop.packing.datasets import labelled_crops, sample_crops
    from edge_runtime.workshop.packing.labelled import from_crops
    from edge_runtime.workshop.packing.unlabelled import from_pairs

    if args.field:
        crops = labelled_crops(tuple(args.field), CropSpec(graphs.input.size, graphs.input.margin), args.cache)
        return from_crops(graphs, crops, args.seed)
    return from_pairs(graphs, *sample_crops(args.samples, graphs.input), args.seed)


def detector(args: argparse.Namespace) -> Packed:
    """A detector by its description; what `export` and `quantize` said of the files is checked and carried on."""
    from edge_runtime.workshop.detect import manifest_of, read_description
    from edge_runtime.workshop.packing.assemble import Graphs, assemble
    from edge_runtime.workshop.packing.identity import check_identity
    from edge_runtime.workshop.packing.receipts import merged

    described = read_description(args.detector)
    if not args.samples or not args.samples.is_dir():
        raise Usage("a detector's golden set is made from pictures", "Name a folder with --samples")
    check_identity(args.name or described.name, args.version or described.version, args.runtime)
    named = manifest_of(described, _created(args), _runtime(args))
    exported = _exported_detector(args.model, named)
    packed, float32 = _models(args)
    quantized, validated = _receipts(args, packed, float32 or packed)
    graphs = Graphs(packed, float32, named.input, named.output, named.decoder)
    evidence = _pictured(args, graphs, named, described.tolerance)
    card, licence = _card(args, evidence, named.card), _licence(args)
    provenance, receipt = _provenance(args, exported, quantized), merged(exported, quantized, validated)
    return *assemble(_named(args, named), graphs, evidence, provenance, receipt, card, licence), evidence.warnings


def _exported_detector(model: Path, named: Manifest) -> ExportReceipt | None:
    """The receipt beside the graph, if there is one: a detector may come straight from its own tool."""
    from edge_runtime.workshop.export.receipt import read_receipt, receipt_path
    from edge_runtime.workshop.packing.receipts import check_agrees

    if not receipt_path(model).exists():
        return None
    exported = read_receipt(model)
    check_agrees(exported, named.input)
    return exported


def _pictured(args: argparse.Namespace, graphs: Graphs, named: Manifest, tolerance: float) -> Evidence:
    from edge_runtime.workshop.packing.detectors import fitted_to, from_pictures, pictures_in

    pictures = pictures_in(args.samples)
    evidence = from_pictures(graphs.packed, graphs.float32, named, pictures, args.layout, tolerance)
    return fitted_to(evidence, graphs.packed, named, tuple(args.field)) if args.field else evidence


def _named(args: argparse.Namespace, named: Manifest) -> Identity:
    """The description's words, where no option says otherwise."""
    from edge_runtime.workshop.packing.identity import Identity

    return Identity(
        args.name or named.name,
        args.version or named.version,
        named.created,
        args.description or named.description,
        args.licence or named.licence,
        named.runtime,
    )


def reworded(args: argparse.Namespace) -> Packed:
    """The same members; name, card, description, licence name, date and version as far as they are given."""
    import msgspec

    from edge_runtime.lifecycle.bundle import read_bundle
    from edge_runtime.workshop.packing.identity import check_identity, read_card, whole_card

    bundle = read_bundle(args.reword)
    old = bundle.manifest
    check_identity(args.name or old.name, args.version or old.version, None)
    words = {
        "name": args.name,
        "description": args.description,
        "licence": args.licence,
        "created": _created(args) if args.created else "",
        "version": args.version,
        "card": whole_card(read_card(args.card), old.card) if args.card else None,
    }
    manifest = msgspec.structs.replace(old, **{key: text for key, text in words.items() if text})
    members = {"model.onnx": bundle.model, "model.fp32.onnx": bundle.fp32, "golden.npz": bundle.golden}
    members |= {"reference.npz": bundle.reference, "LICENSE": _licence(args) if args.licence_file else bundle.licence}
    files = {name: body for name, body in members.items() if body is not None}
    return manifest, files, () if args.name or args.version else ("the version stays: do not publish both bundles",)


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


def _provenance(
    args: argparse.Namespace, exported: ExportReceipt | None, quantized: QuantizationReceipt | None
) -> dict[str, str | int | float]:
    from edge_runtime.workshop.field import dataset_digest
    from edge_runtime.workshop.packing.toolchain import toolchain

    made: dict[str, str | int | float] = {"seed": args.seed, **toolchain()}
    if args.recipe:
        made["recipe"] = args.recipe
    if args.field:
        made["fitted_on_sha256"] = dataset_digest(tuple(args.field))
    if exported is not None:
        made |= {"source": exported.source.what, "source_sha256": exported.source.sha256}
    if quantized is not None:
        made |= {"quantization_set_sha256": quantized.calibration_sha256, "int8": quantized.types}
    return made


def _card(args: argparse.Namespace, evidence: Evidence, described: dict[str, str]) -> dict[str, str]:
    """What --card says, else the description, else what packing knows."""
    from edge_runtime.workshop.packing.identity import read_card, whole_card

    given = described | (read_card(args.card) if args.card else {})
    return described | whole_card(given, dict(evidence.facts))


def _licence(args: argparse.Namespace) -> bytes:
    if not args.licence_file:
        return NO_LICENCE
    body = read_whole(args.licence_file, "licence")
    if not body.strip():
        raise Refused(f"{args.licence_file} is empty; the text of a licence was expected", "Name another file")
    return body
