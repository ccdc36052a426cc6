"""Evidence for a slot model from crops whose truth is known: fitted confidence and thresholds, golden set, drift reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.manifest import Confidence, Thresholds
from edge_runtime.workshop.calibrate import Answers, answer, fit_confidence, fit_thresholds
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.evidence import drift_reference, golden_members, pick_golden
from edge_runtime.workshop.labels import BLOCKED, LABELS
from edge_runtime.workshop.measure import balanced
from edge_runtime.workshop.pack import npz
from edge_runtime.workshop.packing.answers import house_logits, shares_of
from edge_runtime.workshop.packing.assemble import Evidence, Graphs
from edge_runtime.workshop.quantization.feeding import Runner, feed_of

BATCH = 32


def outputs_over(model: bytes, crops: CropSet, graphs: Graphs) -> NDArray[np.float32]:
    """The graph's named output for every row, in batches of BATCH; unusable rows are computed too."""
    runner, spec = Runner(model), graphs.input
    parts = [
        runner(feed_of(crops.current[rows], crops.reference_of(rows), spec), (graphs.output.name,))[0]
        for rows in (slice(k, k + BATCH) for k in range(0, len(crops), BATCH))
    ]
    return np.concatenate(parts).astype(np.float32)


def from_crops(graphs: Graphs, crops: CropSet, seed: int, strict: bool = False) -> Evidence:
    """Fit and gather over the usable crops. Raises Refused if there is none, or with `strict` if a label has no golden case."""
    seen = crops.only(crops.usable)
    if not len(seen):
        raise Refused("no frame of the labelled set could be normalized", "Look at it with `edge-runtime field-bench`")
    packed = outputs_over(graphs.packed, seen, graphs)
    full = None if graphs.float32 is None else outputs_over(graphs.float32, seen, graphs)
    members, missing = _golden(graphs, seen, packed, full, seed)
    if missing and (strict or not len(members["current"])):
        raise Refused(
            f"no clear case of {', '.join(missing)} that {'float and int8 both get' if full is not None else 'it gets'} right",
            "Train it longer",
        )
    logits = house_logits(packed, graphs.output.labels, graphs.output.kind)
    fitted, answers = _fitted(graphs, logits, seen)
    warnings = [f"no clear case of {label} is in the golden set" for label in missing]
    warnings += [
        f"the labelled set shows no slot that is {LABELS[k]}" for k in range(BLOCKED) if not (seen.label == k).any()
    ]
    return Evidence(
        fitted[0],
        fitted[1],
        npz(members),
        drift_reference(seen, logits, answers),
        tuple(warnings),
        (("how_measured", _measured(seen, answers)),),
    )


def _fitted(
    graphs: Graphs, logits: NDArray[np.float32], seen: CropSet
) -> tuple[tuple[Confidence, Thresholds], Answers]:
    known = seen.label != BLOCKED if "blocked" not in graphs.output.labels else np.ones(len(seen), np.bool_)
    part = seen.only(known)
    confidence = fit_confidence(logits[known], part)
    thresholds = fit_thresholds(logits[known], part, confidence)
    return (confidence, thresholds), answer(logits, seen, confidence, thresholds)


def _golden(
    graphs: Graphs, seen: CropSet, packed: NDArray[np.float32], full: NDArray[np.float32] | None, seed: int
) -> tuple[dict[str, NDArray[np.generic]], list[str]]:
    output = graphs.output
    columns = [LABELS.index(label) for label in output.labels]
    own = np.array([columns.index(k) if k in columns else -1 for k in range(len(LABELS))])[seen.label]
    shares = shares_of(packed, output.kind)
    wide = None if full is None else shares_of(full, output.kind)
    rows, missing = pick_golden(shares, wide, own, np.ones(len(seen), np.bool_), seed)
    reference = seen.reference_of(rows) if graphs.input.reference else None
    members = golden_members(
        seen.current[rows], reference, packed[rows], None if full is None else full[rows], output.kind
    )
    return members, [output.labels[k] for k in missing]


def _measured(seen: CropSet, answers: Answers) -> str:
    said, parts = answers.said, []
    for name, rows in (("lab", seen.severity == 0), ("severities 1 to 3", (seen.severity > 0) & (seen.severity <= 3))):
        rows = rows & (seen.label != BLOCKED)
        if rows.any():
            parts.append(f"{100 * balanced(seen.label[rows], said[rows]):.1f} % on {int(rows.sum())} slots ({name})")
    shelves = len(set(seen.shelf.tolist()))
    return (
        f"Balanced accuracy over stocked, low and empty on the {shelves} shelves that confidence and thresholds were fitted"
        f" on, unknown counted as wrong: {'; '.join(parts) or 'nothing to measure'}."
    )
