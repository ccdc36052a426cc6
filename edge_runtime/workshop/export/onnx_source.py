"""An existing ONNX file to a device: checked, mended where that is safe, compared with itself as it was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edge_runtime.errors import Refused, Usage
from edge_runtime.manifest import InputSpec, OutputSpec
from edge_runtime.workshop.export.batch import fixed_rows, freed, require_free
from edge_runtime.workshop.export.columns import columns_in_order
from edge_runtime.workshop.export.exported import Exported, device_scores, feeds_of, finish
from edge_runtime.workshop.export.graph_file import IR_VERSIONS, GraphFile, read_graph
from edge_runtime.workshop.export.interface import Declared, input_spec, inputs_of, outputs_of, pick_output
from edge_runtime.workshop.export.parity import compare, require_finite
from edge_runtime.workshop.export.receipt import Parity, Source
from edge_runtime.workshop.export.samples import Samples
from edge_runtime.workshop.export.slim import slimmed
from edge_runtime.workshop.export.trial import run_apart

DEVICE_ROWS = 8
TOOLS = ("onnx", "onnxruntime", "onnxslim", "numpy")
SUMS_TO_ONE = 1e-3


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be changed."""

    free_batch: bool = False
    slim: bool = False


def export_classifier(
    path: Path, declared: Declared, labels: dict[str, str], samples: Samples, wishes: Wishes, tolerance: float
) -> Exported:
    """A checked classifier of slot crops. Raises Refused, Usage or Unavailable with what is wrong and the mend."""
    found = read_graph(path)
    inputs, outputs = inputs_of(found.model), outputs_of(found.model)
    spec = input_spec(inputs, declared)
    scores = pick_output(outputs, declared.output)
    if not labels:
        raise Usage(
            "the states of the model's columns can not be seen in a graph",
            "Name them from left to right: --labels stocked,low,empty,blocked",
        )
    fed = tuple(entry for entry in inputs if entry.name in (spec.current, spec.reference))
    if not wishes.free_batch:
        require_free((*fed, scores))
    crops = samples.resized(spec.size)
    before = np.asarray(run_apart(found.raw, feeds_of(spec, crops), _rows(inputs))[scores.name], np.float32)
    require_finite(before)
    columns = columns_in_order(labels, before.shape[1] if before.ndim == 2 else 0)
    output = OutputSpec(scores.name, _kind(before), columns)
    raw, repairs = _repaired(found, wishes, keep=scores.name)
    _prove_free(raw, spec, crops, scores.name, tolerance, before)
    parity = compare(before, device_scores(raw, spec, output, crops), samples.name, tolerance)
    return finish(
        raw,
        source=source_of(path, found),
        task="classify-slots",
        input=spec,
        output=output,
        parity=parity,
        repairs=repairs,
        warnings=found.warnings,
        versions=tools(),
    )


def export_detector(path: Path, declared: Declared, samples: Samples, wishes: Wishes, tolerance: float) -> Exported:
    """A checked detector: its input, and that every output is the source's. Its decoder is declared when packing."""
    found = read_graph(path)
    inputs = inputs_of(found.model)
    spec = input_spec(inputs, declared)
    if spec.reference is not None:
        raise Refused(f"a detector takes one picture; the graph also takes {spec.reference!r}", "Export another graph")
    pictures = samples.resized(spec.size)
    few = Samples(samples.name, pictures.current[:DEVICE_ROWS], pictures.reference[:DEVICE_ROWS])
    feeds = feeds_of(spec, few)
    before = run_apart(found.raw, feeds, 1)
    raw, repairs = _repaired(found, Wishes(False, wishes.slim), keep=None)
    after = run_apart(raw, feeds, 1)
    parts = [
        compare(np.asarray(before[name], np.float32), np.asarray(after[name]), samples.name, tolerance)
        for name in before
    ]
    return finish(
        raw,
        source=source_of(path, found),
        task="detect",
        input=spec,
        output=None,
        parity=_worst(parts),
        repairs=repairs,
        warnings=found.warnings,
        versions=tools(),
    )


def source_of(path: Path, found: GraphFile) -> Source:
    """Who wrote the file, as far as it says."""
    made = f"{found.model.producer_name} {found.model.producer_version}".strip() or "unnamed tool"
    return Source("onnx", path.name, hashlib.sha256(found.raw).hexdigest(), made[:120])


def tools() -> dict[str, str]:
    """Versions of what took part."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _rows(inputs: tuple[object, ...]) -> int:
    """Rows to feed at a time: what the graph fixes, else what a device does."""
    fixed = {entry.shape[0] for entry in fixed_rows(inputs)}  # type: ignore[arg-type]
    return min((rows for rows in fixed if isinstance(rows, int)), default=DEVICE_ROWS)


def _kind(scores: NDArray[np.float32]) -> Literal["logits", "probabilities"]:
    rows = np.asarray(scores, np.float64)
    sums = np.abs(rows.sum(1) - 1.0).max() if len(rows) else np.inf
    return "probabilities" if sums <= SUMS_TO_ONE and (rows >= 0).all() else "logits"


def _repaired(found: GraphFile, wishes: Wishes, keep: str | None) -> tuple[bytes, tuple[str, ...]]:
    """The file with what was asked for or is needed, and what that was; the very same bytes if it was nothing."""
    model, repairs = found.model, []
    if model.ir_version > IR_VERSIONS[1]:
        repairs.append(f"IR version {model.ir_version} lowered to {IR_VERSIONS[1]}")
        model = _copy(model)
        model.ir_version = IR_VERSIONS[1]
    if len(model.opset_import) > len(found.opsets):
        repairs.append("opsets that were named twice are named once")
        model = _copy(model)
        del model.opset_import[:]
        model.opset_import.extend(
            helper.make_opsetid("" if name == "ai.onnx" else name, number)
            for name, number in sorted(found.opsets.items())
        )
    others = [entry.name for entry in model.graph.output if keep is not None and entry.name != keep]
    if others:
        repairs.append(f"outputs left out: {', '.join(others)}")
        model = _only(model, keep)
    if wishes.free_batch and fixed_rows((*inputs_of(model), *outputs_of(model))):
        repairs.append("first axis freed")
        model = freed(model)
    if wishes.slim:
        count = len(model.graph.node)
        model = slimmed(model)
        repairs.append(f"slimmed from {count} to {len(model.graph.node)} nodes")
    return (model.SerializeToString(deterministic=True) if repairs else found.raw), tuple(repairs)


def _only(model: onnx.ModelProto, keep: str | None) -> onnx.ModelProto:
    alone = _copy(model)
    chosen = [entry for entry in alone.graph.output if entry.name == keep]
    del alone.graph.output[:]
    alone.graph.output.extend(chosen)
    return alone


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _prove_free(
    raw: bytes, spec: InputSpec, crops: Samples, output: str, tolerance: float, before: NDArray[np.float32]
) -> None:
    """1 and 3 rows at a time must give the same answers: else rows are mixed, or the axis is not free in truth."""
    few = Samples(crops.name, crops.current[:6], crops.reference[:6])
    expected = before[: len(few)]
    for rows in (1, 3):
        answers = run_apart(raw, feeds_of(spec, few), rows).get(output)
        if answers is None or answers.shape != expected.shape:
            found = "nothing" if answers is None else str(list(answers.shape))
            raise Refused(
                f"fed {rows} at a time the model answers {found}, {list(expected.shape)} was expected: its first axis is not free",
                "Export it from the training code with a free first axis",
            )
        error = float(np.abs(expected - np.asarray(answers, np.float32)).max())
        if not error <= tolerance * max(1.0, float(np.abs(expected).max())):
            raise Refused(
                f"a slot's answer depends on how many are fed with it (by {error:.3g} at {rows} rows)",
                "Export the model in evaluation mode (model.eval()), with a free first axis",
            )


def _worst(parts: list[Parity]) -> Parity:
    worst = max(parts, key=lambda part: part.max_error / part.tolerance)
    return Parity(worst.samples, worst.rows, worst.max_error, min(part.agreement for part in parts), worst.tolerance)
