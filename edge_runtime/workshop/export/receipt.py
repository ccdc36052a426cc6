"""`<model>.export.json` (`export-receipt/1`): what was exported from what, and how nearly the two agree.

Written by `build export` beside its output, read by `build pack`. It holds no time and no path, so that the same
export gives the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import FileDigest, InputSpec, OutputSpec, Share

SUFFIX = ".export.json"
MAX_RECEIPT_BYTES = 262_144
Finite = Annotated[float, msgspec.Meta(ge=0.0)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was exported."""

    kind: Literal["scikit-learn", "onnx"]
    name: str
    """Name of the file without its folder, or `module:function`."""
    sha256: str
    """Of the file; empty where a function made the estimator."""
    what: str
    """The estimator's steps, or the tool that wrote the ONNX file."""


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of the exported graph."""

    name: str
    dtype: str
    """As numpy names it: `uint8`, `float32`."""
    shape: tuple[int | str, ...]
    """A free axis has a name; `n` is the number of slots (or frames)."""


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Source against output on the same crops."""

    samples: str
    """Where the crops are from: `calibration pairs`, or the name of the user's folder or file."""
    rows: int
    max_error: Finite
    """Largest absolute difference of any output."""
    agreement: Share
    """Share of the rows with the same best column."""
    tolerance: Finite


class ExportReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal["export-receipt/1"]
    task: Literal["classify-slots", "detect"]
    source: Source
    model: FileDigest
    """Digest and size of the exported file."""
    input: InputSpec
    output: OutputSpec | None
    """None for the task `detect`: its decoder is declared when packing."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opsets: dict[str, int]
    """Domain -> version; the standard domain is `ai.onnx`."""
    ir_version: int
    parity: Parity
    features: str = ""
    """The feature set in front of a scikit-learn estimator, such as `grid/1`; empty where the graph reads pixels."""
    repairs: tuple[str, ...] = ()
    """What was changed in an ONNX file: axes freed, nodes simplified."""
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    """Of the tools that made the file."""


def receipt_path(model: Path) -> Path:
    """Where the receipt of an exported file lies."""
    return model.with_name(model.name + SUFFIX)


def encode_receipt(receipt: ExportReceipt) -> bytes:
    """Sorted keys and a line end: the same receipt always gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(receipt, order="sorted"), indent=1) + b"\n"


def read_receipt(model: Path) -> ExportReceipt:
    """The receipt beside an exported file, checked against that file.

    Raises Unavailable if either is not there, Refused if the receipt is none or is of another file.
    """
    path = receipt_path(model)
    try:
        raw, body = path.read_bytes(), model.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"{fault.filename} can not be read: {fault.strerror}", "Make it with `edge-runtime build export`"
        ) from None
    if len(raw) > MAX_RECEIPT_BYTES:
        raise Refused(f"{path} has {len(raw)} bytes, at most {MAX_RECEIPT_BYTES} were expected", "Export again")
    try:
        receipt = msgspec.json.decode(raw, type=ExportReceipt)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"{path} is not an export receipt: {fault}", "Export again") from None
    if receipt.model != digest_of(body):
        raise Refused(
            f"{path} is the receipt of another file: {model.name} has the sha256 {digest_of(body).sha256[:12]}…, "
            f"{receipt.model.sha256[:12]}… was expected",
            "Export again, or bring the file that belongs to the receipt",
        )
    return receipt


def digest_of(body: bytes) -> FileDigest:
    """sha256 and size of a file's bytes."""
    return FileDigest(hashlib.sha256(body).hexdigest(), len(body))
