"""A receipt must be of the files that are packed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.workshop.packing.receipts import check_belongs, merged
from edge_runtime.workshop.validation.record import DatasetNote, MarkNote, ValidationRecord, read_record


def record(packed: bytes, passed: bool = True) -> ValidationRecord:
    note = DatasetNote(
        "set",
        "0" * 64,
        2,
        8,
        120,
        {"agreement_percent": 99.8, "lab_loss_points": 0.1, "ece_lab_percent": None, "slots": 120.0},
    )
    mark = MarkNote("int8.agreement_percent", 99.0, ">= 99.5", "set", passed)
    digest = hashlib.sha256(packed).hexdigest()
    return ValidationRecord(
        "model-validation/1", "m 1.0.0", digest, "1" * 64, {"speedup": 1.5}, (note,), (mark,), passed, {}
    )


def test_a_validation_of_other_files_or_a_red_one_is_refused() -> None:
    check_belongs(b"packed", b"float", None, record(b"packed"))
    with pytest.raises(Refused, match=r"another model\.onnx"):
        check_belongs(b"other", b"float", None, record(b"packed"))
    with pytest.raises(Refused, match=r"red: int8\.agreement_percent"):
        check_belongs(b"packed", b"float", None, record(b"packed", passed=False))


def test_figures_are_carried_as_shares() -> None:
    figures = merged(None, None, record(b"packed"))
    assert figures["int8_agreement"] == pytest.approx(0.998)
    assert figures["lab_accuracy_delta"] == pytest.approx(-0.001)
    assert figures["speedup"] == 1.5
    assert "lab_calibration_error" not in figures


def test_records_are_read_back_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    with pytest.raises(Unavailable):
        read_record(path)
    path.write_bytes(msgspec.json.encode(record(b"packed")))
    assert read_record(path) == record(b"packed")
    path.write_bytes(b'{"format":"model-validation/1"}')
    with pytest.raises(Refused, match="not a validation"):
        read_record(path)
