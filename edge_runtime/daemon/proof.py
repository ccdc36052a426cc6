"""What a device finds out about a model before it runs it: the records, what travels on the pipe, and the choice."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Annotated

import msgspec

from edge_runtime.errors import ModelFault
from edge_runtime.lifecycle.bundle import Variant

FASTER_BY = 0.92
"""The float file must take at most this share of the packed file's time: it holds more memory, and timings are noisy."""
FASTER_OFTEN = 0.75
"""... and win at least this share of the alternating rounds."""
MAX_ROUNDS = 64
MAX_TEXT = 400
_NAMES = {Variant.PACKED: "int8", Variant.FLOAT: "float"}
_MEND = "It is not run; pack it again, or for this kind of device"
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Rounds = Annotated[tuple[Amount, ...], msgspec.Meta(max_length=MAX_ROUNDS)]


@dataclass(frozen=True, slots=True)
class ProofLimits:
    """What a model may take of this device while it is proved, and how slow it may be."""

    memory_mb: int = 320
    """Private memory of the proving process, the libraries' own (about 60) included; with the daemon's own it stays below
    what the systemd unit allows."""
    cpu_s: int = 120
    wall_s: float = 240.0
    latency_ms: float = 2000.0
    """For one run over 32 slots, or over one view of a detector: the most that `VariantProof.median_ms` may be."""
    measure_s: float = 3.0
    """Spent on timing all variants together."""


@dataclass(frozen=True, slots=True)
class VariantProof:
    """How one file of the bundle did on this device."""

    variant: Variant
    passed: bool
    said: str
    """Why it did not pass; empty if it did."""
    golden: int
    """Golden examples that it was asked."""
    max_error: float
    tolerance: float
    agreement: float
    load_ms: float
    rounds: int
    median_ms: float
    """Of a run. On one thread processor time, which a crowded device does not stretch; on more, the clock's."""
    p95_ms: float
    wall_ms: float
    """Median by the clock, at the proof's low priority."""
    memory_mb: float
    """By how much the process grew when it loaded and ran this file: what the daemon will hold."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A model that passed on this device, and which of its files is to run."""

    sha256: str
    variants: tuple[VariantProof, ...]
    chosen: Variant
    said: str
    """Why that one, in words for a person."""
    threads: int
    wall_s: float
    """How long the proof took."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="step"):
    """The child is about to do this."""

    doing: Text


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the child measured of one variant; `said` is why it failed."""

    variant: Variant
    said: Text = ""
    golden: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    max_error: Amount = 0.0
    tolerance: Amount = 0.0
    agreement: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    load_ms: Amount = 0.0
    wall_ms: Rounds = ()
    cpu_ms: Rounds = ()
    memory_mb: Amount = 0.0


class Findings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="findings"):
    """The child's last word on a bundle that it could read. The n-th rounds of all variants were run in turn."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    found: Annotated[tuple[Finding, ...], msgspec.Meta(min_length=1, max_length=len(Variant))]


class Unread(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unread"):
    """The child's last word on a file that is no bundle."""

    found: Text
    mend: Text = ""


Message = Step | Findings | Unread


def conclude(findings: Findings, limits: ProofLimits, threads: int, wall_s: float) -> Proof:
    """Judge what was measured and choose a variant. Raises ModelFault, naming what was wrong, if none passes."""
    proofs = tuple(_judged(finding, limits, threads) for finding in findings.found)
    if len({proof.variant for proof in proofs}) != len(proofs):
        raise ModelFault("the proving process told of one variant twice", _MEND)
    if not any(proof.passed for proof in proofs):
        raise ModelFault("; ".join(f"{proof.variant} {proof.said}" for proof in proofs), _MEND)
    chosen, said = choose(findings, proofs, threads)
    return Proof(findings.sha256, proofs, chosen, said, threads, wall_s)


def choose(findings: Findings, proofs: tuple[VariantProof, ...], threads: int) -> tuple[Variant, str]:
    """The variant to run, of which at least one has passed, and why."""
    passed = {proof.variant: proof for proof in proofs if proof.passed}
    if len(proofs) == 1:
        return proofs[0].variant, f"{proofs[0].median_ms:.1f} ms a run: it is the bundle's only file"
    if len(passed) == 1:
        (variant,) = passed
        failed = next(proof for proof in proofs if not proof.passed)
        return variant, f"{_NAMES[failed.variant]} {failed.said}: {_NAMES[variant]} runs"
    packed, floating = passed[Variant.PACKED], passed[Variant.FLOAT]
    times = f"int8 {packed.median_ms:.1f} ms, float {floating.median_ms:.1f} ms a run"
    rounds = {finding.variant: _rounds(finding, threads) for finding in findings.found}
    pairs = list(zip(rounds[Variant.PACKED], rounds[Variant.FLOAT], strict=False))
    won = sum(float_ms < int8_ms for int8_ms, float_ms in pairs)
    if floating.median_ms > FASTER_BY * packed.median_ms:
        why = "" if floating.median_ms >= packed.median_ms else " (float is not clearly faster)"
        return Variant.PACKED, f"{times}: int8 runs{why}"
    if won < FASTER_OFTEN * len(pairs):
        return Variant.PACKED, f"{times}, but float was faster in {won} of {len(pairs)} rounds only: int8 runs"
    return Variant.FLOAT, f"{times}: int8 is slower on this device, float runs"


def _rounds(finding: Finding, threads: int) -> tuple[float, ...]:
    """The rounds by which a file is judged: `VariantProof.median_ms`."""
    return finding.cpu_ms if threads == 1 else finding.wall_ms


def _judged(finding: Finding, limits: ProofLimits, threads: int) -> VariantProof:
    rounds = _rounds(finding, threads)
    median = statistics.median(rounds or (0.0,))
    said = finding.said
    if not said and (not finding.wall_ms or len(finding.wall_ms) != len(finding.cpu_ms)):
        said = "was not timed"
    elif not said and median > limits.latency_ms:
        said = f"is too slow: {median:.0f} ms a run, at most {limits.latency_ms:.0f} ms were expected"
    elif not said and (finding.golden == 0 or finding.max_error > finding.tolerance):
        said = f"answers its golden set with an error of {finding.max_error:.4g}, at most {finding.tolerance:.4g} was expected"
    return VariantProof(
        variant=finding.variant,
        passed=not said,
        said=said,
        golden=finding.golden,
        max_error=finding.max_error,
        tolerance=finding.tolerance,
        agreement=finding.agreement,
        load_ms=finding.load_ms,
        rounds=len(rounds),
        median_ms=median,
        p95_ms=_p95(rounds),
        wall_ms=statistics.median(finding.wall_ms or (0.0,)),
        memory_mb=finding.memory_mb,
    )


def _p95(rounds: tuple[float, ...]) -> float:
    """Nearest rank; 0 of none."""
    ordered = sorted(rounds)
    return ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1) + 0.5))] if ordered else 0.0
