"""Datasets: the format of the field, the same bytes from the same seed, and going on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.layout import read_layout
from edge_runtime.simulator.__main__ import main
from edge_runtime.simulator.catalogue import is_held_out
from edge_runtime.simulator.dataset import Recipe, render_dataset
from edge_runtime.simulator.plans import bench_frames, train_frames

SMALL = Recipe(seed=5, frames=3, size=(320, 240), swaps=0.2)


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    render_dataset(folder, SMALL, 2)
    return folder


def test_the_same_seed_gives_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path, SMALL, 2)
    assert _digest(tmp_path) == _digest(rendered)


def test_workers_change_nothing(rendered: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path, SMALL, 2, workers=2)
    assert _digest(tmp_path) == _digest(rendered)


def test_a_stopped_run_goes_on(rendered: Path, tmp_path: Path) -> None:
    render_dataset(tmp_path, SMALL, 1)
    (tmp_path / "shelves" / "shelf00001.part").mkdir()
    kept = (tmp_path / "shelves" / "shelf00000" / "reference.jpg").stat().st_mtime_ns
    told: list[tuple[int, int]] = []
    render_dataset(tmp_path, SMALL, 2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 2)]
    assert (tmp_path / "shelves" / "shelf00000" / "reference.jpg").stat().st_mtime_ns == kept
    assert _digest(tmp_path) == _digest(rendered)


def test_files_are_those_of_a_field_dataset(rendered: Path) -> None:
    told = json.loads((rendered / "dataset.json").read_text())
    assert told == {
        "format": "field-dataset/1", "states": ["stocked", "low", "empty", "blocked"], "size": [320, 240],
    }  # fmt: skip
    for shelf in (rendered / "shelves").iterdir():
        layout = read_layout(shelf / "layout.json")
        reference = cv2.imread(str(layout.reference))
        assert reference.shape == (240, 320, 3)
        with (shelf / "truth.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        assert list(rows[0]) == ["frame", "condition", "severity", "slot", "state", "covered"]
        frames = {path.stem for path in (shelf / "frames").glob("*.jpg")}
        assert {row["frame"] for row in rows} == frames
        assert len(rows) == len(frames) * len(layout.slots)
        geometry = json.loads((shelf / "geometry.json").read_text())
        assert set(geometry) == frames
        assert np.array(geometry["mix-000"]["homography"]).shape == (3, 3)


def test_training_shelves_hold_training_packs_only(rendered: Path) -> None:
    for shelf in (rendered / "shelves").iterdir():
        assert not [slot.sku for slot in read_layout(shelf / "layout.json").slots if is_held_out(slot.sku)]


def test_bench_has_every_condition_at_every_severity(tmp_path: Path) -> None:
    recipe = Recipe(
        seed=1,
        plan="bench",
        packs="heldout",
        frames=1,
        size=(320, 240),
        severities=(3,),
        conditions=("yaw", "night"),
        lab_frames=1,
    )
    render_dataset(tmp_path, recipe, 1)
    shelf = tmp_path / "shelves" / "shelf00000"
    assert {p.stem for p in (shelf / "frames").iterdir()} == {"lab-0", "yaw-s3-0", "night-s3-0"}
    assert all(is_held_out(slot.sku) for slot in read_layout(shelf / "layout.json").slots)


def test_plans() -> None:
    names = [frame.name for frame in bench_frames(2)]
    assert len(names) == len(set(names)) == 4 + 2 * 5 * 20
    assert {"lab-3", "store-s5-1"} <= set(names)
    mixtures = train_frames(np.random.default_rng(0), 200)
    assert max(max(frame.parts.values(), default=0) for frame in mixtures) <= 4.5
    assert np.mean(["yaw" in frame.parts or "bumped" in frame.parts for frame in mixtures]) > 0.6


def test_shelves_of_two_recipes_never_meet(rendered: Path) -> None:
    before = _digest(rendered)
    with pytest.raises(Refused, match="another recipe"):
        render_dataset(rendered, replace(SMALL, seed=6), 3)
    assert _digest(rendered) == before


@pytest.mark.parametrize(
    "wrong",
    [
        ["dataset", "--out", "x", "--seed", "-1", "--shelves", "1"],
        ["dataset", "--out", "x", "--seed", "1", "--shelves", "1", "--plan", "bench", "--severities", "9"],
        ["dataset", "--out", "x", "--seed", "one", "--shelves", "1"],
        ["serve", "--fps", "nan"],
        ["serve", "--fps", "0"],
        ["serve", "--port", "70000"],
        ["serve", "--size", "0", "0"],
        ["commission", "--out", "x", "--size", "20", "10"],
    ],
    ids=" ".join,
)
def test_a_number_out_of_range_is_a_wrong_call(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(wrong)
    assert refused.value.code == 2
    assert "error: argument --" in capsys.readouterr().err


def test_a_folder_that_can_not_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dataset", "--out", str(tmp_path / "file"), "--seed", "3", "--shelves", "1"]) == 69
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_command_line(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--seed", "3", "--shelves", "1", "--frames", "1", "--size", "160", "120"]
    assert main(["dataset", *arguments]) == 0
    assert (tmp_path / "shelves" / "shelf00000" / "frames" / "mix-000.jpg").is_file()
    with pytest.raises(SystemExit) as wrong:
        main(["dataset", "--out", str(tmp_path)])
    assert wrong.value.code == 2
