"""`<int8 file>.quantization.json` (`quantization-receipt/1`): what was tried, what won, and what it cost.

No time and no path, so that the same model and samples give the same bytes; latencies are measured by `build validate`.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import FileDigest, Share
from edge_runtime.workshop.export.receipt import MAX_RECEIPT_BYTES, digest_of
from edge_runtime.workshop.quantization.judge import Gate, Likeness, doubts
from edge_runtime.workshop.quantization.qdq import int8_share
from edge_runtime.workshop.quantization.search import Found

SUFFIX = ".quantization.json"
TOOLS = ("onnx", "onnxruntime", "numpy")
MAX_SUSPECTS = 12


class Likened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`judge.Likeness`, rounded to six digits."""

    rows: int
    agreement: Share
    mean_error: float
    """As a share of the spread of the float outputs."""
    max_error: float
    accuracy_float: float | None = None
    accuracy_int8: float | None = None
    answers: int | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trial: a method, or one more tensor in float."""

    method: str
    kept_group: str
    signal_db: float | None
    kept_nodes: int
    likeness: Likened


class NoisyTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tensor: str
    kind: str
    signal_db: float


class QuantizationReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal["quantization-receipt/1"]
    source: FileDigest
    """The float file."""
    model: FileDigest
    """The int8 file."""
    calibration: str
    """Name of the calibration set, without its folder."""
    calibration_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    calibrated: int
    """Samples that the ranges are of."""
    judged: int
    """Samples that decided; not among the others."""
    types: str
    types_why: str
    method: str
    trials: tuple[Step, ...]
    kept_in_float: tuple[str, ...]
    noisiest: tuple[NoisyTensor, ...]
    int8_layers: int
    layers: int
    likeness: Likened
    gate: dict[str, float]
    passed: bool
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    """What a passed gate does not show."""


def receipt_of(
    source: bytes, int8: bytes, found: Found, gate: Gate, calibration: str, digest: str
) -> QuantizationReceipt:
    """Everything that the search found."""
    done, layers = int8_share(found.int8)
    return QuantizationReceipt(
        "quantization-receipt/1",
        digest_of(source),
        digest_of(int8),
        calibration,
        digest,
        found.calibrated,
        found.judged,
        found.types.name,
        found.types.why,
        found.method,
        tuple(
            Step(t.method, t.kept_group, _rounded(t.signal_db), t.kept_nodes, likened(t.likeness)) for t in found.trials
        ),
        found.kept,
        tuple(NoisyTensor(s.tensor, s.kind, round(s.signal_db, 3)) for s in found.suspects[:MAX_SUSPECTS]),
        done,
        layers,
        likened(found.likeness),
        {"agreement": gate.agreement, "loss": gate.loss},
        not found.shortfalls,
        {name: version(name) for name in TOOLS},
        doubts(found.likeness, gate),
    )


def likened(likeness: Likeness) -> Likened:
    """For the wire."""
    return msgspec.convert(likeness.as_dict(), Likened)


def receipt_path(int8: Path) -> Path:
    """Where the receipt of an int8 file lies."""
    return int8.with_name(int8.name + SUFFIX)


def encode_quantization(receipt: QuantizationReceipt) -> bytes:
    """Sorted keys and a line end."""
    return msgspec.json.format(msgspec.json.encode(receipt, order="sorted"), indent=1) + b"\n"


def read_quantization(int8: Path) -> QuantizationReceipt:
    """The receipt beside an int8 file, checked against it. Raises Unavailable or Refused."""
    path = receipt_path(int8)
    try:
        raw, body = path.read_bytes(), int8.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"{fault.filename} can not be read: {fault.strerror}", "Make it with `edge-runtime build quantize`"
        ) from None
    if len(raw) > MAX_RECEIPT_BYTES:
        raise Refused(f"{path} has {len(raw)} bytes, at most {MAX_RECEIPT_BYTES} were expected", "Quantize again")
    try:
        receipt = msgspec.json.decode(raw, type=QuantizationReceipt)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"{path} is not a quantization receipt: {fault}", "Quantize again") from None
    if receipt.model != digest_of(body):
        raise Refused(
            f"{path} is the receipt of another file than {int8.name}",
            "Quantize again, or bring the file that belongs to it",
        )
    return receipt


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
