"""What travels with a model so that a device can check it: golden vectors, and what its scores looked like at home."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.workshop.calibrate import Answers
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import BLOCKED, LABELS, softmax
from edge_runtime.workshop.pack import npz

GOLDEN_EACH = 3
"""Golden pairs of each label."""
TOLERANCE_LOGITS = 1.0
TOLERANCE_PROBABILITY = 0.10
"""int8 kernels of other processors saturate and round otherwise; the best label of a golden pair must still hold."""
TOLERANCE_FLOAT_LOGITS = 0.01
TOLERANCE_FLOAT_PROBABILITY = 0.05
"""A tree that rounding sends down the other branch moves the mean of a forest by more than rounding itself."""
CLEAR = 0.9
EDGES = np.linspace(0.0, 1.0, 21, dtype=np.float32)
ENERGY_EDGES = np.linspace(-10.0, 40.0, 51, dtype=np.float32)


def golden(crops: CropSet, int8: NDArray[np.float32], float32: NDArray[np.float32], seed: int) -> bytes:
    """`golden_members` of clear cases that both files get right, GOLDEN_EACH of each label, as npz.

    Raises Refused where a label has none: such a model proves nothing on a device.
    """
    rows, missing = pick_golden(softmax(int8), softmax(float32), crops.label, crops.usable, seed)
    if missing:
        raise Refused(
            f"no clear case of {', '.join(LABELS[k] for k in missing)} that float and int8 both get right",
            "Train it longer",
        )
    return npz(golden_members(crops.current[rows], crops.reference_of(rows), int8[rows], float32[rows], "logits"))


def pick_golden(
    packed: NDArray[np.float64],
    full: NDArray[np.float64] | None,
    truth: NDArray[np.integer] | None,
    usable: NDArray[np.bool_],
    seed: int,
    each: int = GOLDEN_EACH,
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Rows for a golden set, at most `each` of a column, and the columns that have none.

    `packed` and `full` are probabilities (n, k) of the packed and of the float file. A row must be answered alike by
    both, and rightly where the truth is known; of those the clear ones (above CLEAR) are drawn, or else the clearest are taken.
    """
    best = packed.argmax(1)
    fits = usable & (best == (full.argmax(1) if full is not None else best))
    if truth is not None:
        fits &= best == truth
    sure = packed.max(1)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    missing: list[int] = []
    for column in range(packed.shape[1]):
        clear = np.flatnonzero(fits & (best == column) & (sure > CLEAR))
        rows = rng.permutation(clear)[:each]
        if not len(rows) and truth is None:
            some = np.flatnonzero(fits & (best == column))
            rows = some[np.argsort(-sure[some], kind="stable")][:each]
        if not len(rows):
            missing.append(column)
        chosen += rows.tolist()
    return np.array(chosen, np.int64), tuple(missing)


def golden_members(
    current: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
    packed: NDArray[np.float32],
    full: NDArray[np.float32] | None,
    kind: str,
) -> dict[str, NDArray[np.generic]]:
    """Members of golden.npz: `current`, `reference` uint8 (k, h, w, 3); `logits`, what the packed file's output is
    (probabilities, if that is its `kind`), `probabilities` (softmax at temperature 1) and `logits_fp32` of the float file,
    (k, labels); scalars `tolerance_logits`, `tolerance_probability`, `tolerance_fp32_logits`. What is not there is left out.
    """
    logits = kind == "logits"
    loose = TOLERANCE_LOGITS if logits else TOLERANCE_PROBABILITY
    tight = TOLERANCE_FLOAT_LOGITS if logits else TOLERANCE_FLOAT_PROBABILITY
    members: dict[str, NDArray[np.generic]] = {"current": current}
    if reference is not None:
        members["reference"] = reference
    members["logits"] = packed
    members["probabilities"] = (softmax(packed) if logits else packed).astype(np.float32)
    if full is not None:
        members["logits_fp32"] = full
    members["tolerance_logits"] = np.asarray(tight if full is None else loose, np.float32)
    members["tolerance_probability"] = np.asarray(TOLERANCE_PROBABILITY, np.float32)
    if full is not None:
        members["tolerance_fp32_logits"] = np.asarray(tight, np.float32)
    return members


def drift_reference(crops: CropSet, logits: NDArray[np.float32], answers: Answers) -> bytes:
    """reference.npz: histograms on unseen shelves, for `lab` and for all degraded views up to severity 3 (`field`).

    `<group>_confidence`, `<group>_margin`, `<group>_entropy`, `<group>_blocked` over `edges` (entropy as a share of
    log 3), `<group>_energy` (log-sum-exp of the raw logits) over `energy_edges`, and `<group>_shares`, the shares of
    stocked, low, empty, blocked, unknown among the answers. Counts are normalized to sum to one.
    """
    groups = {"lab": crops.severity == 0, "field": (crops.severity > 0) & (crops.severity <= 3)}
    arrays: dict[str, NDArray[np.generic]] = {"edges": EDGES, "energy_edges": ENERGY_EDGES}
    for name, rows in groups.items():
        rows = rows & crops.usable
        if rows.any():
            arrays |= {f"{name}_{key}": value for key, value in _histograms(rows, logits, answers).items()}
    return npz(arrays)


def _histograms(
    rows: NDArray[np.bool_], logits: NDArray[np.float32], answers: Answers
) -> dict[str, NDArray[np.float32]]:
    three = np.sort(answers.probabilities[rows], 1)
    entropy = -(three * np.log(np.maximum(three, 1e-12))).sum(1) / np.log(BLOCKED)
    raw = logits[rows].astype(np.float64)
    energy = raw.max(1) + np.log(np.exp(raw - raw.max(1, keepdims=True)).sum(1))
    said = answers.said[rows]
    return {
        "confidence": _shares(three[:, -1], EDGES),
        "margin": _shares(three[:, -1] - three[:, -2], EDGES),
        "entropy": _shares(entropy, EDGES),
        "blocked": _shares(answers.blocked[rows], EDGES),
        "energy": _shares(energy, ENERGY_EDGES),
        "shares": np.array([np.mean(said == k) for k in (*range(len(LABELS)), -1)], np.float32),
    }


def _shares(values: NDArray[np.float64], edges: NDArray[np.float32]) -> NDArray[np.float32]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return np.asarray(counts / max(1, counts.sum()), np.float32)
