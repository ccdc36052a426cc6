"""The receipt of a manifest: source -> ONNX -> int8, out of the receipts of each step. Nothing is measured here."""

from __future__ import annotations

import hashlib

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.receipt import ExportReceipt
from edge_runtime.workshop.quantization.receipt import QuantizationReceipt
from edge_runtime.workshop.validation.record import ValidationRecord

CARRIED = {
    "agreement_percent": ("int8_agreement", 0.01),
    "lab_loss_points": ("lab_accuracy_delta", -0.01),
    "field_loss_points": ("field_accuracy_delta", -0.01),
    "lab_percent": ("lab_accuracy", 0.01),
    "field_percent": ("field_accuracy", 0.01),
    "ece_lab_percent": ("lab_calibration_error", 0.01),
    "ece_field_percent": ("field_calibration_error", 0.01),
    "slots": ("slots", 1.0),
}
"""Figure of a validation -> name in the receipt, and what it is multiplied with."""
TIMES = {"p50_ms": "int8_ms_32_slots", "float_p50_ms": "fp32_ms_32_slots", "speedup": "speedup"}


def merged(
    exported: ExportReceipt | None, quantized: QuantizationReceipt | None, validated: ValidationRecord | None
) -> dict[str, float]:
    """Names as the shipped bundles have them; what a validation measured stands before what quantizing measured."""
    figures: dict[str, float] = {}
    if exported is not None:
        parity = exported.parity
        figures |= {
            "export_max_error": parity.max_error,
            "export_agreement": parity.agreement,
            "export_rows": float(parity.rows),
        }
    if quantized is not None:
        likeness = quantized.likeness
        figures |= {
            "int8_agreement": likeness.agreement,
            "int8_max_error": likeness.max_error,
            "int8_mean_error": likeness.mean_error,
            "int8_layers": float(quantized.int8_layers),
            "slots": float(likeness.rows),
        }
        if likeness.accuracy_float is not None and likeness.accuracy_int8 is not None:
            figures["accuracy_delta"] = likeness.accuracy_int8 - likeness.accuracy_float
    return figures | (_validated(validated) if validated else {})


def check_belongs(
    packed: bytes, float32: bytes, quantized: QuantizationReceipt | None, validated: ValidationRecord | None
) -> None:
    """Raise Refused if a receipt is of other files than those that are packed, or of a validation that failed."""
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in (("packed", packed), ("float", float32))}
    if quantized is not None and quantized.source.sha256 != digests["float"]:
        raise Refused(
            f"the int8 file was made from another float file (sha256 {quantized.source.sha256[:12]}…, not "
            f"{digests['float'][:12]}…)",
            "Quantize this one: edge-runtime build quantize",
        )
    if validated is None:
        return
    if validated.packed_sha256 != digests["packed"]:
        raise Refused(
            f"the validation is of another model.onnx (sha256 {validated.packed_sha256[:12]}…, not "
            f"{digests['packed'][:12]}…)",
            "Validate these files: edge-runtime build validate",
        )
    if not validated.passed:
        short = ", ".join(mark.mark for mark in validated.marks if not mark.met)
        raise Refused(f"the validation is red: {short}", "Mend the model; a red model is not packed")


def _validated(record: ValidationRecord) -> dict[str, float]:
    figures: dict[str, float] = {}
    for dataset in record.datasets:
        for name, (carried, scale) in CARRIED.items():
            value = dataset.figures.get(name)
            if value is not None:
                figures[carried] = scale * value
    for name, carried in TIMES.items():
        value = record.figures.get(name)
        if value is not None and record.float_sha256 is not None:
            figures[carried] = value
    return figures
