"""`build quantize`: a float ONNX file to int8, every choice by measurement, with a receipt."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import bar, check_out, read_whole, wipe, write_whole
from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Refused, Unavailable, Usage

if TYPE_CHECKING:
    import onnx

    from edge_runtime.cli.output import Verbs
    from edge_runtime.workshop.export.receipt import ExportReceipt
    from edge_runtime.workshop.quantization.receipt import QuantizationReceipt
    from edge_runtime.workshop.quantization.samples import Samples
    from edge_runtime.workshop.quantization.search import Found, Wish

TARGETS = ("any", "auto", "x86", "arm")
METHODS = ("minmax", "percentile", "entropy")


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    verb = add_verb(
        verbs,
        "quantize",
        "int8 from a calibration set, with an accuracy gate",
        "Makes a static int8 (QDQ, per-channel) file. Three calibration methods are tried on three quarters of the set and\n"
        "judged on the rest; the best is taken. If it misses the gate, the noisiest tensors go back to float, one group at\n"
        "a time. Writes MODEL.int8.onnx and a receipt beside it. Exit code 1 and the table if the gate can not be met.",
        "  edge-runtime build quantize shelf.onnx --calibration crops/ --out shelf.int8.onnx\n"
        "  edge-runtime build quantize shelf.onnx --calibration pairs.npz --target arm --out shelf.int8.onnx --json\n\n"
        "A calibration set is a folder of normalized crops (pairs-NN.png strips, or PNG and JPG files; sub-folders are\n"
        "labels), or an npz with `current`, `reference` and `label`, or with one array for each input of the graph.",
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="a float ONNX file, as `build export` writes it")
    verb.add_argument("--calibration", type=Path, required=True, metavar="DIR|NPZ", help="normalized crops")
    verb.add_argument("--judge", type=Path, metavar="DIR|NPZ", help="judge by these instead of a held-back quarter")
    verb.add_argument("--detector", type=Path, metavar="TOML", help="a detector's description; calibrate with pictures")
    verb.add_argument("--layout", type=Path, metavar="FILE", help="of a detector's calibration frames")
    verb.add_argument("--out", type=Path, metavar="FILE", help="default: MODEL with .int8.onnx")
    verb.add_argument(
        "--target", choices=TARGETS, default="any", help="any (default): one file for all; auto: this machine"
    )
    verb.add_argument("--method", choices=METHODS, action="append", help="try only this method (may be given again)")
    verb.add_argument("--keep-float", action="append", default=[], metavar="PREFIX", help="nodes that stay float")
    verb.add_argument("--agreement", type=float, default=0.995, metavar="SHARE", help="the gate; default 0.995")
    verb.add_argument("--loss", type=float, default=0.002, metavar="SHARE", help="the gate with labels; default 0.002")
    verb.add_argument("--force", action="store_true", help="replace what is there")
    add_json(verb)
    verb.set_defaults(act=_quantize)


def _quantize(args: argparse.Namespace) -> int:
    require_build()
    out = args.out or args.model.with_name(f"{args.model.stem}.int8.onnx")
    _check(args, out)
    from edge_runtime.workshop.quantization.receipt import encode_quantization, receipt_of, receipt_path
    from edge_runtime.workshop.quantization.search import search

    source = read_whole(args.model, "model")
    model = _model(args.model)
    samples, judged, wish = _detector(args, model) if args.detector else _classifier(args)
    try:
        found = search(model, samples, wish, judged, bar())
    finally:
        wipe()
    body = found.int8.SerializeToString(deterministic=True)
    receipt = receipt_of(source, body, found, wish.gate, args.calibration.name, samples.digest)
    if receipt.passed:
        write_whole(out, body)
        write_whole(receipt_path(out), encode_quantization(receipt))
    _tell(args, out, receipt, found)
    return EXIT_OK if receipt.passed else EXIT_PROBLEM


def _check(args: argparse.Namespace, out: Path) -> None:
    for option, value in (("--agreement", args.agreement), ("--loss", args.loss)):
        if not 0.0 <= value <= 1.0:
            raise Usage(f"{option} {value:g}: a share from 0 to 1 was expected", "0.995 is 99.5 %")
    if out.resolve() == args.model.resolve():
        raise Usage(f"--out {out} is the float file itself", "Name another file; the bundle carries both")
    check_out(out, args.force)


def _exported(path: Path) -> ExportReceipt | None:
    """The export receipt beside the model; None if there is none."""
    from edge_runtime.workshop.export.receipt import read_receipt, receipt_path

    return read_receipt(path) if receipt_path(path).exists() else None


def _model(path: Path) -> onnx.ModelProto:
    from edge_runtime.workshop.export.graph_file import read_graph

    model = read_graph(path).model
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise Refused(f"{path} is quantized already", "Give the float file")
    return model


def _samples(path: Path, exported: ExportReceipt | None, model: Path) -> Samples:
    from edge_runtime.workshop.quantization.arrays import open_arrays
    from edge_runtime.workshop.quantization.samples import open_samples

    if exported is not None:
        return open_samples(path, exported.input)
    if path.suffix == ".npz":
        return open_arrays(path)
    raise Unavailable(
        f"there is no export receipt beside {model}, so nobody knows how it wants its crops",
        "Pass it through `edge-runtime build export`, or give an npz with one array for each of its inputs",
    )


def _classifier(args: argparse.Namespace) -> tuple[Samples, Samples | None, Wish]:
    exported = _exported(args.model)
    samples = _samples(args.calibration, exported, args.model)
    judged = _samples(args.judge, exported, args.model) if args.judge else None
    return samples, judged, _wish(args, exported)


def _detector(args: argparse.Namespace, model: onnx.ModelProto) -> tuple[Samples, Samples | None, Wish]:
    """Calibration pictures are painted onto canvases as on a device; boxes that both files find count as agreement."""
    from dataclasses import replace

    from edge_runtime.workshop.packing.detectors import read_canvases
    from edge_runtime.workshop.quantization.arrays import CropArrays
    from edge_runtime.workshop.quantization.judge import boxes_alike

    sets = [read_canvases(args.detector, folder, args.layout) for folder in (args.calibration, args.judge) if folder]
    samples = [CropArrays(canvases, None, manifest.input) for manifest, canvases in sets]
    manifest = sets[0][0]
    assert manifest.decoder is not None, "a detector's manifest has a decoder"
    names = tuple(output.name for output in model.graph.output)
    agree = boxes_alike(manifest.decoder, manifest.input.size, manifest.output.name, names)
    return samples[0], samples[1] if args.judge else None, replace(_wish(args, None), agree=agree)


def _wish(args: argparse.Namespace, exported: ExportReceipt | None) -> Wish:
    from edge_runtime.workshop.quantization.judge import Gate
    from edge_runtime.workshop.quantization.processor import types_here
    from edge_runtime.workshop.quantization.search import Wish

    return Wish(
        types_here(args.target),
        tuple(dict.fromkeys(args.method or METHODS)),
        tuple(args.keep_float),
        Gate(args.agreement, args.loss),
        exported.output if exported else None,
    )


def _tell(args: argparse.Namespace, out: Path, receipt: QuantizationReceipt, found: Found) -> None:
    import msgspec

    from edge_runtime.workshop.quantization.memory import peak_mb

    if args.json:
        record = {"out": str(out) if receipt.passed else "", "peak_mb": round(peak_mb(), 1)}
        emit(record | msgspec.to_builtins(receipt))
    else:
        _say(receipt, peak_mb())
    for warning in receipt.warnings if receipt.passed else ():
        complain(f"warning: {warning}")
    if not receipt.passed:
        short = "; ".join(f"{mark} {found:.4f}, wanted {wanted:g}" for mark, found, wanted in found.shortfalls)
        complain(
            f"the gate is not met: {short}. Add calibration crops, keep more in float, or pack the float file alone"
        )


def _say(receipt: QuantizationReceipt, peak: float) -> None:
    rows = [
        (
            step.method,
            step.kept_group or "-",
            "-" if step.signal_db is None else f"{step.signal_db:.1f}",
            str(step.kept_nodes),
            f"{100 * step.likeness.agreement:.2f} %",
            f"{100 * step.likeness.mean_error:.2f} %",
            f"{step.likeness.max_error:.3f}",
            _delta(step.likeness.accuracy_float, step.likeness.accuracy_int8),
        )
        for step in receipt.trials
    ]
    say(f"{receipt.types}: {receipt.types_why}")
    say(f"{receipt.calibrated} samples for the ranges, {receipt.judged} others to judge by")
    say(table(("method", "kept in float", "dB", "nodes", "agreement", "mean error", "max", "accuracy"), rows))
    if not receipt.passed and receipt.noisiest:
        say()
        noisy = [(one.tensor, one.kind, f"{one.signal_db:.1f} dB") for one in receipt.noisiest]
        say(table(("noisiest tensor", "kind", "signal to noise"), noisy))
    verdict = paint("passed", "green") if receipt.passed else paint("not met", "red")
    say(
        f"{receipt.method}, {receipt.int8_layers} of {receipt.layers} layers in int8, {receipt.source.bytes} -> "
        f"{receipt.model.bytes} bytes; gate {verdict}; peak memory {peak:.0f} MB"
    )


def _delta(full: float | None, small: float | None) -> str:
    return "-" if full is None or small is None else f"{100 * full:.2f} -> {100 * small:.2f} %"
