"""Parts to one bundle: the manifest and every member, byte for byte the same for the same parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.decoder import Decoder
from edge_runtime.manifest import Confidence, InputSpec, Manifest, OutputSpec, Thresholds
from edge_runtime.workshop.packing.identity import Identity

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """The files of a model, and how they are fed and read."""

    packed: bytes
    """model.onnx: int8, or the float file if there is no int8."""
    float32: bytes | None
    """model.fp32.onnx beside an int8 file."""
    input: InputSpec
    output: OutputSpec
    decoder: Decoder | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What packing worked out from data: how sure to be, when to answer, and what a device checks itself with."""

    confidence: Confidence
    thresholds: Thresholds
    golden: bytes
    reference: bytes
    warnings: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """Card heading -> a sentence."""


UNFITTED = Thresholds(answer=0.5, blocked=0.5)
"""Without labelled data nothing can be fitted: the better of two is answered."""


def assemble(
    identity: Identity,
    graphs: Graphs,
    evidence: Evidence,
    provenance: Mapping[str, str | int | float],
    receipt: Figures,
    card: Mapping[str, str],
    licence: bytes,
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest (without digests, which `pack` fills in) and the members."""
    manifest = Manifest(
        format="edge-bundle/1",
        name=identity.name,
        version=identity.version,
        task="classify-slots" if graphs.decoder is None else "detect",
        created=identity.created,
        description=identity.description,
        licence=identity.licence,
        input=graphs.input,
        output=graphs.output,
        confidence=evidence.confidence,
        thresholds=evidence.thresholds,
        runtime=identity.runtime,
        provenance=dict(provenance),
        receipt={name: float(f"{value:.6g}") + 0.0 for name, value in receipt.items()},
        files={},
        card=dict(card),
        decoder=graphs.decoder,
    )
    files = {"model.onnx": graphs.packed}
    if graphs.float32 is not None:
        files["model.fp32.onnx"] = graphs.float32
    files |= {"golden.npz": evidence.golden, "reference.npz": evidence.reference, "LICENSE": licence}
    return manifest, files
