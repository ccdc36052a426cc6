"""What every export ends in: bytes, a receipt, and answers got through the device's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.errors import ModelFault, Refused
from edge_runtime.inference.session import open_session
from edge_runtime.manifest import Confidence, InputSpec, Manifest, OutputSpec, Thresholds
from edge_runtime.workshop.export.interface import inputs_of, outputs_of
from edge_runtime.workshop.export.receipt import (
    ExportReceipt,
    Parity,
    Source,
    digest_of,
)
from edge_runtime.workshop.export.samples import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """An ONNX file's bytes, and what was found about it."""

    raw: bytes
    receipt: ExportReceipt


def finish(
    raw: bytes,
    *,
    source: Source,
    task: Literal["classify-slots", "detect"],
    input: InputSpec,  # noqa: A002 - the receipt's own word
    output: OutputSpec | None,
    parity: Parity,
    versions: dict[str, str],
    features: str = "",
    repairs: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Exported:
    """The receipt of these bytes, its facts on the graph read from the bytes themselves."""
    model = onnx.ModelProto.FromString(raw)
    receipt = ExportReceipt(
        format="export-receipt/1",
        task=task,
        source=source,
        model=digest_of(raw),
        input=input,
        output=output,
        inputs=inputs_of(model),
        outputs=outputs_of(model),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        ir_version=model.ir_version,
        parity=parity,
        features=features,
        repairs=repairs,
        warnings=warnings,
        versions=versions,
    )
    return Exported(raw, receipt)


def device_scores(raw: bytes, spec: InputSpec, output: OutputSpec, crops: Samples) -> NDArray[np.float32]:
    """What a device's session answers to these crops, (n, columns).

    Raises Refused with the session's reason if it does not accept the graph.
    """
    try:
        session = open_session(raw, _manifest(spec, output))
        return session.run(crops.current, crops.reference if session.takes_reference else None)
    except ModelFault as fault:
        raise Refused(f"a device would refuse the graph: {fault.found}", fault.mend) from None


def feeds_of(spec: InputSpec, crops: Samples) -> dict[str, NDArray[np.generic]]:
    """Crops as the graph takes them, by input name: the sums of `manifest.InputSpec`, written out once more."""
    feeds = {spec.current: _prepared(spec, crops.current)}
    if spec.reference:
        feeds[spec.reference] = _prepared(spec, crops.reference)
    return feeds


def _prepared(spec: InputSpec, crops: NDArray[np.uint8]) -> NDArray[np.generic]:
    ordered = crops[..., ::-1] if spec.colour == "RGB" else crops
    if spec.dtype == "float32":
        scaled = (ordered.astype(np.float64) - np.array(spec.mean)) / np.array(spec.std)
        ordered = scaled.astype(np.float32)
    return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else ordered)


def _manifest(spec: InputSpec, output: OutputSpec) -> Manifest:
    """Just enough of a manifest for a session."""
    return Manifest(
        format="edge-bundle/1",
        name="export",
        version="0.0.0",
        task="classify-slots",
        created="",
        description="",
        licence="",
        input=spec,
        output=output,
        confidence=Confidence(),
        thresholds=Thresholds(0.5, 0.5),
        runtime=("0", "1"),
        provenance={},
        receipt={},
        files={},
    )
