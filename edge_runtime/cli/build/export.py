"""`build export`: a scikit-learn estimator or an ONNX file to one checked graph, with a receipt."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import check_out, write_whole
from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say
from edge_runtime.errors import EXIT_OK, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.workshop.export.exported import Exported
    from edge_runtime.workshop.export.interface import Declared

_DETAIL = """\
Makes one self-contained ONNX file that a device takes: slot crops in, one score a state out. SOURCE is a fitted
scikit-learn classifier (joblib or pickle file, or module:function that returns one) or an .onnx file. The result is
compared with its source on real crops, and <out>.export.json says how nearly they agree; `build pack` reads it.

A pickle runs code when it is loaded. --trust-pickle says that the file is yours; a pickle from elsewhere can take over
this account. Files of .onnx hold no code."""
_EXAMPLES = """\
  edge-runtime build export shelf.joblib --trust-pickle --out shelf.onnx
  edge-runtime build export train:fitted --labels full=stocked,thin=low,out=empty --out shelf.onnx
  edge-runtime build export crops.onnx --labels stocked,low,empty,blocked --colour RGB --preprocess imagenet --out shelf.onnx
  edge-runtime build export yolox.onnx --task detect --colour BGR --preprocess none --out voids.onnx"""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs, "export", "a scikit-learn classifier or an ONNX file to a device's graph", _DETAIL, _EXAMPLES
    )
    parser.add_argument("source", metavar="SOURCE", help="a .joblib, .pkl or .onnx file, or module:function")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--task", choices=("classify-slots", "detect"), default="classify-slots")
    parser.add_argument(
        "--labels",
        default="",
        help="CLASS=STATE,... for scikit-learn (not needed if the classes are the states); STATE,... from left to right for ONNX",
    )
    parser.add_argument(
        "--samples", type=Path, metavar="DIR|NPZ", help="crops to compare on (default: those that ship)"
    )
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest error, of the source's largest answer")
    parser.add_argument("--size", type=crop_size, metavar="WxH", help="crop size (scikit-learn: default 80x80)")
    parser.add_argument(
        "--margin", type=float, default=0.2, help="shelf to see around the slot, as a share of it (0.2)"
    )
    _add_estimator(parser)
    _add_onnx(parser)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    add_json(parser)
    parser.set_defaults(act=_export)


def _add_estimator(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scikit-learn")
    group.add_argument(
        "--trust-pickle", action="store_true", help="the pickle is yours: load it, and run what it holds"
    )
    group.add_argument(
        "--features", default="grid/1", metavar="NAME", help="grid/1 (with the reference) or grid-alone/1"
    )


def _add_onnx(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("ONNX")
    group.add_argument("--colour", choices=("BGR", "RGB"), help="the order that it was trained with")
    group.add_argument(
        "--preprocess", choices=("none", "unit", "symmetric", "lite", "imagenet"), help="of a float32 input"
    )
    group.add_argument(
        "--mean", type=_three, metavar="A,B,C", help="instead of --preprocess: grey levels, in --colour order"
    )
    group.add_argument("--std", type=_three, metavar="A,B,C", help="x = (pixel - mean) / std")
    group.add_argument("--layout", choices=("NHWC", "NCHW"), help="if the shape leaves it open")
    group.add_argument("--current", metavar="INPUT", help="which input takes the current crops")
    group.add_argument("--reference", metavar="INPUT", help="which input takes the reference crops")
    group.add_argument("--output", metavar="OUTPUT", help="which output holds the scores")
    group.add_argument(
        "--free-batch", action="store_true", help="free a fixed first axis, and prove it with 1 and 3 rows"
    )
    group.add_argument("--slim", action="store_true", help="simplify with onnxslim; compared like everything else")


def _export(args: argparse.Namespace) -> int:
    require_build()
    _check(args)
    exported = _from_onnx(args) if args.source.endswith(".onnx") else _from_estimator(args)
    from edge_runtime.workshop.export.parity import require_parity
    from edge_runtime.workshop.export.receipt import encode_receipt, receipt_path

    require_parity(exported.receipt.parity)
    write_whole(args.out, exported.raw)
    write_whole(receipt_path(args.out), encode_receipt(exported.receipt))
    if args.json:
        import msgspec

        emit({"path": str(args.out)} | msgspec.to_builtins(exported.receipt))
    else:
        _tell(args.out, exported)
    return EXIT_OK


def _check(args: argparse.Namespace) -> None:
    if args.out.suffix != ".onnx":
        raise Usage(f"--out {args.out} does not end in .onnx", "Name the ONNX file to write")
    if Path(args.source).absolute() == args.out.absolute():
        raise Usage(f"--out {args.out} is the source itself", "Name another file")
    check_out(args.out, args.force)
    if not 0.0 <= args.margin <= 1.0:
        raise Usage(
            f"--margin {args.margin:g}; a share from 0 to 1 was expected", "Give the margin of the training crops"
        )
    if not 0.0 < args.tolerance < 1.0:
        raise Usage(f"--tolerance {args.tolerance:g}; a number above 0 and below 1 was expected", "Leave it out")


def _from_estimator(args: argparse.Namespace) -> Exported:
    from edge_runtime.records import CropSpec
    from edge_runtime.workshop.export.columns import parse_labels
    from edge_runtime.workshop.export.estimator import from_file, from_function
    from edge_runtime.workshop.export.samples import read_samples
    from edge_runtime.workshop.export.sklearn_source import export_estimator
    from edge_runtime.workshop.features import feature_set

    if args.task != "classify-slots":
        raise Usage("--task detect needs an .onnx file", "Export the detector to ONNX with its own tool first")
    labels = parse_labels(args.labels) if args.labels else {}
    chosen = feature_set(args.features)
    named = ":" in args.source and not Path(args.source).exists()
    fitted = from_function(args.source) if named else from_file(Path(args.source), args.trust_pickle)
    crop = CropSpec(args.size or (80, 80), args.margin)
    return export_estimator(fitted, chosen, crop, labels, read_samples(args.samples), args.tolerance)


def _from_onnx(args: argparse.Namespace) -> Exported:
    from edge_runtime.workshop.export.columns import parse_labels
    from edge_runtime.workshop.export.onnx_source import Wishes, export_classifier, export_detector
    from edge_runtime.workshop.export.samples import read_samples

    path, samples = Path(args.source), read_samples(args.samples)
    wishes = Wishes(args.free_batch, args.slim)
    if args.task == "detect":
        return export_detector(path, _declared(args), samples, wishes, args.tolerance)
    labels = parse_labels(args.labels) if args.labels else {}
    return export_classifier(path, _declared(args), labels, samples, wishes, args.tolerance)


def _declared(args: argparse.Namespace) -> Declared:
    from edge_runtime.workshop.export.interface import Declared

    return Declared(
        colour=args.colour,
        preprocess=args.preprocess,
        mean=args.mean,
        std=args.std,
        layout=args.layout,
        size=args.size,
        margin=args.margin,
        current=args.current,
        reference=args.reference,
        output=args.output,
    )


def _tell(path: Path, exported: Exported) -> None:
    receipt = exported.receipt
    parity = receipt.parity
    width, height = receipt.input.size
    say(f"{paint(str(path), 'bold')}: {len(exported.raw) / 1e6:.2f} MB, from {receipt.source.what}")
    say(f"  takes   {width}x{height} {receipt.input.colour} {receipt.input.dtype}, margin {receipt.input.margin:.0%}")
    if receipt.output:
        say(f"  says    {', '.join(receipt.output.labels)} as {receipt.output.kind}")
    said = f"largest error {parity.max_error:g} of {parity.tolerance:g}, agreement {parity.agreement:.1%}"
    say(f"  parity  {paint('agrees', 'green')} with its source on {parity.rows} crops ({parity.samples}): {said}")
    for repair in receipt.repairs:
        say(f"  changed {repair}")
    for warning in receipt.warnings:
        complain(f"warning: {warning}")


def crop_size(text: str) -> tuple[int, int]:
    """`80x80`, or `80` for a square, as an argument."""
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; 80x80 (width x height) was expected")
    width = int(found[1])
    return width, int(found[2] or width)


def _three(text: str) -> tuple[float, float, float]:
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are not three numbers; for example 123.7,116.3,103.5") from None
    return a, b, c
