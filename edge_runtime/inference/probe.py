"""Does this model still answer on this device as it did when it was packed, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelFault
from edge_runtime.inference.session import Session, open_session
from edge_runtime.manifest import Manifest

Arrays = Mapping[str, NDArray[Any]]
_PACK = "Pack the bundle again with `edge-runtime build pack`"


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """How the model answered its golden crops."""

    count: int
    max_error: float
    """Largest absolute difference to the packed logits."""
    tolerance: float
    agreement: float
    """Share of the crops with the same best label."""

    @property
    def passed(self) -> bool:
        return self.max_error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one run over `slots` crops, over `rounds` runs after one to warm up."""

    slots: int
    rounds: int
    median_ms: float
    p95_ms: float


def check_golden(session: Session, manifest: Manifest, golden: Arrays) -> GoldenReport:
    """Run the packed crops and compare with the packed logits.

    Members: current, reference (n, h, w, 3) uint8; logits (n, labels) float32, what `session.run` gave where it was
    packed; tolerance, also known as tolerance_logits, a number. Others are passed over. Raises ModelFault if the golden set does not fit the manifest, or if the model fails on it.
    """
    current, reference, expected, tolerance = _golden_parts(manifest, golden)
    answer = session.run(current, reference)
    errors = np.abs(answer - expected)
    agreement = float((answer.argmax(axis=1) == expected.argmax(axis=1)).mean())
    return GoldenReport(len(current), float(errors.max()), tolerance, agreement)


def require_golden(session: Session, manifest: Manifest, golden: Arrays) -> GoldenReport:
    """As `check_golden`, and raise ModelFault if the answers differ by more than the tolerance."""
    report = check_golden(session, manifest, golden)
    if not report.passed:
        raise ModelFault(
            f"{manifest.name} {manifest.version} answers its golden set with an error of {report.max_error:.4g}"
            f" (agreement {report.agreement:.1%}); at most {report.tolerance:.4g} was expected",
            "Fall back; pack the bundle again, or for another kind of processor",
        )
    return report


def probe_model(model: bytes, manifest: Manifest, golden: Arrays, threads: int = 1) -> GoldenReport:
    """Load a model, run its golden set, drop it. Raises ModelFault if anything is amiss."""
    return require_golden(open_session(model, manifest, threads), manifest, golden)


def measure_latency(session: Session, manifest: Manifest, slots: int = 32, rounds: int = 20) -> Latency:
    """Time runs over `slots` crops of noise (the cost of a slot does not depend on what it shows)."""
    width, height = manifest.input.size
    crops = np.random.default_rng(0).integers(0, 256, (slots, height, width, 3), np.uint8)
    reference = session.prepare(crops) if session.takes_reference else None
    session.run_prepared(crops, reference)
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        session.run_prepared(crops, reference)
        spent.append(1e3 * (time.perf_counter() - began))
    return Latency(slots, rounds, float(np.median(spent)), float(np.percentile(spent, 95)))


def _golden_parts(
    manifest: Manifest, golden: Arrays
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.float32], float]:
    width, height = manifest.input.size
    rows = len(np.atleast_1d(golden["current"])) if "current" in golden else 0
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {
        "current": (np.uint8, (rows, height, width, 3)),
        "logits": (np.float32, (rows, len(manifest.output.labels))),
    }
    if manifest.input.reference:
        wanted["reference"] = (np.uint8, (rows, height, width, 3))
    for name, (dtype, shape) in wanted.items():
        if name not in golden:
            raise ModelFault(f"the golden set lacks {name}", _PACK)
        found = golden[name]
        if found.dtype != dtype or found.shape != shape or rows == 0:
            raise ModelFault(
                f"golden {name} is {found.dtype} {found.shape}, {np.dtype(dtype)} {shape} was expected", _PACK
            )
    reference = golden["reference"] if manifest.input.reference else None
    return golden["current"], reference, golden["logits"], _tolerance(golden)


def _tolerance(golden: Arrays) -> float:
    found = golden.get("tolerance", golden.get("tolerance_logits"))
    if found is None or found.size != 1 or found.dtype.kind not in "fiu" or not 0 <= float(found.item()) < np.inf:
        raise ModelFault("the golden set's tolerance is not one number of at least 0", _PACK)
    return float(found.item())
