from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.manifest import InputSpec, OutputSpec
from edge_runtime.workshop.export.receipt import (
    ExportReceipt,
    Parity,
    Source,
    Tensor,
    digest_of,
    encode_receipt,
    read_receipt,
    receipt_path,
)

BODY = b"a model"


def receipt() -> ExportReceipt:
    return ExportReceipt(
        format="export-receipt/1",
        task="classify-slots",
        source=Source("onnx", "crops.onnx", "0" * 64, "pytorch 2.5"),
        model=digest_of(BODY),
        input=InputSpec("NHWC", (80, 80), "BGR", "uint8", (0, 0, 0), (1, 1, 1), 0.2, "current"),
        output=OutputSpec("scores", "logits", ("stocked", "low", "empty")),
        inputs=(Tensor("current", "uint8", ("n", 80, 80, 3)),),
        outputs=(Tensor("scores", "float32", ("n", 3)),),
        opsets={"ai.onnx": 17},
        ir_version=9,
        parity=Parity("calibration pairs", 64, 1e-6, 1.0, 1e-4),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "shelf.onnx"
    path.write_bytes(BODY)
    receipt_path(path).write_bytes(encode_receipt(receipt()))
    return path


def test_a_receipt_reads_back(model: Path) -> None:
    assert read_receipt(model) == receipt()
    assert receipt_path(model).name == "shelf.onnx.export.json"


def test_a_receipt_of_another_file_is_refused(model: Path) -> None:
    model.write_bytes(b"another model")
    with pytest.raises(Refused, match="receipt of another file"):
        read_receipt(model)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", encode_receipt(receipt())[:-40]])
def test_what_is_no_receipt_is_refused(model: Path, raw: bytes) -> None:
    receipt_path(model).write_bytes(raw)
    with pytest.raises(Refused, match="is not an export receipt"):
        read_receipt(model)


def test_an_unknown_field_and_a_huge_file_are_refused(model: Path) -> None:
    more = msgspec.to_builtins(receipt()) | {"colour": "red"}
    receipt_path(model).write_bytes(msgspec.json.encode(more))
    with pytest.raises(Refused, match="colour"):
        read_receipt(model)
    receipt_path(model).write_bytes(b" " * 300_000)
    with pytest.raises(Refused, match="300000 bytes"):
        read_receipt(model)


def test_a_receipt_that_is_not_there(model: Path) -> None:
    receipt_path(model).unlink()
    with pytest.raises(Unavailable, match="build export"):
        read_receipt(model)
