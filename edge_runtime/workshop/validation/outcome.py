"""A whole validation: datasets judged, costs, marks; and the record of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from edge_runtime.manifest import Manifest
from edge_runtime.workshop.field import dataset_digest
from edge_runtime.workshop.field_bench.dataset import BenchShelf, read_bench
from edge_runtime.workshop.field_bench.run import Progress
from edge_runtime.workshop.validation.figures import Judged, Line, judge
from edge_runtime.workshop.validation.gate import Mark, Wanted, weigh
from edge_runtime.workshop.validation.pair import Subject, run_pair
from edge_runtime.workshop.validation.record import DatasetNote, MarkNote, ValidationRecord

TOOLS = ("onnxruntime", "numpy", "opencv-python-headless")


@dataclass(frozen=True, slots=True, eq=False)
class DatasetOutcome:
    """One dataset."""

    name: str
    paths: tuple[Path, ...]
    """One folder; several where they were read as one."""
    shelves: tuple[BenchShelf, ...]
    frames: int
    slots: int
    judged: Judged
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Everything that a validation found."""

    manifest: Manifest
    models: Mapping[str, bytes]
    """`packed`, and `float` if there are two files."""
    datasets: tuple[DatasetOutcome, ...]
    cost: Mapping[str, float]
    marks: tuple[Mark, ...]
    left_out: tuple[Wanted, ...] = ()
    """Marks of `int8` that a model of one file has nothing to say to."""

    @property
    def passed(self) -> bool:
        """Every mark is met, and every frame could be read."""
        return all(mark.met for mark in self.marks) and not any(one.unread for one in self.datasets)

    @property
    def two_files(self) -> bool:
        return "float" in self.models

    @property
    def named(self) -> str:
        return f"{self.manifest.name} {self.manifest.version}"


def validate_datasets(
    paths: Sequence[Path], subject: Subject, shelves: int | None = None, progress: Progress | None = None
) -> DatasetOutcome:
    """The folders as one dataset: more shelves, and so less chance in every condition.

    Raises what `read_bench` and `run_pair` raise.
    """
    read = tuple(shelf for path in paths for shelf in read_bench(path, shelves))
    paired = run_pair(read, subject, progress)
    name = paths[0].resolve().name if len(paths) == 1 else f"{len(paths)} datasets"
    return DatasetOutcome(
        name, tuple(paths), read, len(paired.truths.frames), len(paired.truths), judge(paired), paired.unread
    )


def conclude(
    manifest: Manifest,
    models: Mapping[str, bytes],
    datasets: Sequence[DatasetOutcome],
    cost: Mapping[str, float],
    gate: Sequence[Wanted],
) -> Outcome:
    """Hold everything against the gate. Marks of `int8` are left out, and told, where there is one file only.

    Datasets of the same name are numbered in the order given, so that none stands in for another.
    """
    datasets = _told_apart(datasets)
    asked = [wanted for wanted in gate if "float" in models or wanted.section != "int8"]
    figures = {one.name: one.judged.figures for one in datasets}
    cells = {
        one.name: {
            (line.condition, line.severity): (100 * line.packed.value, -100 * line.delta.value)
            for line in one.judged.lines
        }
        for one in datasets
    }
    machine = {name: value for name, value in cost.items() if name in ("p95_ms", "peak_mb", "file_mb", "speedup")}
    machine |= {name: math.nan for name in ("p95_ms", "peak_mb", "file_mb", "speedup") if name not in machine}
    left_out = tuple(wanted for wanted in gate if wanted not in asked)
    return Outcome(manifest, models, datasets, cost, weigh(asked, figures, cells, machine), left_out)


def _told_apart(datasets: Sequence[DatasetOutcome]) -> tuple[DatasetOutcome, ...]:
    names = [one.name for one in datasets]
    return tuple(
        replace(one, name=f"{one.name} ({names[: k + 1].count(one.name)})") if names.count(one.name) > 1 else one
        for k, one in enumerate(datasets)
    )


def record_of(outcome: Outcome) -> ValidationRecord:
    """For `--json` and for `build pack --validation`."""
    models = outcome.models
    return ValidationRecord(
        "model-validation/1",
        outcome.named,
        hashlib.sha256(models["packed"]).hexdigest(),
        hashlib.sha256(models["float"]).hexdigest() if "float" in models else None,
        {name: _number(value) for name, value in outcome.cost.items()},
        tuple(_note(one) for one in outcome.datasets),
        tuple(
            MarkNote(m.wanted.mark, _number(m.found), f"{m.wanted.relation} {m.wanted.limit:g}", m.where, m.met)
            for m in outcome.marks
        ),
        outcome.passed,
        {name: version(name) for name in TOOLS},
    )


def _note(one: DatasetOutcome) -> DatasetNote:
    return DatasetNote(
        one.name,
        dataset_digest(one.paths),
        len(one.shelves),
        one.frames,
        one.slots,
        {name: _number(value) for name, value in one.judged.figures.items()},
        tuple(_row(line) for line in (*one.judged.pooled, *one.judged.lines)),
        one.unread,
    )


def _row(line: Line) -> dict[str, str | int | float | None]:
    return {
        "condition": line.condition,
        "severity": line.severity,
        "slots": line.slots,
        "float_percent": _number(100 * line.float32.value),
        "packed_percent": _number(100 * line.packed.value),
        "delta_points": _number(100 * line.delta.value),
        "delta_low": _number(100 * line.delta.low),
        "delta_high": _number(100 * line.delta.high),
        "agreement_percent": _number(100 * line.agreement),
        "changed": line.changed,
        "coverage_percent": _number(100 * line.coverage),
        "answered_percent": _number(100 * line.answered),
        "ece_percent": _number(100 * line.calibration_error),
    }


def _number(value: float) -> float | None:
    return round(value, 4) + 0.0 if math.isfinite(value) else None
