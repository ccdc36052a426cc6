"""The receipt of a manifest: source -> ONNX -> int8, out of the receipts of each step. Nothing is measured here."""

from __future__ import annotations

import hashlib

from edge_runtime.errors import Refused
from edge_runtime.manifest import InputSpec
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
COMPARED = ("agreement_percent", "lab_loss_points", "field_loss_points")
FED = ("layout", "size", "colour", "dtype", "mean", "std", "current")
"""What of an input changes the numbers that a graph sees."""
TIMES = {"p50_ms": "int8_ms_{unit}", "float_p50_ms": "fp32_ms_{unit}", "speedup": "speedup"}
"""`unit` is what was timed: 32 slots, or one view of a detector."""


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


def check_agrees(exported: ExportReceipt, declared: InputSpec) -> None:
    """Raise Refused if a detector's description feeds the graph in another way than the one that was exported.

    The margin is the description's alone: an export does not look at it.
    """
    told = {name: (getattr(exported.input, name), getattr(declared, name)) for name in FED}
    wrong = [f"{name} {was} (the description: {now})" for name, (was, now) in told.items() if was != now]
    if exported.task != "detect":
        wrong = [f"task {exported.task}"]
    if wrong:
        raise Refused(
            f"the export receipt says {'; '.join(wrong)}",
            "Mend the description, or export it again with what the model was trained on",
        )


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
        short = [mark.mark for mark in validated.marks if not mark.met]
        told = ", ".join(short) or "frames of its datasets could not be read"
        raise Refused(f"the validation is red: {told}", "Mend what fell short; a red model is not packed")


def _validated(record: ValidationRecord) -> dict[str, float]:
    """Of several datasets the worst figure counts, as for the gate; slots are counted together.

    What compares two files is left out where there is one: it would say that nothing was lost.
    """
    figures: dict[str, float] = {}
    told = {name: how for name, how in CARRIED.items() if record.float_sha256 is not None or name not in COMPARED}
    for name, (carried, scale) in told.items():
        found = [scale * value for one in record.datasets if (value := one.figures.get(name)) is not None]
        if found:
            figures[carried] = (sum if name == "slots" else max if name.startswith("ece_") else min)(found)
    unit = "view" if record.figures.get("slots_timed") == 1.0 else "32_slots"
    for name, carried in TIMES.items():
        value = record.figures.get(name)
        if value is not None and record.float_sha256 is not None:
            figures[carried.format(unit=unit)] = value
    return figures
