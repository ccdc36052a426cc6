"""`build quantize` on the command line: files, receipts, a gate that is not met, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from workshop.small import SIDE, convnet, crops, write_exported

from cli.conftest import Run
from edge_runtime.errors import EXIT_PROBLEM, EXIT_UNAVAILABLE, EXIT_USAGE
from edge_runtime.workshop.quantization.receipt import read_quantization


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_exported(tmp_path / "shelf.onnx", convnet())


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    np.savez(tmp_path / "crops.npz", current=crops(24))
    return tmp_path / "crops.npz"


def test_an_int8_file_and_its_receipt(run: Run, model: Path, calibration: Path) -> None:
    ran = run("build", "quantize", model, "--calibration", calibration, "--agreement", "0.5")
    assert ran.code == 0, ran.err
    assert "gate passed" in ran.out
    receipt = read_quantization(model.with_name("shelf.int8.onnx"))
    assert receipt.calibration == "crops.npz"
    assert receipt.method in ran.out
    assert "samples judge" not in ran.err


def test_a_passed_gate_says_what_it_does_not_show(run: Run, model: Path, calibration: Path) -> None:
    ran = run("build", "quantize", model, "--calibration", calibration, "--agreement", "0.62", "--method", "minmax")
    assert ran.code == 0, ran.out
    assert "warning: 6 samples judge, and 7 that all agree were expected" in ran.err
    assert read_quantization(model.with_name("shelf.int8.onnx")).warnings[0].startswith("6 samples judge")


def test_the_same_again_is_the_same_to_the_byte(run: Run, model: Path, calibration: Path) -> None:
    files = [model.with_name(f"{k}.onnx") for k in range(2)]
    for file in files:
        assert (
            run("build", "quantize", model, "--calibration", calibration, "--agreement", "0.5", "--out", file).code == 0
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def test_json_is_one_object(run: Run, model: Path, calibration: Path) -> None:
    ran = run(
        "build", "quantize", model, "--calibration", calibration, "--agreement", "0.5", "--json", "--method", "minmax"
    )
    (record,) = ran.lines
    assert record["passed"]
    assert [step["method"] for step in record["trials"]] == ["minmax"]
    assert record["peak_mb"] > 10


def test_a_gate_that_can_not_be_met_is_a_problem_and_writes_nothing(
    run: Run, tmp_path: Path, calibration: Path
) -> None:
    model = write_exported(tmp_path / "hard.onnx", convnet(spread=4.0))
    keep = ("--keep-float", "first", "--keep-float", "second", "--keep-float", "last")
    ran = run("build", "quantize", model, "--calibration", calibration, *keep)
    assert ran.code == EXIT_PROBLEM
    assert "the gate is not met" in ran.err
    assert "layers in int8" in ran.err
    assert not (tmp_path / "hard.int8.onnx").exists()


def test_any_graph_with_arrays_of_its_own_inputs_needs_no_receipt(run: Run, tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "own.onnx")
    fed = np.random.default_rng(0).normal(0, 1, (12, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "fed.npz", image=fed)
    assert (
        run("build", "quantize", tmp_path / "own.onnx", "--calibration", tmp_path / "fed.npz", "--agreement", "0").code
        == 0
    )


Spoil = Callable[[Path, Path, Path], tuple[object, ...]]


def _nan(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    return write_exported(folder / "nan.onnx", convnet(weights=float("nan"))), "--calibration", calibration


def _small_crops(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    np.savez(folder / "small.npz", current=crops(4, side=8))
    return model, "--calibration", folder / "small.npz"


def _no_receipt(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    onnx.save(convnet(), folder / "own.onnx")
    (folder / "set").mkdir()
    return folder / "own.onnx", "--calibration", folder / "set"


def _twice(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    (folder / "shelf.int8.onnx").write_bytes(b"mine")
    return model, "--calibration", calibration


def _stale(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    onnx.save(convnet(spread=1.0), model)
    return model, "--calibration", calibration


def _half(folder: Path, model: Path, calibration: Path) -> tuple[object, ...]:
    (folder / "half.onnx").write_bytes(model.read_bytes()[:200])
    return folder / "half.onnx", "--calibration", calibration


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (lambda f, m, c: (m, "--calibration", f / "nowhere"), EXIT_UNAVAILABLE, "a calibration set was expected"),
        (lambda f, m, c: (f / "nothing.onnx", "--calibration", c), EXIT_UNAVAILABLE, "can not be read"),
        (_nan, EXIT_PROBLEM, "NaN or infinity"),
        (_small_crops, EXIT_PROBLEM, "(n, 16, 16, 3) were expected"),
        (_no_receipt, EXIT_UNAVAILABLE, "no export receipt"),
        (_twice, EXIT_USAGE, "--force"),
        (_stale, EXIT_PROBLEM, "receipt of another file"),
        (_half, EXIT_PROBLEM, "half.onnx"),
        (lambda f, m, c: (m, "--calibration", c, "--agreement", "99.5"), EXIT_USAGE, "a share from 0 to 1"),
        (lambda f, m, c: (m, "--calibration", c, "--out", m), EXIT_USAGE, "the float file itself"),
        (lambda f, m, c: (m, "--calibration", c, "--out", f / "no" / "m.onnx"), EXIT_USAGE, "there is no folder"),
    ],
)
def test_bad_input(
    run: Run, tmp_path: Path, model: Path, calibration: Path, spoil: Spoil, code: int, told: str
) -> None:
    ran = run("build", "quantize", *spoil(tmp_path, model, calibration))
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_a_full_disk_leaves_what_was_there(
    run: Run, model: Path, calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = model.with_name("shelf.int8.onnx")
    out.write_bytes(b"mine")
    write = Path.write_bytes

    def full(self: Path, body: bytes) -> int:
        if self.name.endswith(".part"):
            raise OSError(28, "No space left on device", str(self))
        return write(self, body)

    monkeypatch.setattr(Path, "write_bytes", full)
    ran = run("build", "quantize", model, "--calibration", calibration, "--agreement", "0", "--force")
    assert ran.code == EXIT_UNAVAILABLE
    assert "No space left" in ran.err
    assert out.read_bytes() == b"mine"


def test_the_receipt_is_json_with_sorted_keys(run: Run, model: Path, calibration: Path) -> None:
    run("build", "quantize", model, "--calibration", calibration, "--agreement", "0")
    text = (model.parent / "shelf.int8.onnx.quantization.json").read_text()
    record = json.loads(text)
    assert list(record) == sorted(record)
    assert str(model.parent) not in text
