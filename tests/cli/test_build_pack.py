"""`build pack` on the command line: with and without labels, the same bytes every time, and what was changed is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from workshop.conftest import write_dataset
from workshop.small import RGB, convnet, crops, write_exported

from cli.conftest import Run
from edge_runtime.errors import EXIT_BAD_CONFIG, EXIT_PROBLEM, EXIT_UNAVAILABLE, EXIT_USAGE
from edge_runtime.inference.probe import probe_model
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.workshop.export.receipt import encode_receipt, read_receipt, receipt_path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported model, its int8 file, crops and a labelled dataset."""
    from edge_runtime.cli.main import main

    folder = tmp_path_factory.mktemp("shop")
    write_exported(folder / "shelf.onnx", convnet())
    np.savez(folder / "crops.npz", current=crops(40))
    write_dataset(folder / "field", shelves=1, frames=4, seed=8)
    arguments = ["--calibration", str(folder / "crops.npz"), "--agreement", "0", "--method", "minmax", "--json"]
    assert main(["build", "quantize", str(folder / "shelf.onnx"), *arguments]) == 0
    return folder


def words(shop: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("build", "pack", shop / "shelf.onnx", "--name", "small", "--version", "1.2.3", "--out", out, *more)


def test_without_labels_it_is_packed_and_honest(run: Run, shop: Path, tmp_path: Path) -> None:
    ran = run(*words(shop, tmp_path, "--int8", shop / "shelf.int8.onnx", "--samples", shop / "crops.npz"))
    assert ran.code == 0, ran.err
    assert "confidence is not calibrated" in ran.err
    bundle = read_bundle(tmp_path / "small-1.2.3.zip")
    manifest = bundle.manifest
    assert manifest.created == "not recorded"
    assert "not calibrated" in manifest.card["how_measured"]
    assert manifest.card["training_data"].startswith("Not stated")
    assert b"stated no licence" in bundle.licence
    assert manifest.receipt["int8_layers"] == 2
    assert probe_model(bundle.model, manifest, bundle.golden_arrays()).passed
    assert "lab_energy" in bundle.reference_arrays()


def test_with_labels_confidence_and_thresholds_are_fitted(run: Run, shop: Path, tmp_path: Path) -> None:
    ran = run(*words(shop, tmp_path, "--field", shop / "field", "--cache", tmp_path / "cache"))
    # An untrained network gets no label clearly right: that is told, not packed over.
    assert (ran.code == 0) == (tmp_path / "small-1.2.3.zip").exists()
    assert ran.code == 0 or "no clear case" in ran.err
    assert list((tmp_path / "cache").glob("*/shelf00.npz"))


def test_one_float_file_is_a_bundle_too(run: Run, shop: Path, tmp_path: Path) -> None:
    assert run(*words(shop, tmp_path, "--samples", shop / "crops.npz")).code == 0
    bundle = read_bundle(tmp_path / "small-1.2.3.zip")
    assert bundle.fp32 is None
    assert bundle.model == (shop / "shelf.onnx").read_bytes()
    assert bundle.manifest.input == RGB


def test_packing_twice_gives_the_same_bytes_wherever_and_whenever(shop: Path, tmp_path: Path) -> None:
    made = set()
    for number, (zone, seed, mask) in enumerate((("UTC", "0", 0o022), ("Asia/Tokyo", "4242", 0o077))):
        place = tmp_path / f"place-{number}"
        shutil.copytree(shop, place)
        (place / "out").mkdir()
        environment = os.environ | {
            "PYTHONHASHSEED": seed, "TZ": zone, "SOURCE_DATE_EPOCH": "1700000000", "LC_ALL": "C", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "edge_runtime.cli", "build", "pack", "shelf.onnx", "--int8", "shelf.int8.onnx"]
        command += ["--samples", "crops.npz", "--name", "small", "--version", "1.2.3", "--out", "out"]
        subprocess.run(command, cwd=place, env=environment, umask=mask, check=True, capture_output=True)
        made.add((place / "out" / "small-1.2.3.zip").read_bytes())
    assert len(made) == 1
    assert read_bundle(tmp_path / "place-0" / "out" / "small-1.2.3.zip").manifest.created == "2023-11-14"


def test_a_changed_byte_is_named_with_its_member(run: Run, shop: Path, tmp_path: Path) -> None:
    run(*words(shop, tmp_path, "--int8", shop / "shelf.int8.onnx", "--samples", shop / "crops.npz"))
    path = tmp_path / "small-1.2.3.zip"
    assert run("build", "pack", "--check", path).code == 0
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as bundle:
        spans = {
            entry.filename: (entry.header_offset + 30 + len(entry.filename), entry.file_size)
            for entry in bundle.infolist()
        }
    for name, (start, size) in spans.items():
        for at in {start, start + size // 2, start + size - 1}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
            ran = run("build", "pack", "--check", path)
            assert ran.code == EXIT_PROBLEM, (name, at)
            assert name in ran.err or (name == "manifest.json" and "manifest" in ran.err), ran.err
    for at in range(len(whole) - 22, len(whole)):  # the zip's own end record belongs to no member
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        ran = run("build", "pack", "--check", path)
        assert (ran.code, "zip" in ran.err) == (EXIT_PROBLEM, True)


def test_other_words_leave_every_member_as_it_was(run: Run, shop: Path, tmp_path: Path) -> None:
    run(*words(shop, tmp_path, "--samples", shop / "crops.npz"))
    card = tmp_path / "card.toml"
    card.write_text('limits = "Cans only."\n')
    arguments = ("--card", card, "--version", "1.2.4", "--created", "2026-11-23", "--out", tmp_path)
    assert run("build", "pack", "--reword", tmp_path / "small-1.2.3.zip", *arguments).code == 0
    old, new = (read_bundle(tmp_path / f"small-{version}.zip") for version in ("1.2.3", "1.2.4"))
    assert new.manifest.card["limits"] == "Cans only."
    assert new.manifest.created == "2026-11-23"
    assert new.manifest.files == old.manifest.files
    unchanged = msgspec.structs.replace(
        new.manifest, card=old.manifest.card, version="1.2.3", created=old.manifest.created
    )
    assert unchanged == old.manifest


def test_other_words_keep_what_the_card_said_of_the_rest(run: Run, shop: Path, tmp_path: Path) -> None:
    run(*words(shop, tmp_path, "--samples", shop / "crops.npz"))
    card = tmp_path / "card.toml"
    card.write_text('limits = "Cans only."\n')
    arguments = ("--card", card, "--name", "smaller", "--out", tmp_path)
    assert run("build", "pack", "--reword", tmp_path / "small-1.2.3.zip", *arguments).code == 0
    old, new = (read_bundle(tmp_path / f"{name}-1.2.3.zip").manifest.card for name in ("small", "smaller"))
    assert new == old | {"limits": "Cans only."}
    assert "not calibrated" in new["how_measured"]


def test_a_receipt_keeps_small_errors(run: Run, shop: Path, tmp_path: Path) -> None:
    receipt = read_receipt(shop / "shelf.onnx")
    near = msgspec.structs.replace(receipt, parity=msgspec.structs.replace(receipt.parity, max_error=4.77e-7))
    shutil.copytree(shop, tmp_path / "shop")
    receipt_path(tmp_path / "shop" / "shelf.onnx").write_bytes(encode_receipt(near))
    run(*words(tmp_path / "shop", tmp_path, "--samples", shop / "crops.npz"))
    assert read_bundle(tmp_path / "small-1.2.3.zip").manifest.receipt["export_max_error"] == 4.77e-7


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ((), EXIT_USAGE, "neither --field nor --samples"),
        (("--samples", "nowhere"), EXIT_UNAVAILABLE, "a calibration set was expected"),
        (("--field", "nowhere"), EXIT_UNAVAILABLE, "no dataset"),
        (("--samples", "crops.npz", "--card", "crops.npz"), EXIT_BAD_CONFIG, "not TOML"),
        (("--samples", "crops.npz", "--created", "today"), EXIT_USAGE, "is not a date"),
        (("--samples", "crops.npz", "--out", "nowhere"), EXIT_USAGE, "is not a folder"),
        (("--samples", "crops.npz", "--name", "Ünfit"), EXIT_USAGE, "small letters, digits and '-'"),
        (("--samples", "crops.npz", "--name", "../up"), EXIT_USAGE, "small letters, digits and '-'"),
        (("--samples", "crops.npz", "--version", "1.0"), EXIT_USAGE, "the version '1.0'; three numbers"),
        (("--samples", "crops.npz", "--runtime", "a", "b"), EXIT_USAGE, "--runtime 'a'; three numbers"),
        (("--samples", "crops.npz", "--runtime", "3.0.0", "2.0.0"), EXIT_USAGE, "--runtime 3.0.0 2.0.0 is empty"),
        (("--samples", "crops.npz", "--int8", "shelf.onnx"), EXIT_UNAVAILABLE, "quantization.json"),
        (("--samples", "crops.npz", "--validation", "crops.npz"), EXIT_PROBLEM, "not a validation"),
        (("--samples", "crops.npz", "--licence-file", "empty"), EXIT_PROBLEM, "is empty"),
    ],
)
def test_bad_input(
    run: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], code: int, told: str
) -> None:
    (shop / "empty").touch()
    monkeypatch.chdir(shop)
    ran = run(*words(shop, tmp_path, *more))
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert not list(tmp_path.glob("*.zip"))


def test_what_is_there_is_not_replaced_unasked(run: Run, shop: Path, tmp_path: Path) -> None:
    path = tmp_path / "small-1.2.3.zip"
    path.write_bytes(b"mine")
    ran = run(*words(shop, tmp_path, "--samples", shop / "crops.npz"))
    assert (ran.code, path.read_bytes()) == (EXIT_USAGE, b"mine")
    assert run(*words(shop, tmp_path, "--samples", shop / "crops.npz", "--force")).code == 0
