"""Evidence for a slot model without labels: it can be checked on a device, but nobody knows how sure it may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.manifest import Confidence
from edge_runtime.workshop.calibrate import answer
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.evidence import drift_reference, golden_members, pick_golden
from edge_runtime.workshop.pack import npz
from edge_runtime.workshop.packing.answers import house_logits, shares_of
from edge_runtime.workshop.packing.assemble import UNFITTED, Evidence, Graphs
from edge_runtime.workshop.packing.labelled import outputs_over

UNCALIBRATED = "confidence is not calibrated and thresholds are not fitted: no labelled data was given (--field)"


def from_pairs(graphs: Graphs, current: NDArray[np.uint8], reference: NDArray[np.uint8] | None, seed: int) -> Evidence:
    """Golden crops of each answer, and a drift reference of these crops, taken as well seen.

    Raises Refused if the two files agree on none of them.
    """
    crops = _as_lab(current, reference)
    packed = outputs_over(graphs.packed, crops, graphs)
    full = None if graphs.float32 is None else outputs_over(graphs.float32, crops, graphs)
    kind, everyone = graphs.output.kind, np.ones(len(crops), np.bool_)
    wide = None if full is None else shares_of(full, kind)
    rows, missing = pick_golden(shares_of(packed, kind), wide, None, everyone, seed)
    if not len(rows):
        raise Refused("float and int8 agree on no sample, so there is no golden set", "Quantize it again")
    pairs = crops.reference_of(rows) if graphs.input.reference else None
    members = golden_members(crops.current[rows], pairs, packed[rows], None if full is None else full[rows], kind)
    logits = house_logits(packed, graphs.output.labels, kind)
    answers = answer(logits, crops, Confidence(), UNFITTED)
    warnings = [UNCALIBRATED]
    warnings += [f"the model calls none of the samples {graphs.output.labels[k]}" for k in missing]
    return Evidence(
        Confidence(),
        UNFITTED,
        npz(members),
        drift_reference(crops, logits, answers),
        tuple(warnings),
        (("how_measured", "Not measured on labelled data; its confidence is not calibrated."),),
    )


def _as_lab(current: NDArray[np.uint8], reference: NDArray[np.uint8] | None) -> CropSet:
    count = len(current)
    ones, zeros = np.ones(count, np.float32), np.zeros(count, np.float32)
    return CropSet(
        references=current if reference is None else reference,
        current=current,
        slot=np.arange(count, dtype=np.int32),
        label=np.zeros(count, np.int8),
        covered=zeros,
        condition=np.full(count, "lab"),
        severity=np.zeros(count, np.int8),
        shelf=np.full(count, "samples"),
        usable=np.ones(count, np.bool_),
        inside=ones,
        density=ones,
        saturated=zeros,
        sharpness=ones,
        noise=zeros,
    )
