"""Does this model still answer on this device as it did when it was packed, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelFault
from edge_runtime.inference.session import Session, open_session
from edge_runtime.manifest import Manifest
from edge_runtime.records import View

if TYPE_CHECKING:
    from edge_runtime.inference.detect.golden import DetectProbe

Arrays = Mapping[str, NDArray[Any]]
LATENCY_SLOTS = 32
"""Slots that a latency is stated for: a usual shelf."""
_PACK = "Pack the bundle again with `edge-runtime build pack`"


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """How the model answered its golden crops, or a detector its golden pictures."""

    count: int
    max_error: float
    """Largest absolute difference to the packed logits; of a detector: `detect.golden.DetectGolden.max_error`."""
    tolerance: float
    agreement: float
    """Share of the crops with the same best label, or of the boxes that were found again."""

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


class Probe(Protocol):
    """One loaded file of a model, with what it must answer."""

    def check(self) -> GoldenReport:
        """Run the golden set. Raises ModelFault if it does not fit the manifest, or if the model fails on it."""
        ...

    def run_once(self) -> None:
        """One run of the size that latency is stated for. Raises ModelFault if the model fails."""
        ...


class SlotProbe:
    """`Probe` for the task `classify-slots`: `slots` crops of noise (a slot's cost does not depend on what it shows)."""

    def __init__(
        self, session: Session, manifest: Manifest, golden: Arrays, floating: bool = False, slots: int = LATENCY_SLOTS
    ) -> None:
        width, height = manifest.input.size
        self._session, self._manifest, self._golden, self._floating = session, manifest, golden, floating
        self._crops = np.random.default_rng(0).integers(0, 256, (slots, height, width, 3), np.uint8)
        self._reference = session.prepare(self._crops) if session.takes_reference else None

    def check(self) -> GoldenReport:
        return check_golden(self._session, self._manifest, self._golden, self._floating)

    def run_once(self) -> None:
        self._session.run_prepared(self._crops, self._reference)


class ViewProbe:
    """`Probe` for the task `detect`: latency is of one view, all its tiles."""

    def __init__(self, probe: DetectProbe) -> None:
        self._probe = probe

    def check(self) -> GoldenReport:
        found = self._probe.compare()
        return GoldenReport(found.count, found.max_error, found.tolerance, found.agreement)

    def run_once(self) -> None:
        self._probe.run_once()


def open_probe(model: bytes, manifest: Manifest, golden: Arrays, floating: bool = False, threads: int = 1) -> Probe:
    """Load one file of a model. `floating`: it is the float file beside a quantized one, with golden answers of its own.

    Raises ModelFault as `open_session` does, and if a golden set holds NaN.
    """
    _require_finite(golden)
    session = open_session(model, manifest, threads)
    if manifest.task == "detect":
        from edge_runtime.inference.detect.golden import DetectProbe

        return ViewProbe(DetectProbe(session, manifest, golden, floating))
    return SlotProbe(session, manifest, golden, floating)


def check_golden(session: Session, manifest: Manifest, golden: Arrays, floating: bool = False) -> GoldenReport:
    """Run the packed crops and compare with the packed logits; for a detector: as `check_detect_golden`.

    Members: current, reference (n, h, w, 3) uint8; logits (n, labels) float32, what `session.run` gave where it was
    packed; tolerance, also known as tolerance_logits, a number. For a float file (`floating`) logits_fp32 and
    tolerance_fp32_logits. Others are passed over. Raises ModelFault if the golden set does not fit the manifest, or if
    the model fails on it.
    """
    _require_finite(golden)
    if manifest.task == "detect":
        from edge_runtime.inference.detect.golden import DetectProbe

        return ViewProbe(DetectProbe(session, manifest, golden, floating)).check()
    current, reference, expected, tolerance = _golden_parts(manifest, golden, floating)
    answer = session.run(current, reference)
    errors = np.abs(answer.astype(np.float64) - expected)
    agreement = float((answer.argmax(axis=1) == expected.argmax(axis=1)).mean())
    return GoldenReport(len(current), float(errors.max()), tolerance, agreement)


def require_golden(session: Session, manifest: Manifest, golden: Arrays, floating: bool = False) -> GoldenReport:
    """As `check_golden`, and raise ModelFault if the answers differ by more than the tolerance."""
    report = check_golden(session, manifest, golden, floating)
    if not report.passed:
        raise ModelFault(f"{manifest.name} {manifest.version} {tell_mismatch(report)}", _MISMATCH_MEND)
    return report


_MISMATCH_MEND = "Fall back; pack the bundle again, or for another kind of processor"


def tell_mismatch(report: GoldenReport) -> str:
    """What a golden set that failed is told as, after the name of what failed it."""
    return (
        f"answers its golden set with an error of {report.max_error:.4g} (agreement {report.agreement:.1%});"
        f" at most {report.tolerance:.4g} was expected"
    )


def probe_model(model: bytes, manifest: Manifest, golden: Arrays, threads: int = 1) -> GoldenReport:
    """Load a model, run its golden set, drop it. Raises ModelFault if anything is amiss."""
    return require_golden(open_session(model, manifest, threads), manifest, golden)


def measure_latency(session: Session, manifest: Manifest, slots: int = LATENCY_SLOTS, rounds: int = 20) -> Latency:
    """Time a session's runs over `slots` crops of noise."""
    probe = SlotProbe(session, manifest, {}, slots=slots)
    probe.run_once()
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        probe.run_once()
        spent.append(1e3 * (time.perf_counter() - began))
    return Latency(slots, rounds, float(np.median(spent)), float(np.percentile(spent, 95)))


def bare_run(session: Session, view: View, reference: NDArray[np.uint8] | None) -> Callable[[], None]:
    """What the model alone costs on a view's crops: one run of the runtime over all slots, and nothing around it.

    A detector runs once a tile of the view's canvas. `reference`: the slots' reference crops, if the model takes them.
    """
    spec = session.spec
    if view.canvas is not None:
        feeds = [{spec.current: session.prepare(tile[None])} for tile in view.canvas.pixels]
    else:
        feeds = [{spec.current: session.prepare(view.crops)}]
        if spec.reference is not None and reference is not None:
            feeds[0][spec.reference] = session.prepare(reference)

    def run() -> None:
        for feed in feeds:
            session.run_bare(feed)

    return run


def _require_finite(golden: Arrays) -> None:
    """NaN is at no distance from anything."""
    for name, found in golden.items():
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ModelFault(f"golden {name} holds NaN or infinity", _PACK)


def _golden_parts(
    manifest: Manifest, golden: Arrays, floating: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.float32], float]:
    width, height = manifest.input.size
    answers = "logits_fp32" if floating else "logits"
    rows = len(np.atleast_1d(golden["current"])) if "current" in golden else 0
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {
        "current": (np.uint8, (rows, height, width, 3)),
        answers: (np.float32, (rows, len(manifest.output.labels))),
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
    return golden["current"], reference, golden[answers], _tolerance(golden, floating)


def _tolerance(golden: Arrays, floating: bool) -> float:
    names = ("tolerance_fp32_logits",) if floating else ("tolerance", "tolerance_logits")
    found = next((golden[name] for name in names if name in golden), None)
    if found is None or found.size != 1 or found.dtype.kind not in "fiu" or not 0 <= float(found.item()) < np.inf:
        raise ModelFault(f"the golden set's {names[0]} is not one number of at least 0", _PACK)
    return float(found.item())
