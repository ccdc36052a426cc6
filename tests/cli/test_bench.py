"""What a frame costs here, and which file of a bundle would run."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from lifecycle.bundles import make_bundle

from edge_runtime.cli.bench import register_model_bench
from edge_runtime.errors import ModelFault

from .conftest import Run, Site


def test_bench_times_every_stage_and_the_bare_model_on_the_same_crops(run: Run, site: Site) -> None:
    ran = run(
        "bench", "--model", site.bundle, "--layout", site.layout, "--frames", site.full.parent, "--rounds", 4, "--json"
    )
    assert ran.code == 0, ran.err
    (figures,) = ran.lines
    assert figures["frames"] == 4 and figures["slots"] == 6 and figures["unusable"] == 0
    assert {"decode", "register", "light", "crops", "infer", "shelf"} <= set(figures["ms"])
    assert figures["overhead"] > 0 and figures["bare_ms"] > 0 and figures["frame_ms"] >= figures["ms"]["infer"]
    assert figures["model"]["name"] == "shelf-test" and figures["file"] == "model.onnx"


def test_bench_of_a_still_camera_needs_no_arguments_but_a_bundle(run: Run, site: Site) -> None:
    ran = run("bench", "--model", site.bundle, "--layout", site.layout, "--rounds", 2)
    assert ran.code == 0 and "overhead" in ran.out and "bare model" in ran.out


def test_bench_refuses_what_it_can_not_time(run: Run, site: Site, tmp_path: Path) -> None:
    assert run("bench", "--frames", site.full.parent).code == 2
    assert run("bench", "--layout", site.layout, "--frames", tmp_path / "absent").code == 69
    assert run("bench", "--layout", site.layout, "--frames", tmp_path).code == 1
    assert run("bench", "--rounds", "0").code == 2


def model_bench(*words: str) -> int:
    """`model bench` as the verb that the family of `model` takes up."""
    parser = argparse.ArgumentParser()
    register_model_bench(parser.add_subparsers())
    parsed = parser.parse_args(["bench", *words])
    code: int = parsed.act(parsed)
    return code


def test_model_bench_says_which_file_would_run_and_why(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert model_bench(str(site.bundle)) == 0
    out = capsys.readouterr().out
    assert "model.onnx *" in out and "passes" in out and "only file" in out
    assert model_bench(str(site.bundle), "--json") == 0
    assert '"chosen":"model.onnx"' in capsys.readouterr().out


def test_model_bench_of_a_model_that_is_wrong_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="golden set"):
        model_bench(str(make_bundle(tmp_path / "b.zip", behaviour="golden_off")))
