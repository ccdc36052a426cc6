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


def test_of_several_datasets_the_worst_figures_are_carried() -> None:
    one = record(b"packed")
    worse = msgspec.structs.replace(
        one.datasets[0],
        figures={"agreement_percent": 97.0, "lab_loss_points": 2.0, "ece_lab_percent": 9.0, "slots": 30.0},
    )
    figures = merged(None, None, msgspec.structs.replace(one, datasets=(worse, one.datasets[0])))
    assert figures["int8_agreement"] == pytest.approx(0.97)
    assert figures["lab_accuracy_delta"] == pytest.approx(-0.02)
    assert figures["lab_calibration_error"] == pytest.approx(0.09)
    assert figures["slots"] == 150


def test_one_file_alone_lost_nothing_and_does_not_say_so() -> None:
    figures = merged(None, None, msgspec.structs.replace(record(b"packed"), float_sha256=None))
    assert figures == {"slots": 120.0}


def test_a_detector_is_timed_by_the_view() -> None:
    one = record(b"packed")
    timed = msgspec.structs.replace(one, figures={"p50_ms": 20.0, "slots_timed": 1.0})
    assert merged(None, None, timed)["int8_ms_view"] == 20.0


def test_records_are_read_back_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    with pytest.raises(Unavailable):
        read_record(path)
    path.write_bytes(msgspec.json.encode(record(b"packed")))
    assert read_record(path) == record(b"packed")
    path.write_bytes(b'{"format":"model-validation/1"}')
    with pytest.raises(Refused, match="not a validation"):
        read_record(path)
