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
EDGES = np.linspace(0.0, 1.0, 21, dtype=np.float32)
ENERGY_EDGES = np.linspace(-10.0, 40.0, 51, dtype=np.float32)


def golden(crops: CropSet, int8: NDArray[np.float32], float32: NDArray[np.float32], seed: int) -> bytes:
    """golden.npz: `current`, `reference` uint8 (k, h, w, 3); `logits`, `probabilities` (softmax at temperature 1) of the
    int8 file and `logits_fp32` of the float file, (k, 4); scalars `tolerance_logits`, `tolerance_probability`,
    `tolerance_fp32_logits`. Pairs are clear cases that both files get right. Raises Refused where a label has none: such
    a model proves nothing on a device.
    """
    shares = softmax(int8)
    clear = (shares.max(1) > 0.9) & (int8.argmax(1) == crops.label) & (float32.argmax(1) == crops.label)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(len(LABELS)):
        rows = np.flatnonzero(clear & (crops.label == label) & crops.usable)
        if not len(rows):
            raise Refused(f"no clear case of {LABELS[label]} that float and int8 both get right", "Train it longer")
        chosen += rng.permutation(rows)[:GOLDEN_EACH].tolist()
    rows = np.array(chosen, np.int64)
    return npz(
        {
            "current": crops.current[rows],
            "reference": crops.reference_of(rows),
            "logits": int8[rows],
            "probabilities": shares[rows].astype(np.float32),
            "logits_fp32": float32[rows],
            "tolerance_logits": np.asarray(TOLERANCE_LOGITS, np.float32),
            "tolerance_probability": np.asarray(TOLERANCE_PROBABILITY, np.float32),
            "tolerance_fp32_logits": np.asarray(TOLERANCE_FLOAT_LOGITS, np.float32),
        }
    )


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
