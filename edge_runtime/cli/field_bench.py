"""`field-bench`: one model over a labelled field dataset, raw and normalized, the conditions that got worse first."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.daemon.compose import LoadedModel
    from edge_runtime.workshop.field_bench.bench import Bench
    from edge_runtime.workshop.field_bench.dataset import BenchShelf
    from edge_runtime.workshop.field_bench.run import ModelPart
    from edge_runtime.workshop.field_bench.summary import Mark, Standing
    from edge_runtime.workshop.field_bench.table import Interval, Row

BAR_WIDTH = 32
_HEADER = ("condition", "without", "with", "95 %", "GR", "covered", "answered", "low", "abstained", "found")
_STANDING = ("preparation", "lab", "harm", "store S3", "S1-S3", "S5", "GR", "GR worst", "worst harm", "covered")


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    verb = add_verb(
        verbs,
        "field-bench",
        "before and after on labelled field data",
        "Reads every frame of a field dataset twice with the same model, raw and normalized, and says per condition and\n"
        "severity how right each was. Conditions that the runtime makes worse come first.",
        "  edge-runtime field-bench data/field-dev\n"
        "  edge-runtime field-bench data/field-dev --model shelf-2.0.0.zip --baselines --report bench.html\n"
        "  edge-runtime field-bench data/field-dev --shelves 2 --json\n\n"
        "A dataset is dataset.json and shelves/<id>/{layout.json,reference.jpg,frames/*.jpg,truth.csv}.\n"
        "Exit code 1 if a picture could not be read; its slots then count as unknown.",
    )
    verb.add_argument("dataset", type=Path, metavar="DATASET", help="a folder in the field format")
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument("--shelves", type=int, metavar="N", help="only the first N shelves by name")
    verb.add_argument("--baselines", action="store_true", help="other preprocessing beside ours (several times slower)")
    verb.add_argument("--report", type=Path, metavar="FILE", help="write one self-contained HTML page with pictures")
    add_json(verb)
    verb.set_defaults(act=_field_bench)


def _field_bench(args: argparse.Namespace) -> int:
    from edge_runtime.daemon.compose import default_bundle, load_model
    from edge_runtime.lifecycle.bundle import read_bundle
    from edge_runtime.workshop.field_bench.bench import conclude, contenders
    from edge_runtime.workshop.field_bench.dataset import read_bench
    from edge_runtime.workshop.field_bench.run import run_bench

    if args.report:
        _check_writable(args.report)
    loaded = load_model(read_bundle(args.model or default_bundle()))
    shelves = read_bench(args.dataset, args.shelves)
    part, taking_part = _part(loaded), contenders(args.baselines)
    benched = run_bench(shelves, taking_part, part, _progress if sys.stderr.isatty() else None)
    for message in dict.fromkeys(benched.unread.values()):
        complain(message)
    bench = conclude(args.dataset.resolve().name, loaded.id, benched, taking_part)
    if args.json:
        emit(_record(bench))
    else:
        _say(bench)
    if args.report:  # last: a page that can not be written must not cost the table
        _write_report(args.report, bench, shelves, part)
    return EXIT_PROBLEM if benched.unread else EXIT_OK


def _part(loaded: LoadedModel) -> ModelPart:
    from edge_runtime.daemon.models import bind_model
    from edge_runtime.workshop.field_bench.run import ModelPart

    return ModelPart(
        loaded.manifest.crop,
        loaded.manifest.thresholds,
        lambda layout, crops: bind_model(loaded, layout, crops),
    )


def _check_writable(path: Path) -> None:
    """Before minutes of work, not after them."""
    if path.is_dir():
        raise Usage(f"--report {path} is a folder, a file was expected", f"Try --report {path / 'report.html'}")
    if not path.parent.is_dir():
        raise Usage(f"--report {path}: there is no folder {path.parent}", "Make it, or name another file")


def _write_report(path: Path, bench: Bench, shelves: tuple[BenchShelf, ...], part: ModelPart) -> None:
    from edge_runtime.workshop.field_bench.page import render_page

    try:
        path.write_text(render_page(bench, shelves, part), "utf-8")
    except OSError as fault:
        raise Unavailable(f"{path} can not be written: {fault.strerror}", "Make room, or name another file") from None


def _progress(done: int, total: int) -> None:
    filled = BAR_WIDTH * done // total
    end = "\r\x1b[K" if done == total else ""
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total} frames{end}")
    sys.stderr.flush()


def _record(bench: Bench) -> dict[str, object]:
    from edge_runtime.workshop.field_bench.record import analysis_record, row_record, standing_record, summary_record

    truths, model = bench.benched.truths, bench.model
    return {
        "dataset": bench.dataset,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "shelves": len(truths.shelves),
        "frames": len(truths.frames),
        "slots": len(truths),
        "unread": list(bench.benched.unread.values()),
        "rows": [row_record(row) for row in bench.rows],
        "summary": summary_record(bench.summary),
        "analysis": analysis_record(bench.analysis),
        "baselines": [standing_record(one) for one in bench.standings],
    }


def _say(bench: Bench) -> None:
    from edge_runtime.workshop.field_bench.summary import marks_of
    from edge_runtime.workshop.field_bench.table import harmed

    truths, s = bench.benched.truths, bench.summary
    say(
        paint(f"{bench.dataset}: {bench.model.name} {bench.model.version}", "bold")
        + f", {len(truths.shelves)} shelves, {len(truths.frames)} frames, {len(truths)} slots"
    )
    worse = sum(harmed(row) for row in bench.rows)
    say(f"{worse} of {len(bench.rows)} conditions got worse" + (", first:" if worse else "; least accurate first:"))
    red = {_cells(row)[0]: "red" for row in bench.rows if harmed(row)}
    say(table(_HEADER, [_cells(row) for row in bench.rows], red))
    if bench.standings:
        say()
        say(table(_STANDING, [_standing(one) for one in bench.standings]))
    say()
    say(table(("figure", "here", "mark", ""), [_mark(mark) for mark in marks_of(s)], {"met": "green", "missed": "red"}))
    say(
        f"lab {_percent(s.lab_with.value)}, field S1-S3 {_percent(s.field_without.value)} -> "
        f"{_percent(s.field_with.value)} at {_percent(s.field_coverage)} coverage, store S3 "
        f"{_percent(s.store_without.value)} -> {_percent(s.store_with.value)}, GR {_ratio(s.gap_mean.value)}"
    )


def _cells(row: Row) -> Sequence[str]:
    from edge_runtime.workshop.field_bench.record import cell_name

    return (
        cell_name(row.key),
        _percent(row.without.value),
        _percent(row.with_.value),
        _range(row.with_),
        _ratio(row.gap_recovered.value),
        _percent(row.coverage),
        _percent(row.answered),
        _percent(row.recalls[1]),
        _percent(row.abstained),
        _percent(row.registered),
    )


def _standing(one: Standing) -> Sequence[str]:
    from edge_runtime.workshop.field_bench.record import cell_name

    return (
        one.title,
        _percent(one.lab),
        _percent(one.lab_harm),
        _percent(one.store),
        _percent(one.field),
        _percent(one.lost),
        _ratio(one.gap_mean),
        _ratio(one.gap_worst),
        f"{_percent(one.worst_harm)} {cell_name(one.worst_harm_at)}",
        _percent(one.field_coverage),
    )


def _mark(mark: Mark) -> Sequence[str]:
    told = {None: "not measured", True: "met", False: "missed"}[mark.met]
    unit = f" {mark.unit}".rstrip()
    digits = 1 if mark.unit else 2
    here = f"{_plain(mark.value, digits)}{'' if math.isnan(mark.value) else unit}"
    if not math.isnan(mark.figure.low):
        here += f" ({_plain(mark.figure.low, digits)}..{_plain(mark.figure.high, digits)})"
    return mark.name, here, f"{'>=' if mark.at_least else '<='} {mark.mark:g}{unit}", told


def _plain(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def _percent(value: float) -> str:
    return _plain(100 * value, 1)


def _range(interval: Interval) -> str:
    return "-" if math.isnan(interval.low) else f"{100 * interval.low:.0f}..{100 * interval.high:.0f}"


def _ratio(value: float) -> str:
    return _plain(value, 2)
