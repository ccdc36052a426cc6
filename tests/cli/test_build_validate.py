"""`build validate` on the command line: a loose pair, a bundle, a red gate, a page, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workshop.conftest import write_dataset
from workshop.small import convnet, crops, write_exported

from cli.conftest import Run
from edge_runtime.assets import factory_bundles
from edge_runtime.errors import EXIT_BAD_CONFIG, EXIT_PROBLEM, EXIT_UNAVAILABLE, EXIT_USAGE

GATE = 'format = "model-gate/1"\n[int8]\nagreement_percent = {agreement}\n'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model and its int8 file, and a dataset of one shelf."""
    from edge_runtime.cli.main import main

    folder = tmp_path_factory.mktemp("shop")
    write_exported(folder / "shelf.onnx", convnet())
    np.savez(folder / "crops.npz", current=crops(24))
    write_dataset(folder / "field", shelves=2, frames=2, seed=8)
    arguments = ["--calibration", str(folder / "crops.npz"), "--agreement", "0", "--method", "minmax", "--json"]
    assert main(["build", "quantize", str(folder / "shelf.onnx"), *arguments]) == 0
    return folder


def gate(folder: Path, agreement: float) -> Path:
    path = folder / f"gate-{agreement:g}.toml"
    path.write_text(GATE.format(agreement=agreement))
    return path


def test_a_pair_of_files_and_a_page(run: Run, shop: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = (shop / "shelf.onnx", shop / "field", "--int8", shop / "shelf.int8.onnx", "--report", page)
    ran = run("build", "validate", *arguments, "--gate", gate(tmp_path, 1))
    assert ran.code == 0, ran.err
    assert "all 1 marks are met" in ran.out
    assert "times as fast as float" in ran.out
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "exposure S1-S3" in text


def test_a_red_gate_is_a_problem_with_a_table(run: Run, shop: Path, tmp_path: Path) -> None:
    asked = tmp_path / "gate.toml"
    asked.write_text('format = "model-gate/1"\n[accuracy]\nlab_percent = 99.9\n[int8]\nagreement_percent = 1\n')
    arguments = (shop / "shelf.onnx", shop / "field", "--int8", shop / "shelf.int8.onnx", "--no-cost", "--gate", asked)
    ran = run("build", "validate", *arguments)
    assert ran.code == EXIT_PROBLEM
    assert "accuracy.lab_percent" in ran.out
    assert "1 of 2 marks fell short" in ran.out
    ran = run("build", "validate", *arguments, "--json")
    (record,) = ran.lines
    assert (ran.code, record["passed"]) == (EXIT_PROBLEM, False)
    assert [mark["met"] for mark in record["marks"]] == [False, True]


def test_a_bundle_over_several_sets_as_one(run: Run, shop: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", shelves=2, frames=2, seed=9)
    arguments = (factory_bundles()[-1], shop / "field", other, "--no-cost", "--json")
    (apart,) = run("build", "validate", *arguments).lines
    (together,) = run("build", "validate", *arguments, "--together").lines
    assert len(apart["datasets"]) == 2
    assert together["datasets"][0]["shelves"] == 4
    assert together["datasets"][0]["slots"] == sum(one["slots"] for one in apart["datasets"])
    assert together["model"] == "shelf-occupancy 1.1.0"


def test_sets_of_one_name_are_told_apart_and_the_worst_counts(run: Run, shop: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "b" / "field", shelves=1, frames=2, seed=9)
    for truth in other.rglob("truth.csv"):
        truth.write_text(truth.read_text().replace(",stocked,", ",empty,").replace(",low,", ",empty,"))
    asked = tmp_path / "gate.toml"
    asked.write_text('format = "model-gate/1"\n[accuracy]\nlab_percent = 60\n')
    for sets in ((shop / "field", other), (other, shop / "field")):
        (record,) = run("build", "validate", factory_bundles()[-1], *sets, "--no-cost", "--json", "--gate", asked).lines
        figures = {one["name"]: one["figures"]["lab_percent"] for one in record["datasets"]}
        assert set(figures) == {"field (1)", "field (2)"}
        worst = min(figures, key=lambda name: figures[name])
        assert figures[worst] < max(figures.values())
        assert (record["marks"][0]["where"], record["marks"][0]["found"]) == (worst, figures[worst])


def test_one_file_alone_is_compared_with_nothing(run: Run, shop: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = (shop / "shelf.onnx", shop / "field", "--no-cost", "--report", page)
    ran = run("build", "validate", *arguments, "--gate", gate(tmp_path, 99.5))
    assert ran.code == 0, ran.err
    assert "int8.agreement_percent: left out" in ran.err
    assert "1 marks of int8 are left out" in page.read_text()
    assert "agreement" not in ran.out
    for word in ("minus float", "two files", "float, %"):
        assert word not in page.read_text().split("How it was measured")[0]


def test_what_was_validated_is_packed_with_its_figures(run: Run, shop: Path, tmp_path: Path) -> None:
    from edge_runtime.lifecycle.bundle import read_manifest

    pair = ("--int8", shop / "shelf.int8.onnx")
    ran = run("build", "validate", shop / "shelf.onnx", shop / "field", *pair, "--json")
    (tmp_path / "validation.json").write_text(ran.out)
    arguments = ("--name", "small", "--version", "1.0.0", "--samples", shop / "crops.npz", "--out", tmp_path)
    ran = run("build", "pack", shop / "shelf.onnx", *pair, *arguments, "--validation", tmp_path / "validation.json")
    assert ran.code == 0, ran.err
    receipt = read_manifest(tmp_path / "small-1.0.0.zip").receipt
    assert {"int8_ms_32_slots", "fp32_ms_32_slots", "speedup", "lab_accuracy_delta"} <= set(receipt)


def test_an_unreadable_picture_is_a_problem(run: Run, shop: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "field", shelves=1, frames=2, seed=1)
    next(data.rglob("lab-0.jpg")).write_bytes(b"no picture")
    ran = run("build", "validate", shop / "shelf.onnx", data, "--no-cost")
    assert ran.code == EXIT_PROBLEM
    assert "lab-0.jpg" in ran.err
    (record,) = run("build", "validate", shop / "shelf.onnx", data, "--no-cost", "--json").lines
    assert record["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("shelf.onnx", "nowhere"), EXIT_UNAVAILABLE, "a field dataset was expected"),
        (("shelf.onnx", "field", "field"), EXIT_USAGE, "given twice"),
        (("nothing.onnx", "field"), EXIT_UNAVAILABLE, "can not be read"),
        (("crops.npz", "field"), EXIT_UNAVAILABLE, "crops.npz.export.json"),
        (("shelf.onnx", "field", "--gate", "crops.npz"), EXIT_BAD_CONFIG, "not TOML"),
        (("shelf.onnx", "field", "--gate", "nowhere.toml"), EXIT_UNAVAILABLE, "gate nowhere.toml"),
        (("shelf.onnx", "field", "--report", "field"), EXIT_USAGE, "is a folder"),
        (("shelf.onnx", "field", "--report", "shelf.onnx"), EXIT_USAGE, "--force"),
        (("shelf.onnx", "field", "--shelves", "0"), EXIT_USAGE, "a number from 1"),
        (("shelf.onnx", "field", "--int8", "shelf.onnx"), EXIT_UNAVAILABLE, "quantization.json"),
    ],
)
def test_bad_input(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, told: str
) -> None:
    monkeypatch.chdir(shop)
    ran = run("build", "validate", *arguments, "--no-cost")
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_a_truth_that_names_no_slot_is_told_by_line(run: Run, shop: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "field", shelves=1, frames=1, seed=1)
    table = next(data.rglob("truth.csv"))
    table.write_text(table.read_text().replace(",s3,", ",s99,"))
    ran = run("build", "validate", shop / "shelf.onnx", data, "--no-cost")
    assert ran.code == EXIT_BAD_CONFIG
    assert "truth.csv:5" in ran.err
