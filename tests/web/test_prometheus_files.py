"""deploy/prometheus and docs/metrics.md: what they name is what a device serves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_runtime.web.exposition import render
from edge_runtime.web.metrics import families

from .test_metrics import READING, metered

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
PAGE = ROOT / "docs" / "metrics.md"
SERVED = list(families(READING, {"bay-1": metered().look()}))


def series() -> set[str]:
    """Every name that a query may use."""
    found = {family.name for family in SERVED}
    return found | {family.name + sample.suffix for family in SERVED for sample in family.samples}


@pytest.mark.parametrize("path", [FOLDER / "edge-runtime.rules.yml", PAGE], ids=lambda path: path.name)
def test_nothing_is_named_that_is_not_served(path: Path) -> None:
    assert set(re.findall(r"\bedge_runtime_\w+", path.read_text("utf-8"))) <= series()


def row(name: str) -> str:
    family = next(f for f in SERVED if f.name == name)
    labels = dict.fromkeys(key for sample in family.samples for key in sample.labels if key != "le")
    shown = ", ".join(f"`{key}`" for key in labels)
    return f"| `{family.name}` | {family.kind} | {shown} | {family.help} |"


def test_the_page_has_every_figure() -> None:
    page = PAGE.read_text("utf-8")
    assert [row(family.name) for family in SERVED if row(family.name) not in page] == []


def test_the_page_says_how_many_series_a_camera_has() -> None:
    lines = sum(sample.labels.get("camera") == "bay-1" for family in SERVED for sample in family.samples)
    (told,) = re.findall(r"about (\d+) a camera", PAGE.read_text("utf-8"))
    assert lines <= int(told) <= 3 * lines


@pytest.fixture
def promtool() -> str:
    """Of the Debian package prometheus, which is large: these checks are skipped without it, in CI too."""
    found = shutil.which("promtool")
    return found or pytest.skip("promtool is not installed (apt-get install prometheus)")


@pytest.mark.integration
def test_prometheus_takes_the_files(promtool: str) -> None:
    for verb, name in (("rules", "edge-runtime.rules.yml"), ("config", "prometheus.yml")):
        done = subprocess.run([promtool, "check", verb, name], cwd=FOLDER, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
def test_prometheus_finds_no_fault_with_the_page(promtool: str) -> None:
    page = render(families(READING, {"bay-1": metered().look()}))
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
