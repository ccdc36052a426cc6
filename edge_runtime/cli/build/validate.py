"""`build validate`: float and int8 over labelled shelves, what they cost, and a gate that says what must hold."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import bar, check_out, read_whole, wipe, write_whole
from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.cli.output import Verbs
    from edge_runtime.manifest import Manifest
    from edge_runtime.workshop.validation.figures import Line
    from edge_runtime.workshop.validation.outcome import DatasetOutcome, Outcome
    from edge_runtime.workshop.validation.pair import Subject

Files: TypeAlias = dict[str, bytes]
"""`packed`, and `float` where there are two."""

_DETAIL = """\
Reads every frame of labelled datasets with the packed file and the float file, on the same views, as a device would:
accuracy per condition and severity, agreement, calibration error, latency (alternating, one thread) and memory. A gate file
(docs/validation.md) says what must hold; a red gate is exit code 1 and a table of what fell short."""
_EXAMPLES = """\
  edge-runtime build validate shelf-1.0.0.zip validation/ --gate gate.toml --report validation.html
  edge-runtime build validate shelf.onnx --int8 shelf.int8.onnx validation/ --json > validation.json

MODEL is a bundle, or a float ONNX file with its export receipt beside it; its confidence is then not fitted yet."""
_HEADER = ("condition", "slots", "float", "packed", "delta", "95 %", "changed", "agreement", "covered", "answered")
_ALONE = ("condition", "slots", "accuracy", "covered", "answered")


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    verb = add_verb(
        verbs, "validate", "accuracy, int8 against float, latency and memory against a gate", _DETAIL, _EXAMPLES
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="a bundle, or a float ONNX file")
    verb.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="folders in the field format")
    verb.add_argument("--int8", type=Path, metavar="FILE", help="the int8 file, if MODEL is an ONNX file")
    verb.add_argument("--gate", type=Path, metavar="TOML", help="what must hold")
    verb.add_argument("--shelves", type=int, metavar="N", help="only the first N shelves of each dataset")
    verb.add_argument("--together", action="store_true", help="read all datasets as one: finer figures per condition")
    verb.add_argument("--no-cost", action="store_true", help="leave latency and memory out")
    verb.add_argument("--all", action="store_true", help="every severity of its own, not only the conditions")
    verb.add_argument("--report", type=Path, metavar="FILE", help="write one self-contained HTML page")
    verb.add_argument("--force", action="store_true", help="replace a report that is there")
    add_json(verb)
    verb.set_defaults(act=_validate)


def _validate(args: argparse.Namespace) -> int:
    require_build()
    if args.report:
        check_out(args.report, args.force, "--report")
    from edge_runtime.workshop.validation.cost import measure_cost
    from edge_runtime.workshop.validation.gate import read_gate
    from edge_runtime.workshop.validation.outcome import conclude, record_of

    if len({path.resolve() for path in args.datasets}) < len(args.datasets):
        raise Usage("a dataset is given twice", "Name each once")
    gate = read_gate(args.gate) if args.gate else ()
    manifest, files, golden, subject = (
        _bundle(args.model) if args.model.suffix == ".zip" else _loose(args.model, args.int8)
    )
    if args.int8 and args.model.suffix == ".zip":
        raise Usage("--int8 beside a bundle", "A bundle holds both files; give the bundle alone")
    sets = [tuple(args.datasets)] if args.together else [(path,) for path in args.datasets]
    outcomes = tuple(_dataset(paths, subject, args.shelves) for paths in sets)
    cost = {} if args.no_cost else measure_cost(files, manifest, golden)
    outcome = conclude(manifest, files, outcomes, cost, gate)
    for message in (message for one in outcomes for message in one.unread):
        complain(message)
    if outcome.left_out:
        names = ", ".join(wanted.mark for wanted in outcome.left_out)
        complain(f"note: {names}: left out, for there is no float file beside this one")
    if args.report:
        from edge_runtime.workshop.validation.page import render_page

        write_whole(args.report, render_page(outcome).encode())
    if args.json:
        import msgspec

        emit(msgspec.to_builtins(record_of(outcome)))
    else:
        _say(outcome, args.all)
    return EXIT_OK if outcome.passed else EXIT_PROBLEM


def _dataset(paths: tuple[Path, ...], subject: Subject, shelves: int | None) -> DatasetOutcome:
    from edge_runtime.workshop.validation.outcome import validate_datasets

    draw = bar()
    try:
        told = (lambda done, total: draw(f"frames of {paths[0].name}", done, total)) if draw else None
        return validate_datasets(paths, subject, shelves, told)
    finally:
        wipe()


def _bundle(path: Path) -> tuple[Manifest, Files, bytes | None, Subject]:
    from edge_runtime.daemon.models import bind_model, load_model
    from edge_runtime.lifecycle.bundle import Variant, read_bundle
    from edge_runtime.workshop.validation.pair import Subject

    bundle = read_bundle(path)
    packed = load_model(bundle)
    files, full = {"packed": bundle.model}, None
    if bundle.fp32 is not None:
        files["float"], full = bundle.fp32, load_model(bundle, variant=Variant.FLOAT)
    subject = Subject(
        bundle.manifest.crop,
        bundle.manifest.thresholds,
        lambda layout, crops: bind_model(packed, layout, crops),
        (lambda layout, crops: bind_model(full, layout, crops)) if full else None,
    )
    return bundle.manifest, files, bundle.golden, subject


def _loose(path: Path, int8: Path | None) -> tuple[Manifest, Files, bytes | None, Subject]:
    from edge_runtime.daemon.models import LoadedModel, bind_model
    from edge_runtime.inference.session import open_session
    from edge_runtime.records import ModelId
    from edge_runtime.workshop.export.receipt import digest_of, read_receipt
    from edge_runtime.workshop.packing.receipts import check_belongs
    from edge_runtime.workshop.packing.trial import trial_manifest
    from edge_runtime.workshop.quantization.receipt import read_quantization
    from edge_runtime.workshop.validation.pair import Subject

    float32 = read_whole(path, "model")
    manifest = trial_manifest(path.stem, read_receipt(path))
    files = {"packed": float32}
    if int8 is not None:
        files = {"packed": read_whole(int8, "int8 model"), "float": float32}
        check_belongs(files["packed"], float32, read_quantization(int8), None)
    loaded = {
        name: LoadedModel(
            manifest, ModelId(manifest.name, manifest.version, digest_of(body).sha256), open_session(body, manifest)
        )
        for name, body in files.items()
    }
    subject = Subject(
        manifest.crop,
        manifest.thresholds,
        lambda layout, crops: bind_model(loaded["packed"], layout, crops),
        (lambda layout, crops: bind_model(loaded["float"], layout, crops)) if int8 else None,
    )
    return manifest, files, None, subject


def _say(outcome: Outcome, everything: bool) -> None:
    for one in outcome.datasets:
        say(
            paint(f"{one.name}: {outcome.named}", "bold")
            + f", {len(one.shelves)} shelves, {one.frames} frames, {one.slots} slots"
        )
        lines = (*one.judged.pooled, *(one.judged.lines if everything else ()))
        header = _HEADER if outcome.two_files else _ALONE
        say(table(header, [_cells(line, outcome.two_files) for line in lines]))
        say(_summed(one.judged.figures, outcome.two_files))
        say()
    if outcome.cost:
        _say_cost(outcome)
    if outcome.marks:
        rows = [
            (
                m.wanted.mark,
                _percent(m.found, 2),
                f"{m.wanted.relation} {m.wanted.limit:g}",
                m.where,
                "met" if m.met else "short",
            )
            for m in sorted(outcome.marks, key=lambda mark: mark.met)
        ]
        say(table(("mark", "found", "wanted", "where", ""), rows, {"met": "green", "short": "red"}))
        short = sum(not mark.met for mark in outcome.marks)
        say(f"{short} of {len(outcome.marks)} marks fell short" if short else f"all {len(outcome.marks)} marks are met")


def _summed(f: Mapping[str, float], two: bool) -> str:
    lab, field = (
        f"{_percent(f[f'{name}_float_percent'])} -> {_percent(f[f'{name}_percent'])}"
        if two
        else _percent(f[f"{name}_percent"])
        for name in ("lab", "field")
    )
    agreement = f"agreement {_percent(f['agreement_percent'], 2)}; " if two else ""
    return (
        f"lab {lab}, field S1-S3 {field} at {_percent(f['coverage_percent'])} coverage; {agreement}calibration error "
        f"lab {_percent(f['ece_lab_percent'])}, field {_percent(f['ece_field_percent'])}"
    )


def _say_cost(outcome: Outcome) -> None:
    cost = outcome.cost
    rows = [
        (
            name,
            *(f"{cost[prefix + key]:.2f}" for key in ("p50_ms", "p95_ms", "file_mb", "model_mb", "peak_mb")),
        )
        for name, prefix in (("packed", ""), ("float", "float_"))
        if prefix + "p50_ms" in cost
    ]
    say(
        table(
            (f"{cost['slots_timed']:.0f} slots, one thread", "p50 ms", "p95 ms", "file MB", "adds MB", "peak MB"), rows
        )
    )
    if "speedup" in cost:
        say(f"packed is {cost['speedup']:.2f} times as fast as float, median of alternating rounds")
    say()


def _cells(line: Line, two: bool) -> tuple[str, ...]:
    delta = line.delta
    spread = "-" if math.isnan(delta.low) else f"{100 * delta.low:+.2f}..{100 * delta.high:+.2f}"
    beside = (
        "-" if math.isnan(delta.value) else f"{100 * delta.value:+.2f}",
        spread,
        str(line.changed),
        _percent(100 * line.agreement, 2),
    )
    return (
        line.name,
        str(line.slots),
        *((_percent(100 * line.float32.value, 2),) if two else ()),
        _percent(100 * line.packed.value, 2),
        *(beside if two else ()),
        _percent(100 * line.coverage),
        _percent(100 * line.answered),
    )


def _percent(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"
