"""`model-validation/1`: what `build validate --json` wrote, as `build pack` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused, Unavailable

MAX_RECORD_BYTES = 4 * 1024 * 1024
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class DatasetNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dataset that was read; its rows are for people and other tools."""

    name: str
    sha256: Digest
    """Of its truth tables and layouts, and of the names and sizes of its frames."""
    shelves: int
    frames: int
    slots: int
    figures: dict[str, float | None]
    rows: tuple[dict[str, str | int | float | None], ...] = ()
    unread: tuple[str, ...] = ()


class MarkNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the gate."""

    mark: str
    found: float | None
    wanted: str
    where: str
    met: bool


class ValidationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; shares and points are per cent (0..100) where a name ends in `_percent` or `_points`."""

    format: Literal["model-validation/1"]
    model: str
    packed_sha256: Digest
    """Of model.onnx."""
    float_sha256: Digest | None
    """Of model.fp32.onnx; None if there is one file only."""
    figures: dict[str, float | None]
    """Of the machine, not of a dataset: latency and memory."""
    datasets: tuple[DatasetNote, ...]
    marks: tuple[MarkNote, ...]
    passed: bool
    versions: dict[str, str]


def read_record(path: Path) -> ValidationRecord:
    """Raises Unavailable if the file is not there, Refused if it is no validation."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"validation {path} can not be read: {fault.strerror}",
            "Make it: edge-runtime build validate … --json > FILE",
        ) from None
    if len(raw) > MAX_RECORD_BYTES:
        raise Refused(f"{path} has {len(raw)} bytes, at most {MAX_RECORD_BYTES} were expected", "Validate again")
    try:
        return msgspec.json.decode(raw, type=ValidationRecord)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(f"{path} is not a validation: {fault}", "Make it with `build validate … --json`") from None
