"""`field-bench` as its users meet it; and that it agrees with a scorer that was written by somebody else."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from lifecycle.bundles import make_bundle
from workshop.conftest import write_dataset

from edge_runtime.simulator.dataset import Recipe, render_dataset

from .conftest import Run

ROOT = Path(__file__).resolve().parents[2]
SCORER = ROOT / "../shared/tools/score_field.py"
VOID = {"meta", "img", "br"}
DIGITS = {"without": 1, "with": 1, "gap_recovered": 2, "coverage": 3, "answered": 1, "empty_recall": 3, "empty_precision": 3}  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shelf of the simulator: lab, yaw, night and the store mix at severity 3 and 5."""
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    recipe = Recipe(
        seed=11,
        plan="bench",
        packs="heldout",
        frames=1,
        size=(480, 360),
        severities=(3, 5),
        conditions=("yaw", "night", "store"),
        lab_frames=1,
    )
    render_dataset(folder, recipe, 1)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "shelf-test-1.0.0.zip")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A dataset that a test may damage."""
    return write_dataset(tmp_path / "drawn", shelves=2, frames=2, seed=6)


class Outline(HTMLParser):
    """Checks nesting, and keeps what could lead out of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _scored(dataset: Path, *more: str) -> dict[str, Any]:
    command = f"{sys.executable} -m edge_runtime.cli"
    done = subprocess.run(
        [sys.executable, str(SCORER), str(dataset), "--cmd", command, "--json", *more],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    scored: dict[str, Any] = json.loads(done.stdout)
    return scored


def _measured(value: float | None) -> float | None:
    """The scorer says NaN or null where there is nothing to measure."""
    return None if value is None or math.isnan(value) else value


def test_it_agrees_with_the_independent_scorer(run: Run, rendered: Path) -> None:
    if not SCORER.is_file():
        pytest.skip("the independent scorer (../shared/tools/score_field.py) is not beside this checkout")
    scored = _scored(rendered)
    ran = run("field-bench", rendered, "--json")
    assert ran.code == 0, ran.err
    (ours,) = ran.lines
    rows = {(row["condition"], row["severity"]): row for row in ours["rows"]}
    assert len(rows) == len(scored["rows"]) == 7
    for row in scored["rows"]:
        mine = rows[row["condition"], row["severity"]]
        assert mine["n"] == row["n"]
        for name, digits in DIGITS.items():
            theirs = _measured(row["with_" if name == "with" else name])
            got = mine[name] if mine[name] is None else round(mine[name], digits)
            assert got == theirs, (row["condition"], row["severity"], name)
    summary, theirs = ours["summary"], scored["summary"]
    for name, digits in {"lab_without": 1, "lab_with": 1, "store3_without": 1, "store3_with": 1, "store3_coverage": 3}.items():  # fmt: skip
        assert round(summary[name], digits) == theirs[name]
    for name in ("s5_confident_errors", "blocked_recall", "ece_lab", "ece_field"):
        assert summary[name] == pytest.approx(theirs[name], abs=0.006), name
    if theirs["gr_mean"] is not None:
        assert summary["gr_mean"] == pytest.approx(theirs["gr_mean"], abs=0.01)
        assert summary["gr_worst"] == pytest.approx(theirs["gr_worst"], abs=0.01)


def test_a_person_gets_the_table_the_baselines_and_a_page_that_needs_nothing_else(
    run: Run, rendered: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    ran = run("field-bench", rendered, "--baselines", "--report", page)
    assert ran.code == 0, ran.err
    assert ran.err == "", "no progress where nobody watches"
    assert "\x1b" not in ran.out
    for word in ("lab", "yaw S3", "store S5", "grey-world", "registration only", "edge-runtime", "gap recovered, mean"):
        assert word in ran.out
    assert ran.out.splitlines()[-1].startswith("lab "), "the summary ends it"
    text = page.read_text("utf-8")
    assert len(text) < 6_000_000
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert {"svg", "table", "img", "style"} <= outline.seen
    assert "script" not in outline.seen
    assert all(link.startswith("data:image/jpeg;base64,") for link in outline.links)
    assert not re.search(r"url\(|@import|https?:", text)
    assert str(rendered.parent) not in text


def test_json_is_one_object_with_rows_summary_and_baselines(run: Run, drawn: Path, bundle: Path) -> None:
    ran = run("field-bench", drawn, "--model", bundle, "--baselines", "--json")
    (line,) = ran.lines
    assert (line["dataset"], line["shelves"], line["frames"], line["slots"]) == ("drawn", 2, 4, 60)
    assert line["model"]["name"] == "shelf-test"
    names = [one["name"] for one in line["baselines"]]
    assert (names[0], names[-1]) == ("none", "ours")
    assert len(names) == 9
    none, ours = line["baselines"][0], line["baselines"][-1]
    assert none["lab_harm"] == none["worst_harm"] == 0
    assert ours["lab"] == line["summary"]["lab_with"]
    assert none["lab"] == line["summary"]["lab_without"]
    assert set(line["analysis"]) == {"confusion_lab", "confusion_field", "reasons", "products"}
    harms = [row["harm"] for row in line["rows"]]
    assert sorted((harm for harm in harms if harm > 0), reverse=True) == harms[: sum(harm > 0 for harm in harms)]
    alone = run("field-bench", drawn, "--model", bundle, "--json").lines[0]
    assert alone == {**line, "baselines": []}, "seeded, and the baselines change nothing"


def test_a_picture_that_can_not_be_read_is_named_counts_as_unknown_and_is_a_problem(
    run: Run, drawn: Path, bundle: Path, tmp_path: Path
) -> None:
    whole = run("field-bench", drawn, "--model", bundle, "--json").lines[0]
    (drawn / "shelves" / "shelf01" / "frames" / "lab-0.jpg").write_bytes(b"\xff\xd8\xff no more")
    page = tmp_path / "r.html"
    ran = run("field-bench", drawn, "--model", bundle, "--json", "--report", page)
    assert ran.code == 1
    assert "lab-0.jpg" in ran.err
    (line,) = ran.lines
    lab = next(row for row in line["rows"] if row["condition"] == "lab")
    before = next(row for row in whole["rows"] if row["condition"] == "lab")
    assert lab["n"] == before["n"]
    assert lab["coverage"] < before["coverage"]
    assert len(line["unread"]) == 1
    assert page.is_file()


def test_what_is_wrong_is_said_before_anything_is_read(run: Run, drawn: Path, bundle: Path, tmp_path: Path) -> None:
    table = drawn / "shelves" / "shelf00" / "truth.csv"
    good = table.read_text()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "dataset.json").write_text('{"format":"field-dataset/1"}')
    (tmp_path / "broken.zip").write_bytes(b"PK no more")
    calls: list[tuple[list[object], int, str]] = [
        ([tmp_path / "none"], 69, "a field dataset was expected"),
        ([tmp_path / "empty"], 69, "holds no shelf"),
        ([drawn, "--shelves", 0], 2, "a number from 1 was expected"),
        ([drawn, "--shelves", "two"], 2, "invalid int value"),
        ([drawn, "--report", tmp_path], 2, "is a folder"),
        ([drawn, "--report", tmp_path / "no" / "r.html"], 2, "there is no folder"),
        ([drawn, "--model", tmp_path / "none.zip"], 69, "none.zip"),
        ([drawn, "--model", tmp_path / "broken.zip"], 1, "broken.zip"),
        ([], 2, "DATASET"),
    ]
    for arguments, code, word in calls:
        ran = run("field-bench", *(arguments if "--model" in arguments else [*arguments, "--model", bundle]))
        assert (ran.code, ran.out) == (code, ""), arguments
        assert word in ran.err, arguments
    table.write_text(good.replace(",s3,", ",s99,", 1).replace(",stocked,", ",full,", 1))
    ran = run("field-bench", drawn, "--model", bundle)
    assert ran.code == 78
    assert "'s99'" in ran.err
    assert "'full'" in ran.err
    assert ran.err.count("truth.csv:") == 2


def test_a_model_that_fails_in_the_middle_is_a_problem(run: Run, drawn: Path, tmp_path: Path) -> None:
    ran = run("field-bench", drawn, "--model", make_bundle(tmp_path / "nan.zip", behaviour="nan"), "--json")
    assert ran.code == 1
    assert "NaN" in ran.err
    assert ran.out == ""


def test_it_runs_on_what_a_device_has() -> None:
    code = (
        "import sys, json\n"
        "import edge_runtime.workshop.field_bench.page, edge_runtime.workshop.field_bench.bench\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"onnx", "skl2onnx", "sklearn", "scipy", "torch", "matplotlib", "edge_runtime.simulator"}
